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
from ftrackd.delivery.window import HANDED_AHEAD, HANDED_AHEAD_BYTES, Window
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


def claim(number, *keys, attempt=1, payload=b""):
    return Claim(number, 1000 + number, "p", f"e{number}", "t", payload, keys, attempt, False, 0.0)


def ids(claims):
    return [item.delivery_id for item in claims]


def started(window):
    return [ids(sequence) for sequence in window.start()]


def test_when_one_may_run_then_many_are_handed_over_to_run_in_turn():
    window = Window(1)
    window.add([claim(number, "a") for number in range(HANDED_AHEAD + 2)])
    assert started(window) == [list(range(HANDED_AHEAD))]
    assert (window.running, window.ahead, window.waiting) == (1, HANDED_AHEAD - 1, 2)
    for number in range(HANDED_AHEAD):
        assert started(window) == [], "only when nothing of the ones before is left"
        assert window.first().delivery_id == number
        assert window.finish(number, 1000 + number).delivery_id == number
    assert (window.running, window.ahead) == (0, 0)
    assert started(window) == [[HANDED_AHEAD, HANDED_AHEAD + 1]]


def test_when_one_was_tried_before_then_it_is_handed_over_alone():
    window = Window(1)
    window.add([claim(1), claim(2), claim(3, attempt=2), claim(4), claim(5)])
    for expected in ([1, 2], [3], [4, 5]):
        assert started(window) == [expected]
        for number in expected:
            window.finish(number, 1000 + number)


def test_when_events_are_large_then_few_are_handed_over_at_once():
    window = Window(1)
    window.add([claim(number, payload=bytes(HANDED_AHEAD_BYTES // 2)) for number in range(3)])
    assert started(window) == [[0, 1]]
    window = Window(1)
    window.add([claim(1, payload=bytes(HANDED_AHEAD_BYTES + 1)), claim(2)])
    assert started(window) == [[1]]


def test_when_they_come_back_unbegun_then_they_are_first_and_in_their_order():
    window = Window(1)
    window.add([claim(number) for number in range(HANDED_AHEAD + 1)])
    window.start()
    window.finish(0, 1000)
    window.put_back([window.finish(number, 1000 + number) for number in range(1, HANDED_AHEAD)])
    assert started(window) == [list(range(1, HANDED_AHEAD + 1))]


def test_when_all_is_interrupted_then_what_ran_is_told_from_what_was_to_run_next():
    window = Window(1)
    window.add([claim(number) for number in range(3)])
    window.start()
    window.concurrency = 3
    assert [ids(part) for part in window.interrupt()] == [[0], [1, 2]]
    window.add([claim(number) for number in range(3)])
    window.start()
    window.concurrency = 1
    assert [ids(part) for part in window.interrupt()] == [[0, 1, 2], []]


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
    assert started(window) == [[1]]
    assert (window.free, window.waiting, window.running) == (0, 1, 1)
    assert ids(window.abandon()) == [2]
    assert window.free == 2
    assert [ids(part) for part in window.interrupt()] == [[1], []]


@given(
    st.integers(1, 5),
    st.lists(st.lists(st.sampled_from("abcd"), max_size=3, unique=True), max_size=25),
    st.randoms(use_true_random=False),
)
def test_when_they_end_in_any_order_then_sharing_a_key_means_one_after_the_other(concurrency, all_keys, rand):
    window = Window(concurrency)
    window.add([claim(number, *keys) for number, keys in enumerate(all_keys)])
    order, sequences = [], []
    while window.waiting or window.running:
        for sequence in window.start():
            sequences.append(sequence)
            order.append(sequence[0].delivery_id)
        running = [sequence[0] for sequence in sequences]
        for item in running:
            assert all(not set(item.keys) & set(other.keys) for other in running if other is not item)
        assert len(running) == window.running <= concurrency
        assert running, "something can always run"
        sequence = sequences.pop(rand.randrange(len(sequences)))
        ended = sequence.pop(0)
        assert window.finish(ended.delivery_id, ended.token) is ended
        if sequence:
            sequences.append(sequence)
            order.append(sequence[0].delivery_id)
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
