"""What ``ftrack.update`` announces: each expectation of consumers is a test here."""

import json

import pytest

from ftrackd.sandbox.seeds import installation
from ftrackd.sandbox.store import event_data

from .wire import reference


def test_when_a_status_changes_then_the_row_is_the_documented_one(world):
    world.update("Task", world.task, status_id=installation.APPROVED)
    assert [change.to_payload() for change in world.changes] == [
        {
            "entity_type": "Task",
            "entityType": "task",
            "entityId": world.task,
            "objectTypeId": installation.OBJECT_TYPE_IDS["Task"],
            "action": "update",
            "parentId": world.shot,
            "keys": ["statusid"],
            "changes": {"statusid": {"old": installation.NOT_STARTED, "new": installation.APPROVED}},
            "parents": [
                {"entityId": world.task, "entityType": "task", "entity_type": "Task", "parentId": world.shot},
                {
                    "entityId": world.shot,
                    "entityType": "task",
                    "entity_type": "Shot",
                    "parentId": world.project,
                },
                {
                    "entityId": world.project,
                    "entityType": "show",
                    "entity_type": "Project",
                    "parentId": None,
                },
            ],
        }
    ]


def test_when_a_task_is_added_then_every_column_is_a_key(world):
    world.create("Task", name="t", parent_id=world.shot, start_date="2024-10-29T22:00:00")
    change = world.change("task")
    assert change.action == "add"
    assert {"typeid", "showid", "enddate", "name", "startdate", "context_type", "created_at", "priorityid",
            "created_by", "id", "statusid", "object_typeid", "parent_id", "bid", "description"} <= set(
        change.values
    )  # fmt: skip
    assert change.values["startdate"] == {"old": None, "new": "2024-10-29T22:00:00"}
    assert change.values["name"] == {"old": None, "new": "t"}


def test_when_a_first_version_is_added_then_its_number_is_an_integer_and_its_task_named(world):
    asset = world.create("Asset", name="a", context_id=world.shot)
    world.create("AssetVersion", asset_id=asset, task=reference("Task", world.task))
    change = world.change("assetversion")
    assert change.action == "add"
    assert change.values["version"]["new"] == 1 and isinstance(change.values["version"]["new"], int)
    assert change.values["taskid"]["new"] == world.task
    assert [parent["entityType"] for parent in change.parents] == ["assetversion", "asset", "task", "show"]
    assert change.parents[-1]["entityId"] == world.project


def test_when_a_thumbnail_is_set_then_thumbid_is_among_the_keys(world):
    asset = world.create("Asset", name="a", context_id=world.shot)
    version = world.create("AssetVersion", asset_id=asset)
    component = world.create("FileComponent", name="thumbnail")
    world.update("AssetVersion", version, thumbnail=reference("FileComponent", component))
    change = world.change("assetversion")
    assert change.values["thumbid"] == {"old": None, "new": component}


def test_when_media_are_ready_then_the_action_is_encoded(world):
    asset = world.create("Asset", name="a", context_id=world.shot)
    version = world.create("AssetVersion", asset_id=asset)
    with world.store.transaction(world.actor) as transaction:
        transaction.mark_encoded("AssetVersion", version)
    assert [(change.legacy_type, change.action) for change in transaction.changes] == [
        ("assetversion", "encoded")
    ]


def test_when_somebody_is_assigned_and_unassigned_then_both_sides_are_named(world):
    made = world.create(
        "Appointment",
        type="assignment",
        context=reference("Task", world.task),
        resource=reference("User", world.user),
    )
    change = world.change("appointment")
    expected = {"type": "assignment", "resource_id": world.user, "context_id": world.task}
    assert {key: change.values[key]["new"] for key in expected} == expected
    assert [parent["entityType"] for parent in change.parents] == ["appointment", "task", "task", "show"]
    world.delete("Appointment", made)
    change = world.change("appointment")
    assert change.action == "remove"
    assert {key: change.values[key] for key in expected} == {
        key: {"old": value, "new": None} for key, value in expected.items()
    }


def test_when_tasks_are_linked_then_both_ends_are_named(world):
    other = world.create("Task", name="t", parent_id=world.shot)
    link = world.create("TypedContextLink", from_id=world.task, to_id=other)
    change = world.change("dependency")
    assert (change.entity_id, change.action) == (link, "add")
    assert (change.values["from_id"]["new"], change.values["to_id"]["new"]) == (world.task, other)
    world.delete("TypedContextLink", link)
    assert world.change("dependency").values["to_id"] == {"old": other, "new": None}


def test_when_a_list_gets_an_item_then_list_and_entity_are_named(world):
    category = world.create("ListCategory", name="c")
    made = world.create("TypedContextList", name="l", project_id=world.project, category_id=category)
    assert world.change("list").entity_type == "TypedContextList"
    world.update("TypedContextList", made, items=[reference("Task", world.task)])
    change = world.change("listobject")
    assert change.action == "add"
    assert (change.values["listid"]["new"], change.values["entityid"]["new"]) == (made, world.task)
    assert [parent["entityType"] for parent in change.parents] == ["listobject", "list", "show"]
    world.update("TypedContextList", made, items=[])
    assert world.change("listobject").action == "remove"


def test_when_a_list_is_made_with_its_items_then_it_is_announced_before_them(world):
    category = world.create("ListCategory", name="c")
    items = [reference("Task", world.task), reference("Shot", world.shot)]
    world.create("TypedContextList", name="l", project_id=world.project, category_id=category, items=items)
    assert [change.legacy_type for change in world.changes] == ["list", "listobject", "listobject"]


def test_when_a_note_is_written_then_its_parents_are_the_note_the_entity_and_the_project(world):
    note = world.create("Note", content="hi", parent_id=world.task, parent_type="TypedContext")
    change = world.change("note")
    assert change.values["text"] == {"old": None, "new": "hi"}
    assert [parent["entityId"] for parent in change.parents] == [note, world.task, world.shot, world.project]
    assert world.row("Note", note)["parent_type"] == "Task"
    assert world.row("Note", note)["project_id"] == world.project
    world.update("Note", note, content="bye")
    assert world.change("note").values == {"text": {"old": "hi", "new": "bye"}}


def test_when_a_role_is_given_for_a_project_then_the_user_is_among_the_parents(world):
    role = world.rows("SELECT id FROM security_role")[0][0]
    user_role = world.create("UserSecurityRole", user_id=world.user, security_role_id=role)
    world.create("UserSecurityRoleProject", user_security_role_id=user_role, project_id=world.project)
    change = world.change("userroleproject")
    assert change.values["project_id"]["new"] == world.project
    assert ("user", world.user) in {(parent["entityType"], parent["entityId"]) for parent in change.parents}


def test_when_a_project_attribute_changes_then_the_value_is_text(world):
    with world.store.transaction(world.actor) as transaction:
        (configuration,) = transaction.create(
            "CustomAttributeConfiguration",
            {
                "key": "avalon_auto_sync",
                "entity_type": "show",
                "type_id": installation.CUSTOM_ATTRIBUTE_TYPE_IDS["boolean"],
                "default": False,
            },
        )
    world.update("ContextCustomAttributeValue", [configuration, world.project], value=True)
    change = world.change("show")
    assert change.action == "update"
    assert change.values == {"avalon_auto_sync": {"old": "0", "new": "1"}}


@pytest.mark.parametrize(
    ("entity_type", "kind", "key", "value", "text"),
    [
        ("TypedContextList", "list", "listbool", True, "1"),
        ("AssetVersion", "assetversion", "versiontest", "x", "x"),
        ("User", "user", "teststring", "y", "y"),
    ],
)
def test_when_an_attribute_of_another_entity_changes_then_it_is_a_row_of_that_entity(
    world, entity_type, kind, key, value, text
):
    if entity_type == "TypedContextList":
        category = world.create("ListCategory", name="c")
        entity = world.create(entity_type, name="l", project_id=world.project, category_id=category)
    elif entity_type == "AssetVersion":
        entity = world.create(entity_type, asset_id=world.create("Asset", name="a", context_id=world.shot))
    else:
        entity = world.user
    ((configuration,),) = world.rows(f"SELECT id FROM custom_attribute_configuration WHERE key = '{key}'")
    world.update("CustomAttributeValue", [configuration, entity], value=value)
    (change,) = world.changes
    assert (change.action, change.legacy_type, change.entity_id) == ("update", kind, entity)
    assert change.values[key]["new"] == text


def test_when_something_new_gets_more_in_the_batch_then_nothing_of_it_is_old(world):
    with world.store.transaction(world.actor) as transaction:
        (configuration,) = transaction.create(
            "CustomAttributeConfiguration",
            {
                "key": "first_frame",
                "entity_type": "task",
                "object_type_id": installation.OBJECT_TYPE_IDS["Shot"],
                "type_id": installation.CUSTOM_ATTRIBUTE_TYPE_IDS["number"],
                "default": 1,
            },
        )
    with world.store.transaction(world.actor) as transaction:
        (shot,) = transaction.create("Shot", {"name": "s", "parent_id": world.project})
        transaction.update("Shot", shot, {"name": "t"})
        transaction.update("ContextCustomAttributeValue", [configuration, shot], {"value": 1001})
    (change,) = transaction.changes
    assert change.action == "add"
    assert change.values["name"] == {"old": None, "new": "t"}
    assert change.values["first_frame"] == {"old": None, "new": "1001"}


def test_when_one_entity_changes_twice_in_a_batch_then_it_is_one_row(world):
    with world.store.transaction(world.actor) as transaction:
        transaction.update("Task", world.task, {"name": "a"})
        transaction.update("Task", world.task, {"name": "b", "bid": 5})
        transaction.update("Shot", world.shot, {"name": "x"})
        transaction.update("Shot", world.shot, {"name": "SH010"})
    (change,) = transaction.changes
    assert change.values == {"name": {"old": "animation", "new": "b"}, "bid": {"old": 0.0, "new": 5.0}}


def test_when_something_is_made_and_removed_in_a_batch_then_nothing_is_announced(world):
    with world.store.transaction(world.actor) as transaction:
        (made,) = transaction.create("Task", {"name": "t", "parent_id": world.shot})
        transaction.update("Task", made, {"name": "u"})
        transaction.delete("Task", made)
    assert transaction.changes == []


def test_when_something_is_changed_and_removed_then_the_removal_tells_what_was_before(world):
    with world.store.transaction(world.actor) as transaction:
        transaction.update("Task", world.task, {"name": "u"})
        transaction.delete("Task", world.task)
    change = next(change for change in transaction.changes if change.entity_id == world.task)
    assert change.action == "remove"
    assert change.values["name"] == {"old": "animation", "new": None}


def test_when_an_update_changes_nothing_then_nothing_is_announced(world):
    world.update("Task", world.task, name="animation")
    assert world.changes == []
    assert world.rows("SELECT id FROM event") == []


def test_when_the_event_is_made_then_it_unites_all_parents(world):
    world.create("Task", name="t", parent_id=world.shot)
    data = event_data(world.changes, world.actor)
    assert data["user"] == {"userid": world.user, "name": "Demo User"}
    assert data["parents"] == [world.changes[0].entity_id, world.shot, world.project]
    assert data["entities"] == [change.to_payload() for change in world.changes]
    assert json.loads(json.dumps(data)) == data


def _log(world):
    return [
        dict(row._mapping)
        for row in world.rows(
            'SELECT id, action, "insert", parent_type, parent_id, project_id, user_id, created_at, data '
            "FROM event ORDER BY id"
        )
    ]


def test_when_a_transaction_ends_then_its_log_rebuilds_the_event(world):
    with world.store.transaction(world.actor) as transaction:
        transaction.update("Task", world.task, {"status_id": installation.APPROVED})
        transaction.create("Note", {"content": "x", "parent_id": world.task, "parent_type": "Task"})
    rows = _log(world)
    stored = [json.loads(row["data"]) for row in rows]
    assert [data["entity"] for data in stored] == [change.to_payload() for change in transaction.changes]
    assert [(data["index"], data["size"], data["transaction"]) for data in stored] == [
        (0, 2, transaction.id),
        (1, 2, transaction.id),
    ]
    assert {json.dumps(data["user"]) for data in stored} == {
        json.dumps({"userid": world.user, "name": "Demo User"})
    }
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert {row["project_id"] for row in rows} == {world.project}
    assert {row["user_id"] for row in rows} == {world.user}


def test_when_very_much_changes_then_several_events_tell_of_it(world):
    with world.store.transaction(world.actor) as transaction:
        for number in range(1203):
            transaction.create("Scope", {"name": str(number)})
        assert transaction.announcements == []
    announced = transaction.announcements
    assert [len(announcement.changes) for announcement in announced] == [500, 500, 203]
    assert announced[0].id == transaction.id and len({announcement.id for announcement in announced}) == 3
    assert [change for announcement in announced for change in announcement.changes] == transaction.changes
    stored = [json.loads(row["data"]) for row in _log(world)]
    assert [data["transaction"] for data in stored[498:502]] == [announced[0].id] * 2 + [announced[1].id] * 2
    assert (stored[-1]["index"], stored[-1]["size"]) == (202, 203)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (
            lambda w: w.update("Task", w.task, status_id=installation.APPROVED),
            ("change.status.task", "update"),
        ),
        (
            lambda w: w.update("Shot", w.shot, status_id=installation.OMITTED),
            ("change.status.shot", "update"),
        ),
        (lambda w: w.update("Task", w.task, name="x"), ("db.update.task", "update")),
        (lambda w: w.create("Folder", name="x", parent_id=w.project), ("db.append.task", "add")),
        (
            lambda w: w.create("Note", content="x", parent_id=w.task, parent_type="Task"),
            ("db.append.note", "add"),
        ),
        (
            lambda w: w.create("Appointment", type="assignment", context_id=w.task, resource_id=w.user),
            ("db.append.task:user", "add"),
        ),
        (
            lambda w: w.create("Appointment", type="allocation", context_id=w.task, resource_id=w.user),
            ("db.append.appointment", "add"),
        ),
        (lambda w: w.delete("Task", w.task), ("db.remove.task", "remove")),
        (lambda w: w.update("Task", w.task, parent_id=w.project), ("db.update.task", "update")),
    ],
)
def test_when_something_happens_then_the_log_names_the_action(world, act, expected):
    act(world)
    assert (_log(world)[0]["action"], _log(world)[0]["insert"]) == expected


def test_when_a_version_is_published_then_the_log_says_so(world):
    asset = world.create("Asset", name="a", context_id=world.shot)
    world.create("AssetVersion", asset_id=asset)
    assert _log(world)[-1]["action"] == "asset.published"
    world.create("AssetVersion", asset_id=asset, is_published=False)
    assert _log(world)[-1]["action"] == "db.append.assetversion"


def test_when_an_assignment_is_logged_then_the_row_is_about_its_task(world):
    world.create("Appointment", type="assignment", context_id=world.task, resource_id=world.user)
    assert (_log(world)[0]["parent_type"], _log(world)[0]["parent_id"]) == ("task", world.task)


def test_when_project_and_user_are_gone_then_the_log_remains(world):
    world.update("Task", world.task, name="x")
    world.delete("Project", world.project)
    assert _log(world)[0]["project_id"] == world.project
