"""Collections are sent as complete lists: new members are attached, missing ones detached."""

import pytest

from ftrackd.sandbox.errors import EntityNotFoundError, IntegrityError, ValidationError

from .wire import reference


def _metadata(world, entity_id):
    rows = world.rows("SELECT key, value FROM metadata WHERE parent_id = :id ORDER BY key", id=entity_id)
    return {row.key: row.value for row in rows}


def test_when_a_note_is_appended_then_it_belongs_to_the_entity(world):
    with world.store.transaction(world.actor) as transaction:
        transaction.create("Note", {"id": "n1", "content": "hi", "author": reference("User", world.user)})
        transaction.update("Task", world.task, {"notes": [reference("Note", "n1")]})
    note = world.row("Note", "n1")
    assert (note["parent_id"], note["parent_type"]) == (world.task, "Task")
    assert note["project_id"] == world.project
    assert [change.action for change in transaction.changes] == ["add"]
    assert transaction.changes[0].values["parent_id"] == {"old": None, "new": world.task}


def test_when_a_list_of_notes_is_stale_then_other_notes_stay(world):
    first = world.create("Note", content="a", parent_id=world.task, parent_type="Task")
    second = world.create("Note", content="b")
    world.update("Task", world.task, notes=[reference("Note", second)])
    assert world.row("Note", first)["parent_id"] == world.task


def test_when_a_reply_is_appended_then_it_joins_the_thread(world):
    note = world.create("Note", content="a", parent_id=world.task, parent_type="Task")
    with world.store.transaction(world.actor) as transaction:
        transaction.create("Note", {"id": "reply", "content": "b"})
        transaction.update("Note", note, {"replies": [reference("Note", "reply")]})
    reply = world.row("Note", "reply")
    assert reply["in_reply_to_id"] == note
    assert (reply["parent_id"], reply["parent_type"]) == (world.task, "Task")


def test_when_metadata_is_written_as_clients_do_then_it_is_there(world):
    with world.store.transaction(world.actor) as transaction:
        transaction.create(
            "Metadata", {"parent_id": world.task, "parent_type": "Task", "key": "a", "value": "1"}
        )
        transaction.create(
            "Metadata", {"parent_id": world.task, "parent_type": "task", "key": "A", "value": "2"}
        )
        keys = [{"__entity_type__": "Metadata", "parent_id": world.task, "key": key} for key in "aA"]
        transaction.update("Task", world.task, {"metadata": keys})
    assert _metadata(world, world.task) == {"a": "1", "A": "2"}
    world.update("Metadata", [world.task, "a"], value="3")
    assert _metadata(world, world.task)["a"] == "3"


def test_when_a_metadata_key_is_removed_then_list_and_deletion_agree(world):
    """Clients send the shorter list and the deletion of the row in one batch."""
    world.create("Metadata", parent_id=world.task, parent_type="Task", key="a", value="1")
    with world.store.transaction(world.actor) as transaction:
        transaction.update("Task", world.task, {"metadata": []})
        transaction.delete("Metadata", [world.task, "a"])
    assert _metadata(world, world.task) == {}


def test_when_scopes_are_set_then_rows_are_linked_and_unlinked(world):
    first, second = world.create("Scope", name="a"), world.create("Scope", name="b")
    world.update("Task", world.task, scopes=[reference("Scope", first), reference("Scope", second)])
    world.update("Task", world.task, scopes=[reference("Scope", second)])
    rows = world.rows("SELECT scope_id FROM context_scope WHERE context_id = :id", id=world.task)
    assert [row.scope_id for row in rows] == [second]
    with pytest.raises(IntegrityError, match="scopes"):
        world.update("Task", world.task, scopes=[reference("Scope", "nothing")])


def test_when_an_assignment_is_taken_out_then_it_is_deleted(world):
    made = world.create("Appointment", type="assignment", context_id=world.task, resource_id=world.user)
    allocation = world.create("Appointment", type="allocation", context_id=world.task, resource_id=world.user)
    world.update("Task", world.task, assignments=[])
    assert world.row("Appointment", made) is None
    assert world.row("Appointment", allocation) is not None


def test_when_components_are_attached_and_detached_then_their_version_follows(world):
    asset = world.create("Asset", name="a", context_id=world.shot)
    version = world.create("AssetVersion", asset_id=asset)
    component = world.create("FileComponent", name="main")
    world.update("AssetVersion", version, components=[reference("FileComponent", component)])
    assert world.row("Component", component)["version_id"] == version
    world.update("AssetVersion", version, components=[])
    assert world.row("Component", component)["version_id"] is None


def test_when_members_are_given_at_creation_then_they_are_attached(world):
    member = world.create("FileComponent", name="0001")
    container = world.create("ContainerComponent", name="c", members=[reference("FileComponent", member)])
    assert world.row("Component", member)["container_id"] == container


def test_when_children_are_left_out_then_they_stay(world):
    world.update("Shot", world.shot, children=[])
    assert world.row("Task", world.task)["parent_id"] == world.shot
    other = world.create("Task", name="t", parent_id=world.project)
    world.update("Shot", world.shot, children=[reference("Task", other)])
    assert world.row("Task", other)["parent_id"] == world.shot


def test_when_versions_use_each_other_then_the_link_has_both_sides(world):
    asset = world.create("Asset", name="a", context_id=world.shot)
    used, using = (world.create("AssetVersion", asset_id=asset) for _ in range(2))
    world.update("AssetVersion", using, uses_versions=[reference("AssetVersion", used)])
    (link,) = world.rows("SELECT from_id, to_id FROM asset_version_link")
    assert (link.from_id, link.to_id) == (used, using)


def test_when_the_state_of_a_status_is_set_then_it_is_stored(world):
    state = world.create("State", name="s", short="X")
    status = world.create("Status", name="new", state=reference("State", state))
    assert world.row("Status", status)["state_id"] == state


@pytest.mark.parametrize(
    ("name", "members", "error", "message"),
    [
        ("ancestors", [], ValidationError, "follows from parent"),
        ("custom_attribute_links", [], ValidationError, "cannot be written"),
        ("notes", "x", ValidationError, "list of entities"),
        ("scopes", [{"name": "x"}], ValidationError, "without id"),
        ("notes", [{"__entity_type__": "Note", "id": "nothing"}], EntityNotFoundError, "nothing"),
    ],
)
def test_when_a_collection_makes_no_sense_then_the_error_says_why(world, name, members, error, message):
    with pytest.raises(error, match=message):
        world.update("Task", world.task, **{name: members})


def test_when_a_reference_is_no_reference_then_it_is_refused(world):
    status = {"__entity_type__": "Metadata", "parent_id": world.task, "key": "a"}
    for value in (status, 2**70, [], {"a": 1}, reference("Task", None)):
        with pytest.raises((ValidationError, IntegrityError)):
            world.update("Task", world.task, status=value)
    assert world.row("Task", world.task)["parent_id"] == world.shot
