"""Custom attributes: one value, two views, inheritance."""

import pytest
import sqlalchemy as sa

from ftrackd.sandbox import json_text
from ftrackd.sandbox.errors import EntityNotFoundError, IntegrityError, ValidationError
from ftrackd.sandbox.seeds.ids import seed_id
from ftrackd.sandbox.seeds.installation import CUSTOM_ATTRIBUTE_TYPE_IDS, OBJECT_TYPE_IDS

from .wire import moment, reference

HTEST = seed_id("CustomAttributeConfiguration", "show", "", "htest")
NUMBER = seed_id("CustomAttributeConfiguration", "task", "Task", "customNumber")


def dense(world, view, entity_id):
    """Effective values by key, as ``<view>CustomAttributeValue`` shows them."""
    source = world.store.schema[f"{view}CustomAttributeValue"].table
    with world.store.reader() as connection:
        rows = connection.execute(
            sa.select(source.c.key, source.c.value).where(source.c.entity_id == entity_id)
        )
        return {key: json_text.decode(value) if value is not None else None for key, value in rows}


def configure(world, key, type_name, **more):
    values = {"key": key, "type_id": CUSTOM_ATTRIBUTE_TYPE_IDS[type_name], "entity_type": "task"}
    if more.get("entity_type", "task") == "task" and not more.get("is_hierarchical"):
        values["object_type_id"] = OBJECT_TYPE_IDS["Task"]
    return world.create("CustomAttributeConfiguration", **{**values, **more})


def test_when_nothing_was_set_then_every_entity_has_the_default(world):
    assert dense(world, "Context", world.task) == {"customNumber": 0, "htest": ""}
    assert dense(world, "Context", world.shot) == {"fstart": 1, "htest": ""}
    assert dense(world, "Context", world.project) == {"htest": ""}
    assert dense(world, "User", world.user) == {"teststring": ""}
    made = world.create("TypedContextList", name="l", project_id=world.project)
    assert dense(world, "List", made) == {"listbool": False}
    asset = world.create("Asset", name="a", context_id=world.shot)
    assert dense(world, "Asset", asset) == {"htest": ""}
    version = world.create("AssetVersion", asset_id=asset)
    assert dense(world, "AssetVersion", version) == {"NumberField": 0, "versiontest": "", "htest": ""}


def test_when_a_value_is_set_through_either_view_then_both_show_it(world):
    world.update("ContextCustomAttributeValue", [NUMBER, world.task], value=1001)
    assert world.row("CustomAttributeValue", NUMBER, world.task)["value"] == "1001"
    world.update("CustomAttributeValue", [NUMBER, world.task], value=1002)
    assert dense(world, "Context", world.task)["customNumber"] == 1002
    world.delete("CustomAttributeValue", [NUMBER, world.task])
    assert dense(world, "Context", world.task)["customNumber"] == 0
    world.create("CustomAttributeValue", configuration_id=NUMBER, entity_id=world.task, value=7)
    world.create("CustomAttributeValue", configuration_id=NUMBER, entity_id=world.task, value=8)
    assert dense(world, "Context", world.task)["customNumber"] == 8


def test_when_a_hierarchical_value_is_set_then_everything_below_inherits_it(world):
    asset = world.create("Asset", name="a", context_id=world.shot)
    version = world.create("AssetVersion", asset_id=asset)
    world.update("ContextCustomAttributeValue", [HTEST, world.project], value="project")
    for view, entity_id in [
        ("Context", world.task), ("Context", world.shot), ("Asset", asset), ("AssetVersion", version),
    ]:  # fmt: skip
        assert dense(world, view, entity_id)["htest"] == "project"
    world.update("ContextCustomAttributeValue", [HTEST, world.shot], value="shot")
    world.update("AssetCustomAttributeValue", [HTEST, asset], value="asset")
    assert dense(world, "Context", world.project)["htest"] == "project"
    assert dense(world, "Context", world.task)["htest"] == "shot"
    assert dense(world, "AssetVersion", version)["htest"] == "asset"
    assert [row.entity_id for row in world.rows("SELECT entity_id FROM custom_attribute_value")] != []


@pytest.mark.parametrize("way", ["delete", "null"])
def test_when_a_hierarchical_value_is_taken_back_then_inheritance_resumes(world, way):
    world.update("CustomAttributeValue", [HTEST, world.project], value="project")
    world.update("CustomAttributeValue", [HTEST, world.task], value="task")
    if way == "delete":
        world.delete("CustomAttributeValue", [HTEST, world.task])
    else:
        world.update("CustomAttributeValue", [HTEST, world.task], value=None)
    assert dense(world, "Context", world.task)["htest"] == "project"
    assert world.change("task").values["htest"] == {"old": "task", "new": None}


def test_when_a_project_has_its_own_configuration_then_it_hides_the_global_one(world):
    other = world.create("Project", name="other")
    own = configure(world, "customNumber", "number", default=5, project_id=world.project)
    assert dense(world, "Context", world.task)["customNumber"] == 5
    elsewhere = world.create("Task", name="t", parent_id=other)
    assert dense(world, "Context", elsewhere)["customNumber"] == 0
    world.update("ContextCustomAttributeValue", [own, world.task], value=6)
    with pytest.raises(ValidationError, match="does not apply"):
        world.update("ContextCustomAttributeValue", [own, elsewhere], value=6)


@pytest.mark.parametrize(
    ("type_name", "sent", "stored", "text"),
    [
        ("text", "x", "x", "x"),
        ("text", 5, "5", "5"),
        ("boolean", "true", True, "1"),
        ("boolean", 0, False, "0"),
        ("number", "1001", 1001, "1001"),
        ("number", 1.5, 1.5, "1.5"),
        ("number", "", None, None),
        ("date", moment("2024-10-30T00:00:00+02:00"),
         {"__type__": "datetime", "value": "2024-10-29T22:00:00"}, "2024-10-29T22:00:00"),
        ("date", "2024-10-30",
         {"__type__": "datetime", "value": "2024-10-30T00:00:00"}, "2024-10-30T00:00:00"),
        ("enumerator", ["a", "b"], ["a", "b"], "a, b"),
        ("enumerator", "a", ["a"], "a"),
        ("url", "http://x", "http://x", "http://x"),
    ],
)  # fmt: skip
def test_when_a_value_is_set_then_it_has_the_type_of_its_configuration(world, type_name, sent, stored, text):
    configuration = configure(world, "attribute", type_name)
    world.update("ContextCustomAttributeValue", [configuration, world.task], value=sent)
    assert dense(world, "Context", world.task)["attribute"] == stored
    if world.changes:
        assert world.change("task").values["attribute"]["new"] == text
    else:
        assert text in (None, "0")


@pytest.mark.parametrize(
    ("type_name", "sent"),
    [("number", "many"), ("boolean", "perhaps"), ("date", "soon"), ("enumerator", 5), ("number", ["1"])],
)
def test_when_a_value_has_the_wrong_type_then_the_error_names_the_attribute(world, type_name, sent):
    configuration = configure(world, "attribute", type_name)
    with pytest.raises(ValidationError, match="'attribute' cannot be"):
        world.update("ContextCustomAttributeValue", [configuration, world.task], value=sent)


def test_when_a_default_is_an_empty_text_then_it_is_the_empty_value_of_the_type(world):
    for type_name, expected in [("number", None), ("boolean", False), ("enumerator", []), ("text", "")]:
        configure(world, f"of_{type_name}", type_name, default="")
        assert dense(world, "Context", world.task)[f"of_{type_name}"] == expected


def test_when_a_configuration_is_deleted_then_its_values_go_too(world):
    world.update("ContextCustomAttributeValue", [NUMBER, world.task], value=1)
    world.delete("CustomAttributeConfiguration", NUMBER)
    assert "customNumber" not in dense(world, "Context", world.task)
    assert world.rows("SELECT 1 FROM custom_attribute_value") == []


def test_when_something_is_missing_then_the_error_says_what(world):
    with pytest.raises(IntegrityError, match="no CustomAttributeConfiguration nothing"):
        world.update("CustomAttributeValue", ["nothing", world.task], value=1)
    with pytest.raises(IntegrityError, match="does not exist"):
        world.update("CustomAttributeValue", [NUMBER, "nothing"], value=1)
    with pytest.raises(EntityNotFoundError):
        world.delete("CustomAttributeValue", [NUMBER, world.task])
    with pytest.raises(ValidationError, match="does not apply to Shot"):
        world.update("CustomAttributeValue", [NUMBER, world.shot], value=1)
    with pytest.raises(ValidationError, match="without configuration_id"):
        world.create("CustomAttributeValue", value=1)


def test_when_values_are_sent_with_the_collection_then_they_are_taken(world):
    member = {
        "__entity_type__": "ContextCustomAttributeValue",
        "configuration_id": NUMBER,
        "entity_id": world.task,
    }
    world.update("Task", world.task, custom_attributes=[member])
    assert dense(world, "Context", world.task)["customNumber"] == 0
    world.update("Task", world.task, custom_attributes=[{**member, "value": 3}])
    assert dense(world, "Context", world.task)["customNumber"] == 3


def test_when_entities_are_linked_then_each_end_knows_its_kind(world):
    configuration = world.create(
        "CustomAttributeLinkConfiguration",
        key="supervisor",
        entity_type="task",
        entity_type_to="user",
        config="{}",
    )
    link = world.create(
        "CustomAttributeLink",
        configuration=reference("CustomAttributeLinkConfiguration", configuration),
        from_id=world.task,
        to_id=world.user,
    )
    (row,) = world.rows("SELECT from_kind, to_kind, from_entity_type FROM custom_attribute_link")
    assert tuple(row) == ("context", "user", "Task")
    assert world.row("UserCustomAttributeLink", link) is not None
    assert world.row("ContextCustomAttributeLinkFrom", link) is not None
    assert world.row("ContextCustomAttributeLink", link) is None
    assert world.changes[0].entity_type == "UserCustomAttributeLink"


def test_when_an_update_has_no_value_then_the_value_stays(world):
    world.update("CustomAttributeValue", [NUMBER, world.task], value=3)
    world.update("CustomAttributeValue", [NUMBER, world.task])
    assert dense(world, "Context", world.task)["customNumber"] == 3


def test_when_a_configuration_no_longer_applies_then_its_values_can_still_be_taken_back(world):
    world.update("CustomAttributeValue", [NUMBER, world.task], value=3)
    world.update("CustomAttributeConfiguration", NUMBER, object_type_id=OBJECT_TYPE_IDS["Shot"])
    assert "customNumber" not in dense(world, "Context", world.task)
    assert dense(world, "Context", world.shot)["customNumber"] == 0
    world.delete("CustomAttributeValue", [NUMBER, world.task])
    assert world.row("CustomAttributeValue", NUMBER, world.task) is None


def test_when_a_configuration_changes_in_a_batch_then_later_operations_follow_it(world):
    with world.store.transaction(world.actor) as transaction:
        transaction.update("ContextCustomAttributeValue", [NUMBER, world.task], {"value": 1})
        text = CUSTOM_ATTRIBUTE_TYPE_IDS["text"]
        transaction.update("CustomAttributeConfiguration", NUMBER, {"type_id": text, "default": "none"})
        transaction.update("ContextCustomAttributeValue", [NUMBER, world.task], {"value": "one"})
    assert dense(world, "Context", world.task)["customNumber"] == "one"
