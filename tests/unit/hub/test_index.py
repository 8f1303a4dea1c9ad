"""The index finds exactly what asking every subscription would find."""

import logging
import threading

from hypothesis import given
from hypothesis import strategies as st

from ftrackd.api.event.base import Event
from ftrackd.api.event.expression import Parser
from ftrackd.api.event.index import SubscriptionIndex

SUBSCRIPTIONS = st.sampled_from(
    [
        "topic=a",
        "topic=b",
        "topic=a or topic=b",
        "topic=*",
        "topic=a*",
        "not topic=a",
        "topic=a and data.actionIdentifier=x",
        "topic=a and data.actionIdentifier=y and data.n=3",
        "topic=a and (data.actionIdentifier=x or data.actionIdentifier=y)",
        "topic=a and topic=b",
        "data.n=3",
        "topic=a and data.n=3",
        "data.actionIdentifier=x",
        "(topic=a and data.n=3) or (topic=b and data.n=4)",
        "(topic=a and data.n=3) or data.n=4",
        "source.user.username=anna and topic=a",
    ]
)
EVENTS = st.fixed_dictionaries(
    {"topic": st.sampled_from(["a", "b", "c", "ab"])},
    optional={
        "data": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {},
                optional={
                    "actionIdentifier": st.sampled_from(["x", "y", "z", 3, None]),
                    "n": st.sampled_from([3, 3.0, "3", "4", True, None, [3]]),
                },
            ),
        ),
        "source": st.just({"user": {"username": "anna"}}),
        "target": st.sampled_from(["", "id=0", "id=1 or id=2", "user.id=7"]),
    },
)


@given(
    st.lists(st.tuples(SUBSCRIPTIONS, st.integers(-1, 2)), max_size=12),
    st.sets(st.integers(0, 11)),
    EVENTS,
)
def test_when_an_event_is_matched_then_the_answer_is_that_of_asking_everybody(subscriptions, removed, event):
    index = SubscriptionIndex()
    expected = []
    for number, (text, priority) in enumerate(subscriptions):
        metadata = {"id": str(number), "user": {"id": "7" if number % 2 else "8"}}
        index.add(number, text, metadata, priority)
        target = event.get("target")
        if (
            number not in removed
            and Parser().parse(text).match(event)
            and (not target or Parser().parse(target).match(metadata))
        ):
            expected.append((number, priority))
    for number in removed:
        assert index.remove(number) is (number < len(subscriptions))
    assert index.match(event) == sorted(expected, key=lambda pair: pair[1])
    assert len(index) == len(set(range(len(subscriptions))) - removed)


def test_when_a_key_is_added_again_then_it_replaces_the_first():
    index = SubscriptionIndex()
    index.add("k", "topic=a and data.x=1", {})
    index.add("k", "topic=b", {}, priority=5)
    assert index.match({"topic": "a", "data": {"x": "1"}}) == []
    assert index.match(Event("b")) == [("k", 5)]
    assert "k" in index
    assert index.remove("k") and not index.remove("k")
    assert index.match(Event("b")) == []


def test_when_a_key_is_added_again_while_events_come_then_each_finds_it():
    index = SubscriptionIndex()
    texts = ["topic=a", "topic=* and data.x=1", "data.x=1", "topic=a and data.x=1"]
    index.add("k", texts[0], {})
    event = {"topic": "a", "data": {"x": "1"}}
    missed = []
    is_over = threading.Event()

    def match():
        while not is_over.is_set():
            if not index.match(event):
                missed.append(event)

    matching = threading.Thread(target=match)
    matching.start()
    for number in range(4000):
        index.add("k", texts[number % len(texts)], {})
    is_over.set()
    matching.join()
    assert not missed
    assert index.match(event) == [("k", 100)]


def test_when_a_target_is_no_expression_then_nobody_is_addressed_and_the_log_says_so(caplog):
    index = SubscriptionIndex()
    index.add("k", "topic=a", {"id": "k"})
    for target in ("no expression", {"id": "k"}, 5):
        caplog.clear()
        assert index.match(Event("a", target=target)) == []
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert "Event dropped" in caplog.text


def test_when_an_object_in_a_local_event_fails_on_access_then_that_is_no_match_and_it_is_logged(caplog):
    class Odd:
        def __getitem__(self, key):
            raise RuntimeError("not loaded")

    index = SubscriptionIndex()
    index.add("bad", "topic=a and data.session.x=1", {})
    index.add("good", "topic=a", {})
    assert index.match(Event("a", data={"session": Odd()})) == [("good", 100)]
    assert "could not be compared" in caplog.text


def test_when_thousands_of_actions_are_subscribed_then_only_the_one_meant_is_asked():
    index = SubscriptionIndex()
    for number in range(2000):
        index.add(number, f"topic=ftrack.action.launch and data.actionIdentifier=action-{number}", {})
    event = Event("ftrack.action.launch", data={"actionIdentifier": "action-1234"})
    assert index.match(event) == [(1234, 100)]
    assert len(list(index._topics["ftrack.action.launch"].candidates(event._data))) == 1
