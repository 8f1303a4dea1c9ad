"""What the Session's specification says of its settings, against the sandbox over HTTP.

`docs/session.md` maps each member to its test here or elsewhere; `test_documentation.py` keeps the two equal.
"""

import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from ftrackd.api import cache, exception, symbol
from ftrackd.api.event.hub import EventHub
from ftrackd.api.session import (
    AutoPopulatingContext,
    OperationPayload,
    OperationRecordingContext,
    Session,
    SessionAuthentication,
)
from ftrackd.testing.sandbox import SandboxProcess


def _open(sandbox: SandboxProcess, **options: Any) -> Session:
    options = {"plugin_paths": [], "schema_cache_path": False, **options}
    return Session(sandbox.url, sandbox.api_key, sandbox.api_user, **options)


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
