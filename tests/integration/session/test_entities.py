"""What entities of particular types can do, against the sandbox."""

import re
import warnings
from typing import Any

import arrow
import pytest

from ftrackd.api import exception, formatter, symbol
from ftrackd.api.session import Session

from .conftest import unique


def _second(session: Session) -> Session:
    """Return another session on the same server."""
    return Session(
        session.server_url, session.api_key, session.api_user, plugin_paths=[], schema_cache_path=False
    )


# Notes.


def test_when_a_note_is_written_then_it_has_author_recipients_and_labels(
    session: Session, task: Any, user: Any
) -> None:
    labels = session.query("NoteLabel").all()[:2]
    note = task.create_note("Please check", user, recipients=[user], labels=labels)
    session.commit()
    reply = note.create_reply("Done", user)
    session.commit()
    with _second(session) as other:
        notes = {entry["id"]: entry for entry in other.get("Task", task["id"])["notes"]}
        found = notes[note["id"]]
        assert (found["content"], found["author"]["id"]) == ("Please check", user["id"])
        assert [recipient["resource_id"] for recipient in found["recipients"]] == [user["id"]]
        assert {link["label_id"] for link in found["note_label_links"]} == {label["id"] for label in labels}
        assert [answer["id"] for answer in found["replies"]] == [reply["id"]]


def test_when_a_note_has_a_category_then_it_becomes_a_label(session: Session, task: Any, user: Any) -> None:
    category = session.query("NoteLabel").first()
    with pytest.raises(ValueError, match="Both category and labels"):
        task.create_note("x", user, category=category, labels=[category])
    with pytest.warns(PendingDeprecationWarning, match="labels"):
        note = task.create_note("x", user, category=category)
    session.commit()
    rows = session.query(f'NoteLabelLink where note_id is "{note["id"]}"').all()
    assert [row["label_id"] for row in rows] == [category["id"]]


# Timers.


def test_when_a_timer_runs_then_stopping_it_makes_a_timelog(session: Session, task: Any) -> None:
    robot = session.create("User", {"username": unique("worker")})
    session.commit()
    with pytest.raises(exception.NoResultFoundError):
        robot.stop_timer()
    timer = robot.start_timer(task, comment="anim", name="morning")
    assert timer["context"] is task
    with pytest.raises(exception.NotUniqueError):
        robot.start_timer(task)
    session.rollback()
    again = robot.start_timer(task, force=True)
    timelog = robot.stop_timer()
    assert timelog["context_id"] == task["id"]
    assert 0 <= timelog["duration"] < 60
    assert session.get("Timer", again["id"]) is None
    assert len(session.query(f'Timelog where user_id is "{robot["id"]}"')) == 2


# Jobs.


def test_when_a_job_is_made_then_its_type_is_the_one_for_clients(session: Session, user: Any) -> None:
    job = session.create("Job", {"user": user, "status": "running", "data": '{"description": "x"}'})
    session.commit()
    assert job["type"] == "api_job"
    job["status"] = "done"
    session.commit()
    assert session.query(f'Job where id is "{job["id"]}"').one()["status"] == "done"
    with pytest.raises(ValueError, match="api_job"):
        session.create("Job", {"type": "other"})


# Project schemas.


def test_when_a_schema_is_asked_for_statuses_then_they_fit_the_type(session: Session, project: Any) -> None:
    schema = project["project_schema"]
    statuses = schema.get_statuses("Task")
    assert statuses
    assert {status.entity_type for status in statuses} == {"Status"}
    assert all(status.entity_type == "Status" for status in schema.get_statuses("AssetVersion"))
    assert {status["id"] for status in schema.get_statuses("Shot")} <= {
        status["id"] for status in session.query("Status")
    }
    kinds = schema.get_types("Task")
    assert {kind.entity_type for kind in kinds} == {"Type"}
    assert schema.get_statuses("Task", kinds[0]["id"])
    for method in (schema.get_statuses, schema.get_types):
        with pytest.raises(ValueError, match="does not"):
            method("User")
        with pytest.raises(ValueError, match="does not exist"):
            method("Nothing")


# Metadata.


def test_when_metadata_is_changed_then_the_server_has_it(session: Session, task: Any) -> None:
    task["metadata"]["a"] = "1"
    task["metadata"].update({"b": "2", "c": "3"})
    session.commit()
    task["metadata"]["a"] = "changed"
    del task["metadata"]["b"]
    session.commit()
    with _second(session) as other:
        assert dict(other.get("Task", task["id"])["metadata"]) == {"a": "changed", "c": "3"}
    task["metadata"] = {"c": "4", 'quoted "key"': "5"}
    session.commit()
    assert dict(task["metadata"]) == {"c": "4", 'quoted "key"': "5"}
    with _second(session) as other:
        assert dict(other.get("Task", task["id"])["metadata"]) == {"c": "4", 'quoted "key"': "5"}


# Custom attributes.


@pytest.fixture
def custom_key(session: Session) -> str:
    """A new number attribute of every Shot."""
    object_type = session.query('ObjectType where name is "Shot"').one()
    kind = session.query('CustomAttributeType where name is "number"').one()
    key = unique("fstart")
    session.create(
        "CustomAttributeConfiguration",
        {
            "key": key,
            "label": key,
            "entity_type": "task",
            "object_type_id": object_type["id"],
            "type": kind,
            "default": 1001,
            "config": '{"isdecimal": false}',
            "is_hierarchical": False,
        },
    )
    session.commit()
    return key


def test_when_a_custom_attribute_is_set_then_the_server_has_it(
    session: Session, project: Any, custom_key: str
) -> None:
    shot = session.create("Shot", {"name": unique("sh"), "parent": project})
    session.commit()
    assert shot["custom_attributes"][custom_key] == 1001
    shot["custom_attributes"][custom_key] = 950
    session.commit()
    assert shot["custom_attributes"][custom_key] == 950
    with _second(session) as other:
        assert other.get("Shot", shot["id"])["custom_attributes"][custom_key] == 950
    with pytest.raises(KeyError):
        shot["custom_attributes"]["no_such_key"] = 1
    with pytest.raises(KeyError):
        shot["custom_attributes"]["no_such_key"]


def test_when_a_new_entity_gets_a_custom_attribute_then_one_commit_sends_both(
    session: Session, project: Any, custom_key: str, calls: list[Any]
) -> None:
    shot = session.create(
        "Shot", {"name": unique("sh"), "parent": project, "custom_attributes": {custom_key: 900}}
    )
    assert shot["custom_attributes"][custom_key] == 900
    calls.clear()
    session.commit()
    assert [request["action"] for request in calls[0]] == ["create", "update"]
    assert calls[0][1]["entity_type"] == "ContextCustomAttributeValue"
    assert list(calls[0][1]["entity_data"]) == ["__entity_type__", "value"]
    with _second(session) as other:
        assert other.get("Shot", shot["id"])["custom_attributes"][custom_key] == 900
    with pytest.raises(ValueError, match=f"no custom attribute 'no_such_key'; it has: .*{custom_key}"):
        session.create("Shot", {"name": "x", "parent": project, "custom_attributes": {"no_such_key": 1}})
    session.rollback()


def test_when_a_type_has_no_custom_attributes_then_it_says_so(session: Session, task: Any, user: Any) -> None:
    from ftrackd.api.entity import _custom_attribute

    with pytest.raises(ValueError, match="no custom attributes"):
        _custom_attribute.applicable(session.query("Status").first())
    assert isinstance(_custom_attribute.applicable(user), list)


# Reading many.


def test_when_a_hundred_tasks_are_read_through_then_a_handful_of_calls_is_made(
    session: Session, project: Any, calls: list[Any]
) -> None:
    for number in range(100):
        session.create("Task", {"name": f"task {number}", "parent": project})
    session.commit()
    with _second(session) as other:
        made: list[Any] = []
        original = other.call
        other.call = lambda data: made.append(data) or original(data)  # type: ignore[method-assign, func-returns-value]
        names = [
            task["status"]["name"] for task in other.query(f'Task where project_id is "{project["id"]}"')
        ]
        assert len(names) == 100
        assert len(made) <= 3
        made.clear()
        assert {
            task["parent"]["full_name"] for task in other.query(f'Task where project_id is "{project["id"]}"')
        } == {project["full_name"]}
        assert len(made) <= 4


def test_when_dates_come_from_the_server_then_they_are_arrow_dates(session: Session, task: Any) -> None:
    start = arrow.get("2026-02-03T04:05:06+02:00")
    task["start_date"] = start
    session.commit()
    assert task["start_date"] == start
    assert isinstance(task["start_date"], arrow.Arrow)
    task["start_date"] = None
    session.commit()
    assert task["start_date"] is None


def test_when_entities_are_used_in_sets_then_those_of_one_identity_are_one(
    session: Session, task: Any, project: Any
) -> None:
    found = set(session.query(f'Task where project_id is "{project["id"]}"').all())
    assert found == {task}
    assert session.query(f'Task where id is "{task["id"]}"').one() in found
    with _second(session) as other:
        assert other.get("Task", task["id"]) == task


def test_when_relations_are_changed_then_the_server_follows(session: Session, task: Any, user: Any) -> None:
    scope = session.create("Scope", {"name": unique("scope")})
    task["scopes"].append(scope)
    session.create("Appointment", {"context": task, "resource": user, "type": "assignment"})
    session.commit()
    with _second(session) as other:
        found = other.get("Task", task["id"])
        assert [entry["id"] for entry in found["scopes"]] == [scope["id"]]
        assert [entry["resource"]["username"] for entry in found["assignments"]] == [user["username"]]
    task["scopes"].remove(scope)
    session.commit()
    with _second(session) as other:
        assert list(other.get("Task", task["id"])["scopes"]) == []


# Text for people.


def test_when_an_entity_is_formatted_then_names_and_values_are_told(
    session: Session, task: Any, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    task.create_note("hello", user)
    session.commit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = formatter.format(task)
    lines = text.split("\n")
    assert lines[0] == "Task"
    assert f" name: {task['name']}" in lines
    assert " notes: Collection(1)" in lines
    assert " parent: Project" in lines
    assert f"          name: {task['parent']['name']}" in lines
    own = [line for line in lines[1:] if re.match(" [^ ]", line)]
    assert own == sorted(own)
    plain = {"header": lambda text: f"[{text}]", "label": lambda text: f"<{text}>"}
    brief = formatter.format(
        next(iter(task["notes"])),
        formatters=plain,
        attribute_filter=lambda entity, name, value: name in {"content", "author", "username", "replies"},
        recursive=True,
        indent=2,
    )
    assert brief.split("\n")[0] == "  [Note]"
    assert "<content>: hello" in brief
    assert f"<username>: {user['username']}" in brief
    only_header = formatter.format(user, formatters={"header": str.upper})
    assert only_header.split("\n")[0] == "USER"
    assert f" username: {user['username']}" in only_header.split("\n")


def test_when_entities_refer_to_each_other_then_formatting_ends(session: Session, task: Any) -> None:
    text = formatter.format(
        task["parent"],
        attribute_filter=lambda entity, name, value: (
            name in {"children", "parent", "name"} and formatter.FILTER["ignore_unset"](entity, name, value)
        ),
        recursive=True,
    )
    assert "Project{...}" in text


def test_when_colours_are_forced_then_they_are_there(
    session: Session, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("ANSI_COLORS_DISABLED", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    only_name = {"attribute_filter": lambda entity, name, value: name == "username"}
    assert "\033[" in formatter.format(user, **only_name)
    monkeypatch.setenv("ANSI_COLORS_DISABLED", "1")
    assert "\033[" not in formatter.format(user, **only_name)


# Freshness, with a real event.


def test_when_somebody_else_changes_an_entity_then_its_event_expires_it(session: Session, task: Any) -> None:
    received: list[Any] = []
    session.event_hub.subscribe("topic=ftrack.update", received.append)
    session.event_hub.connect()
    status = next(status for status in session.query("Status") if status["id"] != task["status_id"])
    with _second(session) as other:
        changed = other.get("Task", task["id"])
        changed["status_id"] = status["id"]
        changed["name"] = "renamed elsewhere"
        other.commit()
    for _ in range(100):
        session.event_hub.wait(0.1)
        if any(
            change.get("entityId") == task["id"] and "statusid" in (change.get("keys") or ())
            for event in received
            for change in event["data"]["entities"]
        ):
            break
    assert task["name"] != "renamed elsewhere"
    assert sum(session.expire_changes(event) for event in received) >= 1
    assert task["name"] == "renamed elsewhere"
    assert task["status"]["id"] == status["id"]
    session.event_hub.disconnect()


def test_when_a_value_is_none_then_it_is_a_value(session: Session, task: Any) -> None:
    task["description"] = None
    session.commit()
    assert task["description"] is None
    assert task["description"] is not symbol.NOT_SET
