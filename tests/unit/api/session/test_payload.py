from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.api import _payload, exception, operation
from ftrackd.api.symbol import NOT_SET

_IDS = st.sampled_from(["1", "2", "3"])
_NAMES = st.sampled_from(["name", "bid", "parent"])
_VALUES = st.integers(0, 3) | st.just(NOT_SET)

_OPERATIONS = st.lists(
    st.builds(
        lambda key, data: operation.CreateEntityOperation("Task", {"id": key}, data),
        _IDS,
        st.dictionaries(_NAMES, _VALUES, max_size=3),
    )
    | st.builds(
        lambda key, name, value: operation.UpdateEntityOperation("Task", {"id": key}, name, None, value),
        _IDS,
        _NAMES,
        _VALUES,
    )
    | st.builds(lambda key: operation.DeleteEntityOperation("Task", {"id": key}), _IDS),
    max_size=12,
)


def _create(key: str, **data: Any) -> operation.CreateEntityOperation:
    return operation.CreateEntityOperation("Task", {"id": key}, data)


def _update(key: str, name: str, value: Any) -> operation.UpdateEntityOperation:
    return operation.UpdateEntityOperation("Task", {"id": key}, name, NOT_SET, value)


def _delete(key: str) -> operation.DeleteEntityOperation:
    return operation.DeleteEntityOperation("Task", {"id": key})


def _told(operations: list[Any]) -> list[tuple[str, str, dict[str, Any]]]:
    told = []
    for request in _payload.batch(operations):
        data = dict(request.get("entity_data", {}))
        data.pop("__entity_type__", None)
        data.pop("id", None)
        told.append((request["action"], request["entity_key"][0], data))
    return told


def _apply(requests: list[tuple[str, str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """What a server that does `requests` one after the other has in the end."""
    rows: dict[str, dict[str, Any]] = {}
    for action, key, data in requests:
        if action == "delete":
            rows.pop(key, None)
        else:
            rows.setdefault(key, {}).update(data)
    return rows


def _literally(operations: list[Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """The requests for `operations` one by one, without any saving."""
    taken_back = {}
    for position, recorded in enumerate(operations):
        if isinstance(recorded, operation.UpdateEntityOperation):
            taken_back[recorded.address, recorded.attribute_name] = (position, recorded.new_value)
    told = []
    for recorded in operations:
        key = recorded.entity_key["id"]
        if isinstance(recorded, operation.DeleteEntityOperation):
            told.append(("delete", key, {}))
            continue
        if isinstance(recorded, operation.CreateEntityOperation):
            data, action = recorded.entity_data, "create"
        else:
            data, action = {recorded.attribute_name: recorded.new_value}, "update"
        last = {name: taken_back.get((recorded.address, name), (0, value))[1] for name, value in data.items()}
        told.append(
            (action, key, {n: v for n, v in data.items() if v is not NOT_SET and last[n] is not NOT_SET})
        )
    return told


@given(_OPERATIONS)
def test_when_a_batch_is_made_then_it_does_what_the_operations_say(operations: list[Any]) -> None:
    """However much is saved, the server ends up with the same entities as one by one."""
    created = [
        recorded.address for recorded in operations if isinstance(recorded, operation.CreateEntityOperation)
    ]
    deleted = [
        recorded.address for recorded in operations if isinstance(recorded, operation.DeleteEntityOperation)
    ]
    sane = [
        recorded
        for position, recorded in enumerate(operations)
        # An entity is created once, first, and nothing follows its deletion.
        if not any(
            other.address == recorded.address
            for other in (
                operations[position + 1 :] if isinstance(recorded, operation.DeleteEntityOperation) else []
            )
        )
        and not (
            isinstance(recorded, operation.CreateEntityOperation)
            and any(other.address == recorded.address for other in operations[:position])
        )
        and not (recorded.address in created and recorded.address in deleted)
    ]
    expected = {key: row for key, row in _apply(_literally(sane)).items() if row}
    assert {key: row for key, row in _apply(_told(sane)).items() if row} == expected


@given(_OPERATIONS)
def test_when_a_batch_is_made_then_nothing_empty_is_sent(operations: list[Any]) -> None:
    for request in _payload.batch(operations):
        if request["action"] == "update":
            assert len(request["entity_data"]) > 1
        assert NOT_SET not in request.get("entity_data", {}).values()


def test_when_an_entity_is_created_and_deleted_then_nothing_of_it_is_sent() -> None:
    assert _told(
        [_create("1", name="a"), _update("1", "name", "b"), _update("2", "bid", 1), _delete("1")]
    ) == [("update", "2", {"bid": 1})]


def test_when_an_attribute_is_set_several_times_then_the_last_counts_at_its_place() -> None:
    told = _told([_update("1", "name", "a"), _update("2", "name", "x"), _update("1", "name", "b")])
    assert told == [("update", "2", {"name": "x"}), ("update", "1", {"name": "b"})]


def test_when_updates_follow_a_create_then_they_become_part_of_it() -> None:
    told = _told([_create("1", name="a"), _update("1", "bid", 1), _update("1", "name", "b")])
    assert told == [("create", "1", {"name": "b", "bid": 1})]


def test_when_something_stands_between_then_an_update_stays_an_update() -> None:
    told = _told([_create("1", name="a"), _create("2", name="b"), _update("1", "bid", 1)])
    assert [action for action, _, _ in told] == ["create", "create", "update"]


def test_when_a_value_is_taken_back_before_the_commit_then_it_is_not_sent() -> None:
    """The official client still creates the entity with the original value."""
    assert _told([_create("1", name="a", bid=2), _update("1", "name", NOT_SET)]) == [
        ("create", "1", {"bid": 2})
    ]


def test_when_a_create_is_sent_then_it_holds_type_and_key() -> None:
    assert _payload.batch([_create("1", name="a")]) == [
        {
            "action": "create",
            "entity_type": "Task",
            "entity_key": ["1"],
            "entity_data": {"__entity_type__": "Task", "id": "1", "name": "a"},
        }
    ]
    assert _payload.batch([_delete("1")]) == [
        {"action": "delete", "entity_type": "Task", "entity_key": ["1"]}
    ]


def test_when_a_strange_operation_is_pushed_then_commit_says_so() -> None:
    class Strange(operation.DeleteEntityOperation):
        pass

    class Other(operation._EntityOperation):
        pass

    assert _told([Strange("Task", {"id": "1"})]) == [("delete", "1", {})]
    with pytest.raises(exception.OperationError, match="no operation"):
        _payload.batch([Other("Task", {"id": "1"})])
