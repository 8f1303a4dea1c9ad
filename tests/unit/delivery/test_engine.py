"""The engine: what happens to an event between the hub and the outcome."""

import threading
import time

import pytest

from ftrackd.delivery import Lane, MemoryJournal, Recipient, Replay, SqliteJournal
from ftrackd.delivery.errors import DeliveryError, JournalError
from ftrackd.delivery.memory_journal import MemoryTransaction
from ftrackd.settings import PluginSettings
from tests.unit.delivery.running import RunningDelivery, eventually, update


def kinds(running, plugin="p"):
    entry = next((entry for entry in running.delivery.stats().plugins if entry.plugin == plugin), None)
    return None if entry is None else (entry.ready, entry.claimed, entry.delayed, entry.held, entry.parked)


def settled(running):
    """Everything that was decided is written."""
    running.delivery.flush()
    running.delivery.flush()


def test_when_received_then_it_is_on_disk_before_it_runs(tmp_path):
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    with RunningDelivery(journal) as running:
        on_disk = []
        run = running.runner.run
        running.runner.run = lambda plugin, deliveries: (
            on_disk.extend(journal.seen(delivery.event_id) for delivery in deliveries),
            run(plugin, deliveries),
        )
        running.delivery.plugin_ready("p", 1)
        assert running.receive(1) is Lane.DURABLE
        eventually(lambda: on_disk == [True])
        handover = running.runner.last()
        assert handover.payload == update(1, "x")[0]
        assert (handover.attempt, handover.replayed, handover.expires_at) == (1, False, None)
        assert running.runner.finish()
        settled(running)
        assert kinds(running) is None
        assert running.listener.named("closed")


def test_when_one_runs_then_the_next_waits_for_its_end():
    with RunningDelivery() as running:
        running.delivery.plugin_ready("p", 1)
        for number in range(5):
            running.receive(number, f"x{number}")
        eventually(lambda: running.runner.events() == ["e0"])
        settled(running)
        for number in range(5):
            assert running.runner.events() == [f"e{n}" for n in range(number + 1)]
            running.runner.finish()
        assert running.delivery.running == 0


def test_when_it_may_run_several_then_those_that_share_an_entity_wait():
    with RunningDelivery() as running:
        running.delivery.plugin_ready("p", 3)
        for number, entities in enumerate([("a",), ("a", "b"), ("b",), ("c",), ("d",)]):
            running.receive(number, *entities)
        eventually(lambda: len(running.runner.events()) == 3)
        settled(running)
        assert running.runner.events() == ["e0", "e3", "e4"]
        running.runner.finish(delivery=running.runner.given[0][1])
        eventually(lambda: running.runner.events()[3:] == ["e1"])
        running.runner.finish()
        eventually(lambda: running.runner.events()[4:] == ["e2"])


def test_when_a_plugin_is_slow_then_others_do_not_wait():
    with RunningDelivery() as running:
        for plugin in ("slow", "quick"):
            running.delivery.plugin_ready(plugin, 1)
        for number in range(3):
            running.receive(number, plugins=("slow", "quick"))
            eventually(lambda n=number: running.runner.events("quick") == [f"e{i}" for i in range(n + 1)])
            running.runner.finish("quick")
        assert running.runner.events("slow") == ["e0"]


def test_when_a_plugin_does_not_run_then_its_events_wait_in_the_journal():
    with RunningDelivery() as running:
        running.receive(1)
        settled(running)
        assert kinds(running) == (1, 0, 0, 0, 0)
        running.delivery.plugin_ready("p", 1)
        eventually(lambda: running.runner.events() == ["e1"])


@pytest.mark.parametrize(("status", "transient"), [("raised", True), ("timed_out", False), ("died", False)])
def test_when_an_attempt_may_be_repeated_then_it_is_and_keeps_its_place(status, transient):
    with RunningDelivery() as running:
        running.delivery.plugin_ready("p", 1)
        for number in range(3):
            running.receive(number, "same")
        eventually(lambda: running.runner.events() == ["e0"])
        running.runner.finish(status=status, transient=transient, error="no connection")
        eventually(lambda: running.runner.events() == ["e0", "e0"])
        assert running.runner.last().attempt == 2
        running.runner.finish()
        eventually(lambda: running.runner.events() == ["e0", "e0", "e1"])
        (retrying,) = running.listener.named("retrying")
        assert retrying[1:4] == ("p", "e0", 1)


def test_when_an_attempt_fails_then_what_was_claimed_behind_it_does_not_overtake_it():
    with RunningDelivery(retry_delay_s=0.2, retry_delay_cap_s=0.2) as running:
        running.delivery.plugin_ready("p", 1)
        for number, entity in enumerate("aab"):
            running.receive(number, entity)
        eventually(lambda: running.runner.events() == ["e0"])
        settled(running)
        running.runner.finish(status="died")
        eventually(lambda: running.runner.events() == ["e0", "e2"])
        running.runner.finish()
        eventually(lambda: running.runner.events() == ["e0", "e2", "e0"])
        running.runner.finish()
        eventually(lambda: running.runner.events() == ["e0", "e2", "e0", "e1"])


def test_when_a_callback_raises_then_it_is_a_dead_letter_at_once():
    with RunningDelivery() as running:
        running.delivery.plugin_ready("p", 1)
        running.receive(1)
        running.receive(2)
        eventually(lambda: running.runner.events() == ["e1"])
        running.runner.finish(status="raised", error="Traceback: ...", error_id="err-7")
        eventually(lambda: running.runner.events() == ["e1", "e2"])
        running.runner.finish()
        settled(running)
        (letter,) = running.delivery.dead_letters()
        assert (letter.event_id, letter.error, letter.error_id) == ("e1", "Traceback: ...", "err-7")
        assert running.listener.named("parked") == [
            ("parked", "p", "e1", letter.delivery_id, "Traceback: ...")
        ]
        assert running.delivery.retry_dead([letter.delivery_id]) == 1
        eventually(lambda: running.runner.events() == ["e1", "e2", "e1"])
        assert running.runner.last().attempt == 1


def test_when_attempts_are_used_up_then_it_is_parked_and_the_next_goes():
    with RunningDelivery(max_attempts=3) as running:
        running.delivery.plugin_ready("p", 1)
        running.receive(1, "a")
        running.receive(2, "a")
        for attempt in (1, 2, 3):
            eventually(lambda n=attempt: len(running.runner.given) == n)
            assert running.runner.last().attempt == attempt
            running.runner.finish(status="died", error="killed")
        eventually(lambda: running.runner.events()[3:] == ["e2"])
        assert running.delivery.dead_letters()[0].attempts == 3


def test_when_dead_letters_hold_then_their_entity_waits_for_the_operator():
    with RunningDelivery(on_park="hold") as running:
        running.delivery.plugin_ready("p", 1)
        for number, entity in enumerate("aab"):
            running.receive(number, entity)
        eventually(lambda: running.runner.events() == ["e0"])
        running.runner.finish(status="raised")
        eventually(lambda: running.runner.events() == ["e0", "e2"])
        running.runner.finish()
        settled(running)
        assert running.runner.events() == ["e0", "e2"]
        assert running.delivery.drop_dead([running.delivery.dead_letters()[0].delivery_id]) == 1
        eventually(lambda: running.runner.events() == ["e0", "e2", "e1"])


def test_when_the_process_died_then_what_it_ran_counts_and_the_rest_does_not():
    with RunningDelivery() as running:
        running.delivery.plugin_ready("p", 1)
        for number in range(3):
            running.receive(number, f"x{number}")
        eventually(lambda: running.runner.events() == ["e0"])
        settled(running)
        late = running.runner.last()
        assert running.runner.finish(status="died")
        running.delivery.plugin_gone("p")
        assert not running.runner.finish(delivery=late), "it comes too late"
        settled(running)
        time.sleep(0.1)
        assert running.runner.events() == ["e0"], "nobody is there"
        running.delivery.plugin_ready("p", 1)
        running.runner.automatic = True
        eventually(lambda: len(running.runner.events()) == 4)
        attempts = {delivery.event_id: delivery.attempt for _, delivery in running.runner.given}
        assert attempts == {"e0": 2, "e1": 1, "e2": 1}


def test_when_the_newest_process_is_gone_then_what_its_predecessor_runs_goes_on_and_is_not_run_again():
    with RunningDelivery() as running:
        running.delivery.plugin_ready("p", 1)
        running.receive(1)
        eventually(lambda: running.runner.events() == ["e1"])
        running.delivery.plugin_gone("p")
        running.receive(2)
        running.delivery.plugin_ready("p", 1)
        settled(running)
        assert running.runner.events() == ["e1"], "the first one runs still, in its old process"
        assert running.runner.finish(), "its outcome counts"
        eventually(lambda: running.runner.events() == ["e1", "e2"])
        assert running.runner.finish()
        settled(running)
        assert kinds(running) is None, "all are closed"
        assert [delivery.attempt for _, delivery in running.runner.given] == [1, 1]


def test_when_a_plugin_cannot_be_reached_then_nothing_is_counted():
    with RunningDelivery() as running:
        running.runner.unreachable.add("p")
        running.delivery.plugin_ready("p", 1)
        running.receive(1)
        eventually(lambda: kinds(running) == (1, 0, 0, 0, 0))
        running.runner.unreachable.clear()
        running.delivery.plugin_ready("p", 1)
        eventually(lambda: running.runner.events() == ["e1"])
        assert running.runner.last().attempt == 1


def test_when_a_plugin_is_ready_again_while_it_cannot_be_reached_then_its_event_does_not_wait():
    with RunningDelivery() as running:
        reach = running.runner.run

        def run(plugin, delivery):
            running.runner.run = reach
            running.delivery.plugin_ready(plugin, 1)
            raise ConnectionError("its process was not there a moment ago")

        running.runner.run = run
        running.delivery.plugin_ready("p", 1)
        running.receive(1)
        eventually(lambda: running.runner.events() == ["e1"])
        assert running.runner.last().attempt == 1


def test_when_everything_fails_for_a_passing_reason_then_the_lane_pauses_instead_of_burning_attempts():
    with RunningDelivery(retry_delay_s=0.05, retry_delay_cap_s=30.0) as running:
        running.delivery.plugin_ready("p", 1)
        for number in range(50):
            running.receive(number, f"x{number}")
        handled = 0
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            if len(running.runner.given) > handled:
                handled += 1
                running.runner.finish(
                    delivery=running.runner.given[handled - 1][1], status="raised", transient=True
                )
            time.sleep(0.001)
        assert handled < 15, "fifty events would have met the dead server"
        assert running.listener.named("paused")
        running.runner.automatic = True
        eventually(lambda: len(set(running.runner.events())) > handled or running.delivery.running == 0)


def test_when_the_same_id_comes_twice_then_it_runs_once():
    with RunningDelivery() as running:
        running.runner.automatic = True
        running.delivery.plugin_ready("p", 1)
        running.receive(1)
        running.receive(1)
        running.receive(2)
        eventually(lambda: running.runner.events() == ["e1", "e2"])
        assert running.listener.named("duplicate") == [("duplicate", "e1")]


def test_when_nobody_subscribed_then_it_is_forgotten():
    with RunningDelivery() as running:
        raw, event = update(1, "x")
        assert running.delivery.receive(raw, event, []) is Lane.NONE
        assert running.receive(2, topic="ftrack.meta.reply") is Lane.NONE
        settled(running)
        assert running.delivery.stats().events == 0


def test_when_a_plugin_matches_with_several_callbacks_then_it_gets_one_delivery():
    with RunningDelivery() as running:
        raw, event = update(1, "x")
        running.delivery.receive(raw, event, [Recipient("p", 10), Recipient("p", 20)])
        settled(running)
        assert kinds(running) == (1, 0, 0, 0, 0)


def test_when_replayed_then_it_runs_again_behind_what_waits_and_is_marked():
    with RunningDelivery() as running:
        running.runner.automatic = True
        running.delivery.plugin_ready("p", 1)
        running.receive(1)
        eventually(lambda: running.runner.events() == ["e1"])
        settled(running)
        would = running.delivery.replay(Replay(plugin="p"), dry_run=True)
        assert [(one.event_id, one.plugin) for one in would] == [("e1", "p")]
        assert running.runner.events() == ["e1"]
        assert running.delivery.replay(Replay(event_id="e1")) == would
        eventually(lambda: running.runner.events() == ["e1", "e1"])
        assert running.runner.last().replayed


def test_when_some_plugins_are_gone_then_a_replay_is_for_those_that_are_hosted_or_named():
    with RunningDelivery() as running:
        for number in (1, 2):
            running.receive(number, plugins=("p", "gone", "q"))
        running.delivery.flush()
        made = running.delivery.replay(Replay(), hosted=["q", "p", "new"])
        assert {(one.event_id, one.plugin) for one in made} == {
            (event, plugin) for event in ("e1", "e2") for plugin in ("p", "q")
        }
        assert len(made) == 4
        assert len(running.delivery.replay(Replay(), hosted=["p", "q"], limit=3)) == 3
        named = running.delivery.replay(Replay(plugin="gone"), hosted=["p"], dry_run=True)
        assert {one.plugin for one in named} == {"gone"}
        assert len(running.delivery.replay(Replay(), dry_run=True)) == 6


def test_when_a_plugin_will_not_come_back_then_its_deliveries_can_be_forgotten():
    with RunningDelivery() as running:
        running.receive(1)
        running.receive(2)
        settled(running)
        assert running.delivery.forget("p") == 2
        assert kinds(running) is None


def test_when_drained_then_what_runs_ends_and_the_rest_waits():
    with RunningDelivery() as running:
        running.delivery.plugin_ready("p", 1)
        for number in range(3):
            running.receive(number)
        eventually(lambda: running.runner.events() == ["e0"])
        drained = []
        thread = threading.Thread(target=lambda: drained.append(running.delivery.drain(5.0)))
        thread.start()
        running.receive(3)
        running.runner.finish()
        thread.join()
        assert drained == [True]
        assert running.runner.events() == ["e0"]
        assert kinds(running) == (3, 0, 0, 0, 0)


def ahead(running):
    """Hand e0 to e2 over at once: e0 runs."""
    for number in range(3):
        running.receive(number)
    settled(running)
    running.delivery.plugin_ready("p", 1)
    eventually(lambda: running.runner.events() == ["e0"])
    assert len(running.runner.ahead[running.runner.last().delivery_id]) == 2
    assert running.delivery.running == 1


def test_when_drained_then_what_was_handed_ahead_comes_back_uncounted():
    with RunningDelivery() as running:
        ahead(running)
        drained = []
        thread = threading.Thread(target=lambda: drained.append(running.delivery.drain(5.0)))
        thread.start()
        eventually(lambda: kinds(running) == (2, 1, 0, 0, 0))
        running.runner.finish()
        thread.join()
        assert drained == [True]
        assert running.runner.events() == ["e0"]


@pytest.mark.parametrize("status", ["died", "raised"])
def test_when_one_fails_then_what_was_handed_ahead_runs_later_as_a_first_attempt(status):
    with RunningDelivery() as running:
        ahead(running)
        running.runner.automatic = True
        running.runner.finish(status=status)
        eventually(lambda: kinds(running) in (None, (0, 0, 0, 0, 1)))
        attempts = {delivery.event_id: delivery.attempt for _, delivery in running.runner.given}
        assert attempts == {"e0": 2 if status == "died" else 1, "e1": 1, "e2": 1}


def test_when_a_new_process_takes_over_then_it_gets_what_was_handed_ahead():
    with RunningDelivery() as running:
        ahead(running)
        first = running.runner.last()
        running.runner.recall("p")
        settled(running)
        assert running.runner.events() == ["e0"], "it runs in the old process"
        running.runner.finish(delivery=first)
        assert running.runner.events() == ["e0", "e1"]
        running.runner.finish()
        running.runner.finish()
        settled(running)
        assert kinds(running) is None
        assert not running.listener.named("retrying")


def test_when_stopped_then_what_still_ran_is_offered_again_uncounted(tmp_path):
    path = tmp_path / "journal.sqlite"
    with RunningDelivery(SqliteJournal(path)) as running:
        running.delivery.plugin_ready("p", 1)
        running.receive(1)
        eventually(lambda: running.runner.events() == ["e1"])
        assert not running.delivery.drain(0.05)
    with RunningDelivery(SqliteJournal(path)) as running:
        running.delivery.plugin_ready("p", 1)
        eventually(lambda: running.runner.events() == ["e1"])
        assert running.runner.last().attempt == 1


def test_when_received_before_the_end_then_it_is_on_disk_after_it(tmp_path):
    path = tmp_path / "journal.sqlite"
    with RunningDelivery(SqliteJournal(path)) as running:
        for number in range(2000):
            running.receive(number)
    with RunningDelivery(SqliteJournal(path)) as running:
        assert running.delivery.stats().events == 2000


def test_when_stopped_then_operators_are_told():
    running = RunningDelivery()
    with running:
        pass
    with pytest.raises(DeliveryError, match="stopped"):
        running.delivery.forget("p")


def test_when_events_burst_then_a_coalescing_plugin_gets_the_last_of_each_entity():
    plugins = {"p": PluginSettings(coalesce_window_s=0.15)}
    with RunningDelivery(plugins=plugins) as running:
        running.runner.automatic = True
        for plugin in ("p", "q"):
            running.delivery.plugin_ready(plugin, 1)
        for number in range(20):
            running.receive(number, "ab"[number % 2], plugins=("p", "q"))
        eventually(lambda: len(running.runner.events("p")) == 2)
        assert running.runner.events("p") == ["e18", "e19"]
        eventually(lambda: running.runner.events("q") == [f"e{n}" for n in range(20)])
        settled(running)
        assert sum(call[3] for call in running.listener.named("coalesced")) == 18


def test_when_a_plugin_triggers_itself_then_it_is_named_and_slowed_and_others_are_not():
    with RunningDelivery(own_names=["robot"], loop_limit_per_minute=5) as running:
        for plugin in ("p", "q"):
            running.delivery.plugin_ready(plugin, 1)
        running.receive(0, "a", user="artist")
        for number in range(1, 8):
            eventually(lambda: running.runner.events(), "the first")
            handled = len(running.runner.events())
            running.runner.finish()
            running.receive(number, "a", user="robot")  # what the callback committed
            if running.listener.named("looping"):
                break
            eventually(lambda n=handled: len(running.runner.events()) == n + 1)
        settled(running)
        assert running.listener.named("looping")[0][1:4] == ("p", "a", 6)
        assert [(loop.plugin, loop.entity_id) for loop in running.delivery.loops()] == [("p", "a")]
        assert kinds(running)[2] == 1, "it is delayed"
        running.receive(100, "b", user="robot")
        running.receive(101, "a", user="robot", plugins=("q",))
        eventually(lambda: running.runner.events()[-1] == "e100", "another entity of the same plugin")
        eventually(lambda: running.runner.events("q") == ["e101"])


def test_when_a_runner_answers_at_once_then_a_long_backlog_does_not_exhaust_the_stack(tmp_path):
    with RunningDelivery(SqliteJournal(tmp_path / "journal.sqlite")) as running:
        running.runner.automatic = True
        for number in range(3000):
            running.receive(number, f"x{number}")
        running.delivery.plugin_ready("p", 1)
        eventually(lambda: len(running.runner.events()) == 3000, within_s=20)


def test_when_a_listener_fails_then_deliveries_go_on():
    running = RunningDelivery(MemoryJournal(), automatic=True)
    with running:
        running.delivery.plugin_ready("p", 1)
        running.delivery._writer._listener = type(
            "Broken",
            (type(running.listener).__mro__[1],),
            {"stored": lambda *_: 1 / 0, "closed": lambda *_: 1 / 0},
        )()
        for number in range(3):
            running.receive(number)
        eventually(lambda: len(running.runner.events()) == 3)


def test_when_an_event_carries_odd_text_then_it_is_delivered_as_it_came():
    with RunningDelivery(durable_topics=["ftrack.update", "odd*"], automatic=True) as running:
        running.delivery.plugin_ready("p", 1)
        raw, event = update("\ud800", "x\udfff", "y", topic="odd\ud801")
        assert b"ud800" in raw
        running.delivery.receive(raw, event, [Recipient("p")])
        running.receive(2)
        eventually(lambda: len(running.runner.given) == 2)
        assert running.runner.given[0][1].payload == raw


def test_when_an_event_has_no_id_or_topic_then_it_is_known_by_its_bytes_or_forgotten():
    with RunningDelivery(automatic=True) as running:
        running.delivery.plugin_ready("p", 1)
        assert running.delivery.receive(b"{}", {"id": "e"}, [Recipient("p")]) is Lane.NONE
        for _ in range(2):
            running.delivery.receive(
                b'{"topic": "ftrack.update"}', {"topic": "ftrack.update"}, [Recipient("p")]
            )
        settled(running)
        eventually(lambda: len(running.runner.given) == 1)
        assert running.delivery.stats().events == 1


def test_when_an_event_cannot_be_stored_at_all_then_only_that_one_is_given_up(monkeypatch):
    append = MemoryTransaction.append

    def fail_at_three(transaction, event, deliveries):
        if event.id in ("e3", "e6"):
            raise ValueError("a fault of our own")
        return append(transaction, event, deliveries)

    monkeypatch.setattr(MemoryTransaction, "append", fail_at_three)
    with RunningDelivery(automatic=True) as running:
        with running.journal.transaction():  # so that they come in one batch
            for number in range(6):
                running.receive(number)
        running.delivery.plugin_ready("p", 1)
        eventually(lambda: running.runner.events() == ["e0", "e1", "e2", "e4", "e5"])
        assert running.delivery.health.lost == 1
        running.receive(6)
        eventually(lambda: running.delivery.health.lost == 2)
        running.receive(7)
        eventually(lambda: running.runner.events()[-1] == "e7")


def test_when_the_text_of_an_error_is_odd_then_its_dead_letter_shows_it(tmp_path):
    """As when a plugin raises with the name of a file that is no UTF-8."""
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    with RunningDelivery(journal) as running:
        running.delivery.plugin_ready("p", 1)
        running.receive(1)
        eventually(lambda: running.runner.events() == ["e1"])
        running.runner.finish(status="raised", error="no such file: caf\udce9")
        eventually(lambda: len(running.delivery.dead_letters()) == 1)
        assert running.delivery.dead_letters()[0].error == "no such file: caf\\udce9"
    journal.close()


def test_when_an_outcome_cannot_be_stored_at_all_then_nothing_else_is_given_up(monkeypatch):
    park = MemoryTransaction.park

    def fail_at_odd_text(transaction, delivery_id, token, error, *more):
        if error == "odd":
            raise ValueError("a fault of our own")
        return park(transaction, delivery_id, token, error, *more)

    monkeypatch.setattr(MemoryTransaction, "park", fail_at_odd_text)
    with RunningDelivery(plugins={"p": PluginSettings(concurrency=4)}) as running:
        running.delivery.plugin_ready("p", 4)
        for number in range(4):
            running.receive(number, f"x{number}")
        eventually(lambda: len(running.runner.events()) == 4)
        begun = [delivery for _, delivery in running.runner.given]
        with running.journal.transaction():  # so that all of it comes in one batch
            running.runner.finish(delivery=begun[0])
            running.runner.finish(delivery=begun[1], status="raised", error="odd")
            running.runner.finish(delivery=begun[2], status="raised", error="plain")
            running.runner.finish(delivery=begun[3])
            for number in range(4, 7):
                running.receive(number, f"x{number}")
        eventually(lambda: len(running.runner.events()) == 7)
        eventually(lambda: len(running.delivery.dead_letters()) == 2)
        assert running.delivery.health.lost == 0
        errors = {letter.event_id: letter.error for letter in running.delivery.dead_letters()}
        assert errors["e2"] == "plain"
        assert "could not be stored" in errors["e1"]


def test_when_an_operator_gives_up_waiting_then_it_is_not_done_later_and_the_writer_goes_on():
    with RunningDelivery(automatic=True) as running:
        running.receive(1)
        running.delivery.flush()
        with running.journal.transaction(), pytest.raises(JournalError, match=r"did not .* events wait"):
            running.delivery._writer.perform(lambda transaction: transaction.forget("p"), timeout_s=0.05)
        running.delivery.flush()
        running.delivery.plugin_ready("p", 1)
        eventually(lambda: running.runner.events() == ["e1"])
