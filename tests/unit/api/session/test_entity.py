import copy
import pickle
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from ftrackd.api import exception, inspection, mixin, operation, symbol
from ftrackd.api.entity.base import Entity
from ftrackd.api.session import Session

from .canned_server import CannedServer, rows


@pytest.fixture
def task(server: CannedServer, session: Session) -> Any:
    server.answer = lambda request: rows(
        "Task",
        {
            "id": "t1",
            "name": "anim",
            "context_type": "task",
            "bid": 2.5,
            "description": None,
            "created_at": {"__type__": "datetime", "value": "2026-01-02T03:04:05"},
            "link": [{"id": "p1", "type": "Project", "name": "show"}],
            "status": {"__entity_type__": "Status", "id": "s1", "name": "Ready"},
            "unheard_of": 1,
        },
    )
    found = session.query("select name from Task").one()
    server.answer = lambda request: rows("Task")
    server.calls.clear()
    return found


def test_when_loaded_values_are_read_then_no_call_is_made(task: Any, server: CannedServer) -> None:
    assert task["name"] == "anim"
    assert task["description"] is None
    assert task["created_at"].isoformat() == "2026-01-02T03:04:05+00:00"
    assert task["created_at"] is task["created_at"]
    assert task["created_at"].shift(days=1).format("DD") == "03"
    assert task["link"][0]["name"] == "show"
    assert task["link"] is task["link"]
    assert task["status"]["name"] == "Ready"
    assert task["status"] is task["status"]
    assert server.calls == []


def test_when_an_attribute_is_unknown_then_it_is_a_key_error_everywhere(task: Any) -> None:
    for use in (
        lambda: task["unheard_of"],
        lambda: task.__setitem__("unheard_of", 1),
        lambda: task.__delitem__("unheard_of"),
    ):
        with pytest.raises(KeyError, match="unheard_of"):
            use()
    assert "unheard_of" not in task
    assert "name" in task
    assert 3 not in task
    assert task.get("unheard_of", "default") == "default"


def test_when_an_attribute_is_asked_for_by_name_then_membership_makes_no_call(
    task: Any, server: CannedServer
) -> None:
    assert "sort" in task
    assert server.calls == []


def test_when_a_value_is_set_then_the_local_one_is_read_and_recorded(task: Any, session: Session) -> None:
    task["name"] = "comp"
    task["name"] = "comp"
    assert task["name"] == "comp"
    attribute = task.attributes.get("name")
    assert attribute.get_remote_value(task) == "anim"
    assert attribute.is_modified(task)
    assert dict(attribute.get_entity_storage(task)) == {"local": "comp", "remote": "anim"}
    recorded = list(session.recorded_operations)
    assert [(change.old_value, change.new_value) for change in recorded] == [
        (symbol.NOT_SET, "comp"),
        ("comp", "comp"),
    ]
    del task["name"]
    assert task["name"] == "anim"


def test_when_the_same_value_is_set_then_it_is_an_operation_all_the_same(task: Any, session: Session) -> None:
    task["name"] = task["name"]
    assert len(session.recorded_operations) == 1


def test_when_an_immutable_attribute_is_set_again_then_it_is_refused(task: Any, session: Session) -> None:
    with pytest.raises(exception.ImmutableAttributeError, match='immutable "id"'):
        task["id"] = "other"
    made = session.create("Task", {"id": "mine"})
    assert made["id"] == "mine"
    with pytest.raises(exception.ImmutableAttributeError):
        made["id"] = "other"


def test_when_recording_is_off_then_values_change_and_nothing_is_recorded(
    task: Any, session: Session
) -> None:
    with session.operation_recording(False):
        task["name"] = "comp"
        session.delete(task)
    assert task["name"] == "comp"
    assert len(session.recorded_operations) == 0
    assert session.record_operations is True


def test_when_populating_is_off_then_missing_values_stay_unset(
    task: Any, session: Session, server: CannedServer
) -> None:
    with session.auto_populating(False):
        assert task["sort"] is symbol.NOT_SET
        assert session.auto_populate is False
    assert session.auto_populate is True
    assert server.calls == []


def test_when_the_server_does_not_give_a_value_then_it_is_asked_again(
    task: Any, server: CannedServer
) -> None:
    assert task["sort"] is symbol.NOT_SET
    assert task["sort"] is symbol.NOT_SET
    assert len(server.calls) == 2


def test_when_all_values_are_read_then_one_call_loads_them(task: Any, server: CannedServer) -> None:
    """The official client makes 27 calls for one Task."""
    items = dict(task.items())
    assert items["name"] == "anim"
    assert task.items()[:1] == [(next(iter(task)), task.values()[0])]
    assert list(task) == list(task.keys()) == task.attributes.keys()
    assert len(task) == len(items)
    assert "status.id" not in server.expressions[0]
    assert "parent.context_type" in server.expressions[0]


def test_when_entities_are_compared_then_type_and_key_count(task: Any, session: Session) -> None:
    other = session.types["Task"](session, {"id": "t1"}, reconstructing=True)
    assert task == other
    assert hash(task) == hash(other)
    assert {task, other} == {task}
    assert task != session.types["Status"](session, {"id": "t1"}, reconstructing=True)
    assert task != None  # noqa: E711 - the comparison is what is tested
    assert task != "t1"
    assert task != session.types["Task"](session, reconstructing=True)
    assert bool(task)


def test_when_an_entity_is_shown_then_type_and_key_are_named(task: Any, session: Session) -> None:
    assert str(task) == "<Task(t1)>"
    assert repr(task).startswith("<dynamic ftrack Task object ")
    assert repr(type(task)) == "<dynamic ftrack class 'Task'>"
    assert str(session.types["Task"](session, reconstructing=True)) == "<Task(NOT_SET)>"
    assert task.logger.name == "ftrack_api.entity.base.Task"


def test_when_an_entity_is_copied_then_values_are_shared(task: Any, session: Session) -> None:
    task.note = "from Python"
    duplicate = copy.copy(task)
    duplicate["name"] = "comp"
    assert task["name"] == "comp"
    assert duplicate.note == "from Python"
    session.rollback()
    assert duplicate["name"] == "anim"
    task["name"] = "again"
    assert (duplicate["name"], session.modified) == ("again", [task])


@pytest.mark.parametrize("carry", [copy.deepcopy, pickle.dumps])
def test_when_an_entity_is_to_leave_its_session_then_the_error_says_what_to_do(
    task: Any, session: Session, carry: Callable[[Any], Any]
) -> None:
    with pytest.raises(TypeError, match=r"<Task\(t1\)> belongs to a session"):
        carry({"entity": task})
    with pytest.raises(TypeError, match="make another one"):
        carry(session)


def test_when_local_values_are_cleared_then_remote_ones_show(task: Any) -> None:
    task["name"] = "comp"
    task["description"] = "new"
    task.clear()
    assert (task["name"], task["description"]) == ("anim", None)


def test_when_another_object_is_merged_then_changes_are_told(task: Any, session: Session) -> None:
    other = session.types["Task"](session, {"id": "t1", "name": "lighting", "bid": 2.5}, reconstructing=True)
    assert task.merge(other) == [
        {"type": "remote_attribute", "name": "name", "old_value": "anim", "new_value": "lighting"}
    ]
    assert task["name"] == "lighting"


def test_when_an_entity_is_made_then_defaults_of_its_schema_are_set(
    session: Session, server: CannedServer
) -> None:
    task = session.create("Task", {"name": "x"})
    assert task["object_type_id"] == session.types["Task"].attributes.get("object_type_id").default_value
    assert len(task["id"]) == 36
    assert task["id"] != session.create("Task")["id"]
    assert task["description"] is symbol.NOT_SET
    assert list(task["scopes"]) == []
    assert server.calls == []
    assert inspection.state(task) is symbol.CREATED


def test_when_relations_are_given_then_they_are_recorded_after_the_creation(
    session: Session, task: Any
) -> None:
    made = session.create("Task", {"name": "x", "status": task["status"], "metadata": {"a": "1"}})
    kinds = [(type(recorded).__name__, recorded.entity_type) for recorded in session.recorded_operations]
    assert kinds[0] == ("CreateEntityOperation", "Task")
    assert ("CreateEntityOperation", "Metadata") in kinds
    assert made["status"] is task["status"]
    created = next(iter(session.recorded_operations))
    assert isinstance(created, operation.CreateEntityOperation)
    assert "status" not in created.entity_data


def test_when_data_is_given_then_it_is_not_changed(session: Session) -> None:
    data = {"name": "x", "metadata": {"a": "1"}}
    session.create("Task", data)
    assert data == {"name": "x", "metadata": {"a": "1"}}


def test_when_data_names_an_unknown_attribute_then_a_warning_names_its_neighbours(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    task = session.create("Task", {"nmae": "x"})
    assert "'nmae'" in caplog.text
    assert "Did you mean 'name'" in caplog.text
    assert task["name"] == ""


def test_when_a_type_is_unknown_then_create_and_get_say_so(session: Session) -> None:
    with pytest.raises(exception.UnrecognisedEntityTypeError, match="Shto"):
        session.create("Shto")
    with pytest.raises(KeyError):
        session.get("Shto", "1")


def test_when_a_job_has_a_type_of_its_own_then_it_is_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="api_job"):
        session.create("Job", {"type": "render"})
    assert session.create("Job")["type"] == "api_job"


def test_when_entities_are_made_then_each_has_a_random_uuid(session: Session) -> None:
    keys = [session.create("Task", {"name": "anim"})["id"] for _ in range(50)]
    identifiers = [uuid.UUID(key) for key in keys]
    assert [str(identifier) for identifier in identifiers] == keys
    assert {(identifier.version, identifier.variant) for identifier in identifiers} == {(4, uuid.RFC_4122)}
    assert len(set(keys)) == len(keys)


def test_when_a_default_is_declined_then_the_new_entity_has_no_such_value(session: Session) -> None:
    made = session.create("Task", {"name": symbol.NOT_SET})
    (recorded,) = session.recorded_operations
    assert "name" not in recorded.entity_data
    assert made._local_value("name") is symbol.NOT_SET


def test_when_an_object_gets_a_mixin_then_its_values_and_identity_stay(task: Any, session: Session) -> None:
    class Loud:
        def shout(self: Any) -> str:
            return str(self["name"]).upper()

    mixin(task, Loud, name="LoudTask")
    mixin(task, Loud)
    assert task.shout() == "ANIM"
    assert type(task).__name__ == "LoudTask"
    assert isinstance(task, session.types["Task"])
    assert task is session.get("Task", "t1")
    assert (task.entity_type, str(task)) == ("Task", "<LoudTask(t1)>")

    class Plain:
        pass

    plain = Plain()
    mixin(plain, Loud)
    mixin(plain, Loud)
    assert len(type(plain).__mro__) == 4


def test_when_states_are_asked_for_then_each_entity_gets_one(task: Any, session: Session) -> None:
    assert inspection.states([task, task]) == [symbol.NOT_SET, symbol.NOT_SET]
    task["name"] = "x"
    made = session.create("Task")
    made["name"] = "y"
    session.delete(made)
    gone = session.create("Task")
    assert inspection.states([task, made, gone]) == [symbol.MODIFIED, symbol.DELETED, symbol.CREATED]
    assert (session.modified, session.deleted, session.created) == ([task], [made], [gone])


def test_when_a_key_is_missing_then_identity_says_which(session: Session) -> None:
    nameless = session.types["Metadata"](session, {"key": "a"}, reconstructing=True)
    with pytest.raises(KeyError, match="parent_id"):
        inspection.identity(nameless)
    whole = session.types["Metadata"](session, {"key": "a", "parent_id": "p"}, reconstructing=True)
    assert inspection.identity(whole) == ("Metadata", ["p", "a"])
    assert list(inspection.primary_key(whole).items()) == [("parent_id", "p"), ("key", "a")]


def test_when_the_storage_is_looked_into_then_it_shows_and_takes_values(task: Any) -> None:
    storage = task._ftrack_attribute_storage["name"]
    storage["local"] = "comp"
    storage["remote"] = "from elsewhere"
    assert task["name"] == "comp"
    del storage["local"]
    assert task["name"] == "from elsewhere"
    with pytest.raises(KeyError):
        storage["other"]
    with pytest.raises(KeyError):
        storage["other"] = 1
    assert len(storage) == 2


def test_when_a_reference_is_set_then_its_id_is_left_alone(task: Any, session: Session) -> None:
    other = session.create("Status", {"id": "s2"}, reconstructing=True)
    reference = task.attributes.get("status")
    assert not reference.is_modified(task)
    task["status"] = other
    assert task["status"] is other
    assert reference.is_modified(task)
    task["status"] = None
    assert task["status"] is None
    assert isinstance(other, Entity)


def test_when_a_reference_is_an_entity_of_another_session_then_it_becomes_one_of_this(
    task: Any, session: Session, server: CannedServer
) -> None:
    """A thread with a session of its own is handed entities; what is read from them must be its own too."""
    with Session(server.url, "key", "jane", plugin_paths=[], schema_cache_path=False) as other:
        foreign = other.create("Status", {"id": "s1", "name": "Ready"}, reconstructing=True)
        task["status"] = foreign
        made = session.create("Task", {"status": foreign})
    for status in (task["status"], made["status"]):
        assert (status, status.session, status["name"]) == (foreign, session, "Ready")
        assert status is session.get("Status", "s1")
