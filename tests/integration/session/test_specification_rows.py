"""What the Session's specification says of reading and writing, against the sandbox over HTTP.

`docs/session.md` maps each member to its test here or elsewhere; `test_documentation.py` keeps the two equal.
"""

import datetime
import json
import uuid
from typing import Any

import arrow
import pytest

from ftrackd.api import exception, inspection, operation, symbol
from ftrackd.api.session import (
    Session,
)

from .conftest import unique

# Reading.


def test_get(session: Session, task: Any, calls: list[Any]) -> None:
    assert session.get("Task", task["id"]) is task
    assert calls == []
    assert session.get("TypedContext", task["id"]) is task
    assert session.get("Context", [task["id"]]) is task
    assert session.get("Task", "nothing") is None
    with pytest.raises(KeyError):
        session.get("Nothing", "1")
    with pytest.raises(ValueError, match="composed of 1"):
        session.get("Task", ["a", "b"])


def test_query(session: Session, project: Any) -> None:
    names = [unique("task") for _ in range(7)]
    for name in names:
        session.create("Task", {"name": name, "parent": project})
    session.commit()
    found = session.query(f'Task where project_id is "{project["id"]}" order by name', page_size=3)
    assert [task["name"] for task in found] == sorted(names)
    assert len(found) == 7
    assert found[-1]["name"] == sorted(names)[-1]
    assert [task["name"] for task in found[1:3]] == sorted(names)[1:3]
    selected = session.query(
        f'  SELECT name, status.name from Task where project.id is "{project["id"]}" limit 2'.replace(
            "SELECT", "select"
        )
    )
    assert len(selected.all()) == 2
    assert session.query(f'Task where name is "{names[0]}"').one()["name"] == names[0]
    with pytest.raises(KeyError):
        session.query("Nothing where id is 1")
    with pytest.raises(exception.ServerError):
        session.query("Task where nothing is 1").all()


def test_merge(session: Session, task: Any) -> None:
    decoded = session.decode(session.encode(task, "persisted_only"))
    assert session.merge(decoded) is task
    assert session.merge(3) == 3
    assert session.merge([decoded]) == [task]
    project = session.query(f'Project where id is "{task["project_id"]}"').one()
    assert session.merge(project["children"]) == [task]


def test_populate(session: Session, task: Any, project: Any, calls: list[Any]) -> None:
    second = session.create("Task", {"name": unique("task"), "parent": project})
    session.commit()
    calls.clear()
    session.populate([task, second], "bid, status.name")
    assert len(calls) == 1
    assert task["status"]["name"]
    assert second["bid"] == 0
    assert len(calls) == 1
    task["name"] = "local"
    session.populate(task, "name")
    assert task["name"] == "local"
    del task["name"]
    assert task["name"] != "local"
    new = session.create("Task", {"name": "x", "parent": project})
    calls.clear()
    session.populate(new, "bid")
    assert calls == []


def test_entity_reference(session: Session, task: Any) -> None:
    assert session.entity_reference(task) == {"__entity_type__": "Task", "id": task["id"]}
    task["metadata"]["k"] = "v"
    metadata = task["metadata"].collection[0]
    assert session.entity_reference(metadata) == {
        "__entity_type__": "Metadata",
        "parent_id": task["id"],
        "key": "k",
    }


def test_encode(session: Session, task: Any) -> None:
    assert json.loads(session.encode(task))["name"] == task["name"]
    task["name"] = "local"
    assert json.loads(session.encode(task, "modified_only")) == {
        "__entity_type__": "Task",
        "id": task["id"],
        "name": "local",
    }
    assert json.loads(session.encode(task, "persisted_only"))["name"] != "local"
    whole = json.loads(session.encode(task, entity_attribute_strategy="all"))
    assert whole["status"]["__entity_type__"] == "Status"
    assert whole["created_at"]["__type__"] == "datetime"
    with pytest.raises(ValueError, match="Unsupported"):
        session.encode(task, "some")


def test_decode(session: Session) -> None:
    decoded = session.decode('{"at": {"__type__": "datetime", "value": "2026-01-02T03:04:05"}}')
    assert decoded["at"] == arrow.get(2026, 1, 2, 3, 4, 5)


def test_call(session: Session, task: Any) -> None:
    expression = f'select name from Task where id is "{task["id"]}"'
    answers = session.call(
        [{"action": "query", "expression": expression}, {"action": "query_server_information"}]
    )
    assert answers[0]["data"] == [task]
    assert answers[1]["version"] == session.server_information["version"]
    grouped = session.call(
        [{"action": "query", "expression": "select count(id) from Task group by project_id"}]
    )
    assert {"count_id", "project_id"} <= set(grouped[0]["data"][0])


# Writing.


def test_create(session: Session, project: Any) -> None:
    data = {"name": unique("task"), "parent": project, "metadata": {"a": "1"}}
    task = session.create("Task", data)
    assert session.created[0] is task
    assert "metadata" in data
    session.commit()
    with _second(session) as other:
        found = other.get("Task", task["id"])
        assert found["name"] == task["name"]
        assert dict(found["metadata"]) == {"a": "1"}
        assert found["parent"]["id"] == project["id"]
    described = session.create("Task", {"id": "elsewhere", "name": "known"}, reconstructing=True)
    assert described["name"] == "known"
    assert session.created == []
    with pytest.raises(exception.UnrecognisedEntityTypeError):
        session.create("Nothing")


def _second(session: Session) -> Session:
    """Return another session on the same server."""
    return Session(
        session.server_url, session.api_key, session.api_user, plugin_paths=[], schema_cache_path=False
    )


@pytest.mark.parametrize("name", ['say "hi"', "it's", 'a \\" b', "limit 3 offset 2", "käse % _"])
def test_ensure(session: Session, project: Any, name: str, calls: list[Any]) -> None:
    data = {"name": name, "project_id": project["id"], "description": "first"}
    keys = ["name", "project_id"]
    made = session.ensure("Sequence", {**data, "parent_id": project["id"]}, identifying_keys=keys)
    assert session.created == []
    calls.clear()
    again = session.ensure("Sequence", {**data, "description": "second"}, identifying_keys=keys)
    assert again is made
    assert again["description"] == "second"
    assert [request["action"] for batch in calls for request in batch].count("update") == 1
    calls.clear()
    assert session.ensure("Sequence", {"name": name, "project_id": project["id"]}, []) is made
    assert session.ensure("Sequence", {"name": name, "project_id": project["id"]}) is made
    assert [request["action"] for batch in calls for request in batch] == ["query", "query"]
    session.create("Sequence", {"name": name, "parent_id": project["id"]})
    with pytest.raises((exception.MultipleResultsFoundError, exception.ServerError)):
        session.commit()
        session.ensure("Sequence", {"name": name, "project_id": project["id"]})
    with pytest.raises(KeyError):
        session.ensure("Sequence", {"name": name}, identifying_keys=["nothing"])
    with pytest.raises(ValueError, match="identifying"):
        session.ensure("Sequence", {})


@pytest.mark.parametrize(
    "odd",
    [
        "a \"b\" 'c'",
        "back\\slash",
        "\\'",
        '\\"',
        "P:\\",
        "ends\\\\",
        "limit 5 offset 2",
        ") or (",
        "\n\t",
        "日本",
    ],
)
def test_ensure_with_odd_text(session: Session, odd: str) -> None:
    name = uuid.uuid4().hex + odd
    made = session.ensure("Scope", {"name": name})
    assert made["name"] == name
    assert session.ensure("Scope", {"name": name}) is made


def test_ensure_with_dates(session: Session, project: Any, calls: list[Any]) -> None:
    start = arrow.get("2026-03-04T05:06:07.123456+02:00")
    data = {"name": unique("event"), "project_id": project["id"], "start": start, "end": start.shift(hours=1)}
    made = session.ensure("CalendarEvent", data)
    calls.clear()
    assert session.ensure("CalendarEvent", data) is made
    assert [request["action"] for batch in calls for request in batch] == ["query"]


def test_commit(session: Session, project: Any, calls: list[Any]) -> None:
    task = session.create("Task", {"name": unique("task"), "parent": project})
    task["description"] = "described"
    task["start_date"] = datetime.date(2026, 5, 6)
    session.commit()
    assert len(calls) == 1
    assert len(session.recorded_operations) == 0
    assert task["description"] == "described"
    assert task["start_date"].date() == datetime.date(2026, 5, 6)
    assert inspection.state(task) is symbol.NOT_SET
    session.commit()
    task["type"] = session.query("Type").first()
    task["status_id"] = "no such status"
    with pytest.raises(exception.ServerError):
        session.commit()
    assert len(session.recorded_operations) == 2
    session.rollback()
    assert task["description"] == "described"


def test_delete(session: Session, task: Any) -> None:
    session.delete(task)
    assert session.deleted == [task]
    session.commit()
    assert session.deleted == []
    assert session.get("Task", task["id"]) is None
    with _second(session) as other:
        assert other.get("Task", task["id"]) is None


def test_created(session: Session, project: Any) -> None:
    task = session.create("Task", {"name": "x", "parent": project})
    assert session.created == [task]
    session.commit()
    assert session.created == []


def test_modified(session: Session, task: Any) -> None:
    task["name"] = unique("renamed")
    assert session.modified == [task]
    session.commit()
    assert session.modified == []


def test_deleted(session: Session, task: Any) -> None:
    session.delete(task)
    assert session.deleted == [task]
    session.rollback()
    assert session.deleted == []


def test_rollback(session: Session, task: Any, project: Any) -> None:
    before = task["name"]
    task["name"] = "changed"
    made = session.create("Task", {"name": "x", "parent": project})
    session.delete(project)
    session.rollback()
    assert task["name"] == before
    assert (session.created, session.modified, session.deleted) == ([], [], [])
    assert session.get("Task", made["id"]) is None
    session.commit()
    assert session.get("Project", project["id"]) is project


def test_recorded_operations(session: Session, task: Any) -> None:
    assert isinstance(session.recorded_operations, operation.Operations)
    key = inspection.primary_key(task)
    session.recorded_operations.push(
        operation.UpdateEntityOperation("Task", key, "description", symbol.NOT_SET, "pushed")
    )
    session.commit()
    assert task["description"] == "pushed"
