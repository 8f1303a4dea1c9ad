"""Order: keys of an event and the choice of what may run."""

import pytest

from ftrackd.delivery.ordering import Candidate, choose, entity_keys

EVENT = {
    "data": {
        "entities": [
            {
                "entityId": "t1",
                "parentId": "s1",
                "parents": [{"entityId": "t1"}, {"entityId": "s1"}, {"entityId": "p1"}],
            },
            {"entityId": "t2", "parentId": "s1", "parents": None},
            {"entityId": None},
            "odd",
        ]
    }
}


@pytest.mark.parametrize(
    ("order_by", "keys"),
    [
        ("entity", ("t1", "t2")),
        ("parent", ("t1", "s1", "t2")),
        ("project", ("p1", "t2")),
        ("none", ()),
    ],
)
def test_when_the_policy_differs_then_so_do_the_keys(order_by, keys):
    assert entity_keys(EVENT, order_by) == keys


@pytest.mark.parametrize("data", [None, [], {}, {"entities": None}, {"entities": 3}, "text"])
def test_when_the_event_is_odd_then_it_has_no_keys(data):
    assert entity_keys({"data": data}, "entity") == ()


def test_when_data_names_a_component_then_that_is_the_key():
    event = {"data": {"component_id": "c1", "location_id": "l1"}}
    assert entity_keys(event, "entity") == ("c1",)


def test_when_an_older_one_waits_then_what_shares_a_key_waits_too_and_others_go():
    candidates = [
        Candidate(1, ("a",), blocks=True),
        Candidate(2, ("a", "b")),
        Candidate(3, ("b",)),
        Candidate(4, ("c",)),
        Candidate(5, ()),
    ]
    assert choose(candidates, limit=10, ready=1) == [4, 5]


def test_when_one_was_tried_before_then_it_goes_only_with_what_starts_at_once():
    candidates = [Candidate(1, ("a",), tried=True), Candidate(2, ("b",)), Candidate(3, ("c",))]
    assert choose(candidates, limit=10, ready=1) == [1]
    assert choose(candidates, limit=10, ready=2) == [1, 2]


def test_when_a_tried_one_is_not_first_then_the_choice_ends_before_it():
    candidates = [Candidate(1, ()), Candidate(2, ()), Candidate(3, (), tried=True), Candidate(4, ())]
    assert choose(candidates, limit=10, ready=1) == [1, 2]
