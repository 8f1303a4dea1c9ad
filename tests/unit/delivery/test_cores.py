"""The small cores: back-off, brake, window, loop guard, classification, clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.delivery import Classification, Lane
from ftrackd.delivery.backoff import full_jitter
from ftrackd.delivery.brake import Brake
from ftrackd.delivery.clock import JournalClock
from ftrackd.delivery.journal import Claim
from ftrackd.delivery.loop_guard import LoopGuard, actor_names
from ftrackd.delivery.window import Window
from ftrackd.settings import DeliverySettings


def highest(_, high):
    return high


def lowest(low, _):
    return low


@given(st.integers(-5, 10_000), st.floats(0.001, 100), st.floats(0.001, 1000), st.floats(0, 1))
def test_when_anything_failed_any_number_of_times_then_the_wait_is_within_its_limits(
    attempts, base_s, cap_s, at
):
    waited = full_jitter(attempts, base_s, cap_s, lambda low, high: low + (high - low) * at)
    assert 0 < waited <= cap_s


def test_when_attempts_grow_then_the_limit_doubles_up_to_the_cap():
    assert [full_jitter(n, 1.0, 10.0, highest) for n in (1, 2, 3, 4, 5, 60, 5000)] == [1, 2, 4, 8, 10, 10, 10]
    assert full_jitter(3, 1.0, 10.0, lowest) == pytest.approx(0.4), "a tenth at least"


def test_when_transient_failures_follow_each_other_then_the_brake_pauses_longer_each_time():
    brake = Brake(1.0, 8.0, highest)
    assert [brake.failed(now) for now in range(7)] == [None, None, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert brake.probing
    assert brake.remaining_s(6.0) == 8.0
    assert brake.remaining_s(20.0) == 0.0
    brake.succeeded()
    assert not brake.probing
    assert brake.remaining_s(6.0) == 0.0


def claim(number, *keys):
    return Claim(number, 1000 + number, "p", f"e{number}", "t", b"", keys, 1, False, 0.0)


def started(window):
    return [item.delivery_id for item in window.start()]


def test_when_one_may_run_then_they_run_in_their_order():
    window = Window(1)
    window.add([claim(1, "a"), claim(2, "b")])
    assert (started(window), started(window)) == ([1], [])
    assert window.finish(1, 1001).delivery_id == 1
    assert started(window) == [2]


def test_when_the_token_is_another_then_it_is_not_the_running_one():
    window = Window(1)
    window.add([claim(1)])
    window.start()
    assert window.finish(1, 7) is None
    assert window.finish(2, 1001) is None
    assert window.running == 1


def test_when_something_waits_then_there_is_no_room_to_start_at_once():
    window = Window(3)
    assert window.free == 3
    window.add([claim(1, "a"), claim(2, "a")])
    assert started(window) == [1]
    assert (window.free, window.waiting, window.running) == (0, 1, 1)
    assert [item.delivery_id for item in window.abandon()] == [2]
    assert window.free == 2
    assert [item.delivery_id for item in window.interrupt()] == [1]


@given(
    st.integers(1, 5),
    st.lists(st.lists(st.sampled_from("abcd"), max_size=3, unique=True), max_size=25),
    st.randoms(use_true_random=False),
)
def test_when_they_end_in_any_order_then_sharing_a_key_means_one_after_the_other(concurrency, all_keys, rand):
    window = Window(concurrency)
    window.add([claim(number, *keys) for number, keys in enumerate(all_keys)])
    order, running = [], []
    while window.waiting or window.running:
        for item in window.start():
            assert all(not set(item.keys) & set(other.keys) for other in running)
            order.append(item.delivery_id)
            running.append(item)
        assert len(running) <= concurrency
        assert running, "something can always run"
        ended = running.pop(rand.randrange(len(running)))
        assert window.finish(ended.delivery_id, ended.token) is ended
    assert sorted(order) == list(range(len(all_keys)))
    for key in "abcd":
        sharing = [number for number in order if key in all_keys[number]]
        assert sharing == sorted(sharing)


def event(**fields):
    return {"topic": "ftrack.update", **fields}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, set()),
        ({"source": None, "data": []}, set()),
        ({"source": {"user": {"username": "robot", "id": 3}}}, {"robot"}),
        ({"source": {"user": "robot"}, "data": {"user": {"userid": "u1", "name": "Robot"}}}, {"u1"}),
    ],
)
def test_when_events_name_their_actor_in_any_way_then_it_is_found(fields, names):
    assert actor_names(event(**fields)) == names


def test_when_a_plugin_never_handled_the_entity_then_it_did_not_cause_its_events():
    guard = LoopGuard(["robot"], 2)
    assert guard.caused_by_us(event(source={"user": {"username": "robot"}}))
    assert not guard.caused_by_us(event(source={"user": {"username": "artist"}}))
    assert all(guard.delay("p", ["a"], float(second)) is None for second in range(50))


def test_when_it_goes_round_too_often_then_each_round_is_slower_and_forgotten_after_a_minute():
    guard = LoopGuard(["robot"], 3)
    guard.handling("p", ["a"], 0.0)
    found = [guard.delay("p", ["a", "b"], float(second)) for second in range(12)]
    assert found[:3] == [None, None, None]
    assert [loop.delay_s for loop in found[3:6]] == [1.0, 2.0, 4.0]
    assert found[-1].delay_s == 60.0
    assert (found[3].plugin, found[3].entity_id, found[3].count) == ("p", "a", 4)
    assert [loop.count for loop in guard.loops(12.0)] == [12]
    assert guard.delay("p", ["a"], 61.5) is None, "it was last handled more than a minute ago"
    assert guard.loops(200.0) == []


def test_when_many_entities_pass_then_the_guard_forgets_them():
    guard = LoopGuard(["robot"], 3)
    for number in range(2000):
        guard.handling("p", [f"x{number}"], float(number))
    assert len(guard._trails) < 300


@pytest.mark.parametrize(
    ("topic", "lane"),
    [
        ("ftrack.update", Lane.DURABLE),
        ("ftrack.location.component-added", Lane.DURABLE),
        ("ftrack.action.discover", Lane.INTERACTIVE),
        ("ftrack.updates", Lane.INTERACTIVE),
        ("studio.published", Lane.INTERACTIVE),
        ("ftrack.meta.reply", Lane.NONE),
    ],
)
def test_when_settings_are_as_they_come_then_topics_take_these_lanes(topic, lane):
    settings = DeliverySettings()
    found = Classification(settings.durable_topics, settings.interactive_topics, Lane(settings.other_topics))
    assert found.lane(topic) is lane


def test_when_rules_overlap_then_the_more_particular_one_holds():
    found = Classification(["studio.*", "studio.ask.loudly", "both"], ["studio.ask.*", "both"], Lane.DURABLE)
    assert found.lane("studio.published") is Lane.DURABLE
    assert found.lane("studio.ask.something") is Lane.INTERACTIVE
    assert found.lane("studio.ask.loudly") is Lane.DURABLE
    assert found.lane("both") is Lane.DURABLE
    assert found.lane("other") is Lane.DURABLE


def test_when_topics_are_endless_then_memory_is_not():
    found = Classification(["a"], ["b"])
    for number in range(20_000):
        found.lane(f"topic{number}")
    assert len(found._known) <= 4096


def test_when_the_systems_clock_is_set_then_the_journals_goes_on():
    wall, monotonic = [1000.0], [5.0]
    clock = JournalClock(lambda: wall[0], lambda: monotonic[0])
    monotonic[0] += 2.0
    wall[0] -= 86_400.0
    assert clock.now() == 1002.0
    assert clock.wall() == 1000.0 - 86_400.0
