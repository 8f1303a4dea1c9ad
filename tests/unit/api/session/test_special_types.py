"""Types whose classes or attributes do more than hold rows."""

import copy
from typing import Any

import pytest

from ftrackd.api import attribute
from ftrackd.api.session import Session

from .canned_server import CannedServer, echo, rows, schemas


def test_when_a_class_has_its_own_constructor_then_its_rows_are_whole(
    session: Session, server: CannedServer
) -> None:
    """Locations and jobs prepare their objects; what is nested in them are entities too."""
    nested = [{"__entity_type__": "ComponentLocation", "id": "cl", "resource_identifier": "a/b"}]
    server.answer = lambda request: rows("Location", {"id": "l", "name": "n", "location_components": nested})
    location = session.query("Location").first()
    assert location.priority == 95
    assert location["location_components"][0]["resource_identifier"] == "a/b"
    nested = [{"__entity_type__": "JobComponent", "job_id": "j", "component_id": "c"}]
    row = {
        "id": "j",
        "user": {"__entity_type__": "User", "id": "u", "username": "jane"},
        "job_components": nested,
    }
    server.answer = lambda request: rows("Job", row)
    job = session.query("Job").first()
    assert job["user"]["username"] == "jane"
    assert job["job_components"][0]["component_id"] == "c"


class Rounded(attribute.ScalarAttribute):
    """Keeps whole numbers, however they come and go."""

    def set_remote_value(self, entity: Any, value: Any) -> None:
        super().set_remote_value(entity, round(value))

    def get_value(self, entity: Any) -> Any:
        return super().get_value(entity) * 10


def test_when_an_attribute_is_made_by_a_plugin_then_its_methods_are_asked(
    session: Session, server: CannedServer
) -> None:
    made = session.types["Task"]
    made.attributes.remove(made.attributes.get("sort"))
    made.attributes.add(Rounded("sort", data_type="number"))
    server.answer = lambda request: rows("Task", {"id": "t", "sort": 2.4})
    task = session.query("Task").first()
    assert task.attributes.get("sort").get_remote_value(task) == 2
    assert task["sort"] == 20
    assert task["id"] == "t"
    created = session.create("Task", {"sort": 7})
    assert created["sort"] == 70


# Servers of old, which keep a row only for custom attributes that were set.

_CONFIGURATIONS = [
    {"id": "c1", "key": "fstart", "entity_type": "task", "default": 1001, "is_hierarchical": False},
    {"id": "c2", "key": "grade", "entity_type": "show", "default": "a", "is_hierarchical": True},
    {"id": "c3", "key": "other", "entity_type": "user", "default": 0, "is_hierarchical": False},
    {
        "id": "c4",
        "key": "elsewhere",
        "entity_type": "task",
        "default": 0,
        "is_hierarchical": False,
        "project_id": "x",
    },
]


@pytest.fixture
def legacy_task(server: CannedServer) -> Any:
    changed = copy.deepcopy(schemas())
    for schema in changed:
        if schema["id"] == "Task":
            schema["properties"]["custom_attributes"]["items"]["$ref"] = "CustomAttributeValue"
    server.schemas = lambda: changed
    object_type_id = next(
        schema["properties"]["object_type_id"]["default"] for schema in changed if schema["id"] == "Task"
    )

    def answer(request: dict[str, Any]) -> Any:
        if request["action"] != "query":
            return echo(request)
        if "CustomAttributeConfiguration" in request["expression"]:
            return rows(
                "CustomAttributeConfiguration",
                *({"object_type_id": object_type_id, "project_id": None, **row} for row in _CONFIGURATIONS),
            )
        value = {
            "__entity_type__": "CustomAttributeValue",
            "configuration_id": "c1",
            "entity_id": "t",
            "value": 950,
        }
        row = {"id": "t", "object_type_id": object_type_id, "project_id": "p", "custom_attributes": [value]}
        return rows("Task", row)

    server.answer = answer
    with Session(server.url, "key", "jane", plugin_paths=[], schema_cache_path=False) as session:
        yield session.query("Task").first()
        session.rollback()


def test_when_custom_attributes_are_sparse_then_missing_ones_have_defaults(legacy_task: Any) -> None:
    assert dict(legacy_task["custom_attributes"]) == {"fstart": 950, "grade": "a"}
    assert legacy_task["custom_attributes"].keys() == ["fstart", "grade"]
    assert len(legacy_task["custom_attributes"]) == 2
    assert legacy_task["custom_attributes"].get_configuration_id_from_key("grade") == "c2"
    for key in ("other", "elsewhere"):
        with pytest.raises(KeyError):
            legacy_task["custom_attributes"][key]
        with pytest.raises(KeyError):
            legacy_task["custom_attributes"].get_configuration_id_from_key(key)


def test_when_sparse_custom_attributes_are_set_then_rows_are_made(
    legacy_task: Any, server: CannedServer
) -> None:
    server.calls.clear()
    legacy_task["custom_attributes"]["fstart"] = 1
    legacy_task["custom_attributes"]["grade"] = "b"
    assert dict(legacy_task["custom_attributes"]) == {"fstart": 1, "grade": "b"}
    legacy_task.session.commit()
    sent = [(request["action"], request["entity_type"]) for request in server.calls[-1]]
    assert sent == [
        ("update", "CustomAttributeValue"),
        ("create", "CustomAttributeValue"),
        ("update", "Task"),
    ]
    assert server.calls[-1][1]["entity_data"]["configuration_id"] == "c2"


def test_when_a_sparse_custom_attribute_is_deleted_then_its_row_goes(legacy_task: Any) -> None:
    del legacy_task["custom_attributes"]["fstart"]
    assert legacy_task["custom_attributes"]["fstart"] == 1001
    assert [entity.entity_type for entity in legacy_task.session.deleted] == ["CustomAttributeValue"]
    with pytest.raises(KeyError):
        del legacy_task["custom_attributes"]["grade"]


def test_when_sparse_custom_attributes_are_assigned_then_keys_are_set(legacy_task: Any) -> None:
    legacy_task["custom_attributes"] = {"grade": "c"}
    assert dict(legacy_task["custom_attributes"]) == {"fstart": 950, "grade": "c"}
    legacy_task["custom_attributes"] = None
    assert dict(legacy_task["custom_attributes"]) == {"fstart": 1001, "grade": "a"}
