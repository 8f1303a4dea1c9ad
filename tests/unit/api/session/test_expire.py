"""What an event says has changed is never read stale."""

from typing import Any

import pytest

from ftrackd.api.event.base import Event
from ftrackd.api.session import Session

from .canned_server import CannedServer, rows


def _status(key: str) -> dict[str, str]:
    return {"__entity_type__": "Status", "id": key}


@pytest.fixture
def task(server: CannedServer, session: Session) -> Any:
    row = {
        "id": "t1",
        "name": "anim",
        "status_id": "s1",
        "status": _status("s1"),
        "link": [{"name": "show"}],
        "custom_attributes": [],
        "children": [{"__entity_type__": "Task", "id": "c1", "name": "child"}],
        "project_id": "p1",
    }
    server.answer = lambda request: rows("Task", row)
    found = session.query("Task").one()
    answer = {**row, "name": "comp", "status_id": "s2", "status": _status("s2"), "children": []}
    server.answer = lambda request: rows("Task", answer)
    server.calls.clear()
    return found


def _event(**change: Any) -> Event:
    entity = {"entity_type": "Task", "entityType": "task", "entityId": "t1", "action": "update", **change}
    return Event(topic="ftrack.update", data={"entities": [entity]})


def test_when_a_change_is_announced_then_the_next_read_asks(
    task: Any, session: Session, server: CannedServer
) -> None:
    assert session.expire_changes(_event(keys=["statusid"])) == 1
    assert task["name"] == "anim"
    assert server.calls == []
    assert task["status_id"] == "s2"
    assert task["status"]["id"] == "s2"


def test_when_changes_name_what_keys_do_not_then_they_count_too(task: Any, session: Session) -> None:
    session.expire_changes(_event(keys=None, changes={"name": {"old": "anim", "new": "comp"}}))
    assert task["name"] == "comp"


def test_when_a_key_is_no_attribute_then_it_is_a_custom_attribute(
    task: Any, session: Session, server: CannedServer
) -> None:
    assert dict(task["custom_attributes"]) == {}
    session.expire_changes(_event(keys=["fstart"]))
    assert dict(task["custom_attributes"]) == {}
    assert "custom_attributes" in server.expressions[-1]


def test_when_a_change_is_pending_here_then_it_stays(task: Any, session: Session) -> None:
    task["name"] = "mine"
    session.expire_changes(_event(keys=["name"]))
    assert task["name"] == "mine"
    session.rollback()
    assert task["name"] == "comp"


def test_when_a_child_is_added_or_gone_then_the_parent_reads_its_collections_anew(
    task: Any, session: Session
) -> None:
    children = task["children"]
    assert [child["id"] for child in children] == ["c1"]
    change = {"entity_type": "Shot", "entityId": "c9", "action": "add"}
    change["parents"] = [{"entityId": "c9"}, {"entityId": "t1", "entity_type": "Task"}, {"entityId": "p1"}]
    assert session.expire_changes(_event(**change)) == 1
    assert list(task["children"]) == []


def test_when_an_entity_moved_then_the_parent_it_left_reads_anew(task: Any, session: Session) -> None:
    assert len(task["children"]) == 1
    change = {"entityId": "c1", "action": "move", "keys": ["parent_id"]}
    change["changes"] = {"parent_id": {"old": "t1", "new": "t2"}}
    assert session.expire_changes(_event(**change)) == 2
    assert list(task["children"]) == []


def test_when_an_entity_is_removed_then_it_leaves_the_session(task: Any, session: Session) -> None:
    session.expire_changes(_event(action="remove"))
    assert session._identity_map.peek("Task", "t1") is None


def test_when_python_attributes_are_set_then_they_outlast_a_change(session: Session) -> None:
    location = session.create("Location", {"id": "l1", "name": "studio"}, reconstructing=True)
    location.accessor = object()
    accessor = location.accessor
    change = {"entity_type": "Location", "entityId": "l1", "keys": ["name"]}
    session.expire_changes(_event(**change))
    assert session.get("Location", "l1").accessor is accessor


def test_when_several_things_change_then_each_is_expired(task: Any, session: Session) -> None:
    event = _event(keys=["name"])
    event["data"]["entities"].append({"entityId": "c1", "action": "update", "keys": ["name"]})
    event["data"]["entities"].append({"entityId": "unknown", "entity_type": "Task", "action": "update"})
    assert session.expire_changes(event) == 2


def test_when_an_answer_is_older_than_an_event_then_it_brings_nothing_back(
    task: Any, session: Session, server: CannedServer
) -> None:
    """A query asked for before the change, answered after the event: the callback must not read it."""
    new, known = {"id": "t9", "name": "stale"}, {"id": "t1", "name": "stale"}

    def answer(request: dict[str, Any]) -> Any:
        server.answer = lambda request: rows("Task", {"id": "t9", "name": "new"}, {"id": "t1", "name": "new"})
        session.expire_changes(_event(keys=["name"]))
        session.expire_changes(_event(keys=["name"], entityId="t9"))
        return rows("Task", new, known)

    server.answer = answer
    found = session.query("Task where sort is 1").all()
    assert [entity["name"] for entity in found] == ["new", "new"]
    assert session._awaited == {}


def test_when_a_value_changes_while_it_is_loaded_then_it_is_loaded_again(
    task: Any, session: Session, server: CannedServer
) -> None:
    def answer(request: dict[str, Any]) -> Any:
        server.answer = lambda request: rows("Task", {"id": "t1", "description": "new"})
        session.expire_changes(_event(keys=["description"]))
        return rows("Task", {"id": "t1", "description": "stale"})

    server.answer = answer
    assert task["description"] == "new"


@pytest.mark.parametrize(
    "event",
    [
        {"topic": "ftrack.update"},
        {"topic": "ftrack.update", "data": None},
        {"topic": "ftrack.update", "data": {"entities": None}},
        {"topic": "ftrack.update", "data": {"entities": ["text", {}, {"entityId": 7}, {"entityId": "t1"}]}},
        {"topic": "ftrack.action.launch", "data": {"entities": [{"entityId": "t1", "keys": ["name"]}]}},
        {
            "topic": "ftrack.update",
            "data": {"entities": [{"entityId": "t1", "parents": [1, 2], "action": "add"}]},
        },
    ],
)
def test_when_an_event_is_odd_then_nothing_breaks(task: Any, session: Session, event: Any) -> None:
    assert session.expire_changes(event) <= 1
    assert task["status"]["id"] == "s1"
