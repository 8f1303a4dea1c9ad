"""Every member of the Session's specification, against the sandbox over HTTP.

`docs/session.md` maps each member to its test here or elsewhere; `test_documentation.py` keeps the two equal.
"""

import datetime
import json
import urllib.request
import uuid
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import arrow
import pytest

from ftrackd.api import cache, exception, inspection, operation, symbol
from ftrackd.api.event.hub import EventHub
from ftrackd.api.session import (
    AutoPopulatingContext,
    OperationPayload,
    OperationRecordingContext,
    Session,
    SessionAuthentication,
)
from ftrackd.testing.sandbox import SandboxProcess

from .conftest import unique


def _open(sandbox: SandboxProcess, **options: Any) -> Session:
    options = {"plugin_paths": [], "schema_cache_path": False, **options}
    return Session(sandbox.url, sandbox.api_key, sandbox.api_user, **options)


# What identifies and configures a session.


def test_server_url(session: Session, sandbox: SandboxProcess) -> None:
    assert session.server_url == sandbox.url
    with Session(
        sandbox.url + "/", sandbox.api_key, sandbox.api_user, plugin_paths=[], schema_cache_path=False
    ) as other:
        assert other.server_url == sandbox.url


def test_api_user(session: Session, sandbox: SandboxProcess, user: Any) -> None:
    assert session.api_user == sandbox.api_user == user["username"]


def test_api_key(session: Session, sandbox: SandboxProcess) -> None:
    assert session.api_key == sandbox.api_key
    with pytest.raises(exception.ServerError) as caught:
        Session(sandbox.url, "wrong", sandbox.api_user, plugin_paths=[], schema_cache_path=False)
    assert isinstance(caught.value, exception.AuthenticationError)


def test_session_authentication(sandbox: SandboxProcess) -> None:
    import requests

    answer = requests.post(
        f"{sandbox.url}/api",
        json=[{"action": "query_server_information"}],
        auth=SessionAuthentication(sandbox.api_key, sandbox.api_user),
        timeout=20,
    )
    assert "version" in answer.json()[0]


def test_server_information(session: Session) -> None:
    assert session.server_information["version"]
    assert session.server_information is not session.server_information


def test_closed(sandbox: SandboxProcess) -> None:
    session = _open(sandbox)
    assert session.closed is False
    session.close()
    assert session.closed is True


def test_auto_populate(sandbox: SandboxProcess, task: Any) -> None:
    with _open(sandbox) as session:
        found = session.get("Task", task["id"])
        assert session.auto_populate is True
        session.auto_populate = False
        assert found["bid"] is symbol.NOT_SET
        session.auto_populate = True
        assert found["bid"] == 0
    with _open(sandbox, auto_populate=False) as session:
        assert session.auto_populate is False
        assert session.get("Task", task["id"])["bid"] is symbol.NOT_SET


def test_record_operations(session: Session, task: Any) -> None:
    assert session.record_operations is True
    session.record_operations = False
    task["name"] = "unrecorded"
    session.record_operations = True
    assert len(session.recorded_operations) == 0


def test_auto_populating(sandbox: SandboxProcess, task: Any) -> None:
    with _open(sandbox) as session:
        found = session.get("Task", task["id"])
        with session.auto_populating(False) as value:
            assert value is None
            assert found["bid"] is symbol.NOT_SET
        assert found["bid"] == 0


def test_auto_populating_context(session: Session) -> None:
    with AutoPopulatingContext(session, False):
        assert session.auto_populate is False
    assert session.auto_populate is True
    with pytest.raises(ValueError, match="out"), AutoPopulatingContext(session, False):
        raise ValueError("out")
    assert session.auto_populate is True


def test_operation_recording(session: Session, task: Any) -> None:
    with session.operation_recording(False):
        task["name"] = "unrecorded"
    assert session.modified == []
    task["name"] = "recorded"
    assert session.modified == [task]


def test_operation_recording_context(session: Session) -> None:
    with OperationRecordingContext(session, False):
        session.create("Task")
    assert session.record_operations is True
    assert session.created == []


def test_operation_payload() -> None:
    payload = OperationPayload({"action": "create"}, entity_type="Task")
    assert isinstance(payload, MutableMapping)
    assert not isinstance(payload, dict)
    assert payload.get("action") == "create"
    assert payload.get("nothing", 3) == 3
    assert sorted(payload.items()) == [("action", "create"), ("entity_type", "Task")]
    assert sorted(payload.keys()) == ["action", "entity_type"]
    assert sorted(payload.values()) == ["Task", "create"]
    assert payload.setdefault("entity_type", "Shot") == "Task"
    payload.update({"a": 1}, b=2)
    assert payload.pop("a") == 1
    assert payload.pop("a", None) is None
    with pytest.raises(KeyError):
        payload.pop("a")
    assert payload.popitem()[0] in {"action", "entity_type", "b"}
    assert "OperationPayload" in str(payload)
    payload.clear()
    assert len(payload) == 0
    with pytest.raises(KeyError):
        payload.popitem()


def test_plugin_paths_and_arguments(sandbox: SandboxProcess, tmp_path: Path) -> None:
    (tmp_path / "hook.py").write_text(
        "def register(session, told=None, **kw):\n    told.append((session, kw))\n"
    )
    told: list[Any] = []
    arguments = {"told": told, "extra": 1}
    with _open(sandbox, plugin_paths=[str(tmp_path)], plugin_arguments=arguments) as session:
        assert told == [(session, {"extra": 1})]


def test_cache(sandbox: SandboxProcess, task: Any) -> None:
    own = cache.MemoryCache()
    with _open(sandbox, cache=own) as session:
        session.get("Task", task["id"])
        assert f"('Task', ['{task['id']}'])" in set(own.keys())


def test_cache_key_maker(sandbox: SandboxProcess, task: Any) -> None:
    with _open(sandbox, cache_key_maker=cache.ObjectKeyMaker()) as session:
        found = session.get("Task", task["id"])
        assert session.cache.get(cache.ObjectKeyMaker().key(("Task", [task["id"]]))) is found


def test_schema_cache_path(sandbox: SandboxProcess, tmp_path: Path) -> None:
    with _open(sandbox, schema_cache_path=str(tmp_path)) as first:
        kept = list(tmp_path.iterdir())
        assert len(kept) == 1
        assert json.loads(kept[0].read_bytes())["schemas"] == first.schemas


def test_timeout(sandbox: SandboxProcess) -> None:
    with _open(sandbox) as session:
        assert session.request_timeout == 60
    with _open(sandbox, timeout=7) as session:
        assert session.request_timeout == 7


def test_strict_api(sandbox: SandboxProcess) -> None:
    for strict in (False, True):
        with _open(sandbox, strict_api=strict) as session, pytest.raises(exception.ServerError) as caught:
            session.query("select nothing from Task").all()
        assert (caught.value.status == 200) is not strict
        assert "nothing" in str(caught.value.content)


def test_auto_connect_event_hub(sandbox: SandboxProcess) -> None:
    with _open(sandbox, auto_connect_event_hub=True) as session:
        assert session._auto_connect_event_hub_thread is not None
        assert session.event_hub.wait_until_connected(20)
        assert session.event_hub.connected
    assert not session.event_hub.connected


def test_event_hub(session: Session) -> None:
    assert isinstance(session.event_hub, EventHub)
    assert not session.event_hub.connected


def test_close(sandbox: SandboxProcess, task: Any) -> None:
    with _open(sandbox) as session:
        session.get("Task", task["id"])
    assert session._local_cache.keys() == []
    with pytest.raises(exception.ConnectionClosedError):
        session.query("Task").first()
    session.close()


def test_reset(session: Session, task: Any) -> None:
    topics: list[str] = []
    session.event_hub.subscribe("topic=ftrack.api.session.reset", lambda event: topics.append(event["topic"]))
    task["name"] = "pending"
    location = session.pick_location()
    assert location is not None
    session.reset()
    assert topics == ["ftrack.api.session.reset"]
    assert len(session.recorded_operations) == 0
    assert session.get("Task", task["id"]) is not task
    again = session.pick_location()
    assert again is not None
    assert again.accessor


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


# Requests of other kinds.


def test_reset_remote(session: Session, project: Any) -> None:
    user = session.create("User", {"username": unique("robot"), "is_active": True})
    session.commit()
    first = session.reset_remote("api_key", entity=user)["api_key"]
    assert first
    assert user.reset_api_key() != first
    with pytest.raises(exception.ServerError):
        session.reset_remote("coffee")


def test_get_widget_url(session: Session, project: Any) -> None:
    url = session.get_widget_url("tasks", entity=project, theme="light")
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.status == 200
    assert session.get_widget_url("tasks_browser").startswith("http")


def test_send_user_invites(session: Session, user: Any, calls: list[Any]) -> None:
    other = session.create("User", {"username": unique("invited"), "email": "a@b.example"})
    session.commit()
    calls.clear()
    session.send_user_invites([other, user])
    session.send_user_invite(other)
    other.send_invite()
    session.send_user_invites([])
    assert [len(batch) for batch in calls] == [2, 1, 1]
    assert calls[0][0] == {"action": "send_user_invite", "user_id": other["id"]}


def test_send_review_session_invites(session: Session, project: Any, calls: list[Any]) -> None:
    now = arrow.utcnow()
    review = session.create(
        "ReviewSession",
        {"name": "dailies", "project": project, "start_date": now, "end_date": now.shift(days=1)},
    )
    invitees = [
        session.create(
            "ReviewSessionInvitee", {"name": name, "email": f"{name}@b.example", "review_session": review}
        )
        for name in "ab"
    ]
    session.commit()
    calls.clear()
    session.send_review_session_invites(invitees)
    session.send_review_session_invite(invitees[0])
    session.send_review_session_invites([])
    assert [len(batch) for batch in calls] == [2, 1]


def test_an_action_that_the_server_does_not_know(session: Session) -> None:
    def call(data: Any) -> Any:
        raise exception.ServerError("Server reported error: ValueError(Invalid action u'get_widget_url')")

    session.call = call  # type: ignore[method-assign]
    with pytest.raises(exception.ServerCompatibilityError, match="get_widget_url"):
        session.get_widget_url("tasks")


def test_get_upload_metadata(session: Session) -> None:
    component = session.create("FileComponent", {"name": "plate", "file_type": ".txt"})
    session.commit()
    metadata = session.get_upload_metadata(component["id"], "plate.txt", 4)
    assert metadata["url"].startswith("http")
    assert isinstance(metadata["headers"], dict)


# Locations and components; room for every case is in the tests of storage.


def test_pick_location(session: Session) -> None:
    location = session.pick_location()
    assert location is not None
    assert location.accessor


def test_pick_locations(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("data")
    component = session.create_component(str(path), {"name": unique("c")}, location=None)
    session.commit()
    assert session.pick_locations([component]) == [None]
    location = session.get("Location", symbol.SERVER_LOCATION_ID)
    location.add_component(component, session.get("Location", symbol.ORIGIN_LOCATION_ID))
    assert session.pick_locations([component]) == [location]
    assert session.pick_location(component) is location


def test_create_component(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "plate.0001.exr"
    path.write_bytes(b"pixels")
    server = session.get("Location", symbol.SERVER_LOCATION_ID)
    component = session.create_component(str(path), location=server)
    assert component["size"] == 6
    assert component["file_type"] == ".exr"
    assert server.get_component_availability(component) == 100.0


def test_get_component_availability(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("data")
    server = session.get("Location", symbol.SERVER_LOCATION_ID)
    component = session.create_component(str(path), location=server)
    availability = session.get_component_availability(component)
    assert availability[server["id"]] == 100.0
    assert session.get_component_availability(component, locations=[server]) == {server["id"]: 100.0}
    assert component.get_availability([server]) == {server["id"]: 100.0}


def test_get_component_availabilities(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("data")
    server = session.get("Location", symbol.SERVER_LOCATION_ID)
    stored = session.create_component(str(path), location=server)
    nowhere = session.create("FileComponent", {"name": "nowhere"})
    session.commit()
    assert session.get_component_availabilities([stored, nowhere], locations=[server]) == [
        {server["id"]: 100.0},
        {server["id"]: 0.0},
    ]


def test_encode_media(session: Session, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "still.png"
    Image.new("RGB", (32, 16), "red").save(path)
    job = session.encode_media(str(path))
    assert job.entity_type == "Job"
    assert json.loads(job["data"])["output"]
    with pytest.raises(ValueError, match="Unable to encode"):
        session.encode_media(42)
