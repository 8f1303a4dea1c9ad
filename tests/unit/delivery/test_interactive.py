"""The interactive lane: tiers, stop, expiry, and that nothing of it meets the disk."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from ftrackd.delivery import Lane, Recipient
from ftrackd.delivery.interactive import InteractiveLane
from tests.contract.outcome import Ended
from tests.unit.delivery.running import RunningDelivery, eventually, update

TOPIC = "ftrack.action.launch"


def lane(*ready, expiry_s=30.0):
    created = InteractiveLane(expiry_s)
    for plugin in ready:
        created.plugin_ready(plugin, 0.0)
    return created


def recipients(**priorities):
    return [Recipient(plugin, priority) for plugin, priority in priorities.items()]


def plugins(step):
    return [plugin for plugin, _ in step.run]


def receive(created, *, number=1, now=0.0, **priorities):
    return created.receive(f"e{number}", TOPIC, b"{}", recipients(**priorities), now)


def test_when_priorities_are_the_same_then_all_get_it_at_once():
    step = receive(lane("a", "b", "c"), a=100, b=100, c=100)
    assert plugins(step) == ["a", "b", "c"]
    handover = step.run[0][1]
    assert (handover.lane, handover.payload, handover.attempt, handover.expires_at) == (
        Lane.INTERACTIVE,
        b"{}",
        1,
        30.0,
    )


def test_when_priorities_differ_then_the_next_tier_waits_for_the_end_of_the_former():
    created = lane("a", "b", "c")
    first = receive(created, c=10, a=5, b=5)
    assert plugins(first) == ["a", "b"]
    assert plugins(created.finished(first.run[0][1].delivery_id, stopped=False)) == []
    assert plugins(created.finished(first.run[1][1].delivery_id, stopped=False)) == ["c"]
    assert created.pending == 1


def test_when_stopped_then_later_tiers_do_not_get_it():
    created = lane("a", "b", "c")
    first = receive(created, a=5, b=5, c=10)
    created.finished(first.run[0][1].delivery_id, stopped=True)
    assert plugins(created.finished(first.run[1][1].delivery_id, stopped=False)) == []
    assert created.pending == created.running == 0


def test_when_stopped_then_a_plugin_of_the_tier_that_was_not_there_yet_does_not_get_it_either():
    created = lane("b")
    first = receive(created, a=5, b=5)
    created.finished(first.run[0][1].delivery_id, stopped=True)
    assert plugins(created.plugin_ready("a", 1.0)) == []
    assert created.pending == 0


def test_when_a_plugin_matches_twice_then_it_gets_it_once_in_its_first_tier():
    created = lane("a", "b")
    step = created.receive(
        "e", TOPIC, b"", [Recipient("a", 200), Recipient("b", 100), Recipient("a", 50)], 0.0
    )
    assert plugins(step) == ["a"]
    assert plugins(created.finished(step.run[0][1].delivery_id, stopped=False)) == ["b"]


def test_when_a_plugin_is_being_started_then_it_gets_the_event_when_it_is_ready():
    created = lane()
    assert plugins(receive(created, a=100)) == []
    assert plugins(created.plugin_ready("a", 5.0)) == ["a"]
    assert plugins(created.plugin_ready("a", 6.0)) == [], "once"


def test_when_a_plugin_is_ready_too_late_then_the_event_has_expired():
    created = lane()
    receive(created, a=100)
    step = created.plugin_ready("a", 31.0)
    assert plugins(step) == []
    assert [missed.plugin for missed in step.missed] == ["a"]


def test_when_it_expires_then_later_tiers_do_not_get_it_and_a_late_end_changes_nothing():
    created = lane("a", "b")
    step = receive(created, a=1, b=2)
    assert created.next_expiry() == 30.0
    expired = created.expire(30.0)
    assert [missed.plugin for missed in expired.missed] == ["b"]
    assert plugins(created.finished(step.run[0][1].delivery_id, stopped=False)) == []
    assert created.next_expiry() is None


def test_when_the_newest_process_ends_then_what_an_older_one_runs_goes_on_and_the_next_waits():
    created = lane("a", "b")
    first = receive(created, a=1, b=2)
    created.plugin_gone("a")
    assert plugins(receive(created, number=2, a=1)) == [], "it waits for the plugin's next process"
    assert plugins(created.finished(first.run[0][1].delivery_id, stopped=False)) == ["b"]
    assert plugins(created.plugin_ready("a", 1.0)) == ["a"]


def test_when_the_same_event_comes_again_then_it_is_ignored():
    created = lane("a")
    assert plugins(receive(created, a=1)) == ["a"]
    assert plugins(receive(created, a=1)) == []
    for number in range(10_000):
        receive(created, number=number, a=1)
    assert len(created._recent) <= 4096


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["receive", "finish", "stop", "ready", "gone", "wait"]),
            st.sampled_from("abc"),
            st.integers(1, 3),
        ),
        max_size=60,
    )
)
def test_when_anything_happens_then_no_tier_overtakes_and_everything_ends(actions):
    created = InteractiveLane(30.0)
    now, number = 0.0, 0
    ready, running, stopped = set(), {}, set()
    tiers = {}

    def follow(step):
        for plugin, handover in step.run:
            assert plugin in ready
            assert handover.event_id not in stopped, "stopped"
            priority = tiers[handover.event_id][plugin]
            earlier = [one for one, (name, event) in running.items() if event == handover.event_id]
            assert all(tiers[handover.event_id][running[one][0]] == priority for one in earlier)
            running[handover.delivery_id] = (plugin, handover.event_id)

    for action, plugin, priority in actions:
        if action == "receive":
            number += 1
            tiers[f"e{number}"] = {"a": 1, "b": priority, "c": 3}
            follow(receive(created, number=number, now=now, **tiers[f"e{number}"]))
        elif action in ("finish", "stop") and running:
            delivery_id, (_, event_id) = running.popitem()
            if action == "stop":
                stopped.add(event_id)
            follow(created.finished(delivery_id, stopped=action == "stop"))
        elif action == "ready":
            ready.add(plugin)
            follow(created.plugin_ready(plugin, now))
        elif action == "gone":
            ready.discard(plugin)
            if priority > 1:  # its only process ended, else it is the successor of one that goes on
                for delivery_id in [one for one, (name, _) in running.items() if name == plugin]:
                    del running[delivery_id]
                    follow(created.finished(delivery_id, stopped=False))
            created.plugin_gone(plugin)
        elif action == "wait":
            now += 20.0
            follow(created.expire(now))
    created.expire(now + 100.0)
    assert created.pending == created.running == 0
    assert created.next_expiry() is None


def launch(running, number=1, **priorities):
    raw, event = update(number, "x", topic=TOPIC)
    return running.delivery.receive(raw, event, recipients(**priorities))


def test_when_the_journal_is_stuck_then_actions_are_not():
    with RunningDelivery() as running:
        running.delivery.plugin_ready("p", 1)
        with running.journal.transaction():
            running.receive(1)
            assert launch(running, 2, p=100) is Lane.INTERACTIVE
            assert running.runner.events() == ["e2"], "it was run by the thread that brought it"
            assert running.runner.finish()
        eventually(lambda: running.runner.events() == ["e2", "e1"])
        assert not running.journal.seen("e2")


def test_when_a_listener_runs_long_then_a_menu_opens_meanwhile():
    with RunningDelivery() as running:
        running.delivery.plugin_ready("p", 1)
        running.receive(1)
        eventually(lambda: running.runner.events() == ["e1"])
        launch(running, 2, p=100)
        assert running.runner.events() == ["e1", "e2"]


def test_when_an_action_fails_or_is_never_run_then_the_daemon_hears_of_it():
    with RunningDelivery(interactive_expiry_s=0.1) as running:
        running.delivery.plugin_ready("p", 1)
        launch(running, 1, p=100)
        running.runner.finish(status="raised", error_id="err-1")
        launch(running, 2, absent=100)
        eventually(lambda: len(running.listener.named("interactive_ended")) == 2)
        first, second = running.listener.named("interactive_ended")
        assert first[1:] == ("p", update(1, "x", topic=TOPIC)[0], "raised", "err-1")
        assert (second[1], second[3]) == ("absent", "expired")


def test_when_a_plugin_cannot_be_reached_then_it_gets_the_action_when_it_is_back():
    with RunningDelivery() as running:
        running.runner.unreachable.add("p")
        running.delivery.plugin_ready("p", 1)
        launch(running, 1, p=100)
        running.runner.unreachable.clear()
        running.delivery.plugin_ready("p", 1)
        assert running.runner.events() == ["e1"]


def test_when_a_plugin_is_ready_again_while_it_cannot_be_reached_then_it_gets_the_action():
    with RunningDelivery() as running:
        reach = running.runner.run

        def run(plugin, delivery):
            running.runner.run = reach
            running.delivery.plugin_ready(plugin, 1)
            raise ConnectionError("its process was not there a moment ago")

        running.delivery.plugin_ready("p", 1)
        running.runner.run = run
        launch(running, 1, p=100)
        assert running.runner.events() == ["e1"]


def test_when_an_outcome_comes_after_the_end_then_it_counts_for_nothing():
    with RunningDelivery(interactive_expiry_s=0.05) as running:
        running.delivery.plugin_ready("p", 1)
        launch(running, 1, p=100)
        late = running.runner.last()
        eventually(lambda: running.delivery._interactive.running == 0)
        assert not running.delivery.finished("p", Ended(late.delivery_id, late.token))


def test_when_there_are_many_idle_plugins_and_a_busy_one_then_an_action_costs_about_the_same():
    """A ratio, not a time: how long a hand-over takes with 200 plugins and a backlog, against an idle
    engine with one.
    """

    def median_of(running, count=200):
        times = []
        for number in range(count):
            began = time.perf_counter()
            launch(running, f"-action-{number}", p=100)
            times.append(time.perf_counter() - began)
            running.runner.finish()
        return sorted(times)[count // 2]

    with RunningDelivery() as idle:
        idle.delivery.plugin_ready("p", 1)
        alone = median_of(idle)
    with RunningDelivery() as crowded:
        for number in range(200):
            crowded.delivery.plugin_ready(f"idle{number}", 1)
        for plugin in ("p", "busy"):
            crowded.delivery.plugin_ready(plugin, 1)
        for number in range(50):
            crowded.receive(number, plugins=("busy",))
        crowded.delivery.flush()
        assert median_of(crowded) < 20 * alone + 0.001
