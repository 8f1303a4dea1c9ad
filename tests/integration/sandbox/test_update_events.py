"""``ftrack.update``: what consumers of real installations expect, row by row."""

import concurrent.futures
import json

import pytest

from .conftest import create, delete, new_id, post, query, request, update


class Production:
    """A task in a shot in a sequence in a project, and a version of it."""

    def __init__(self, server, project):
        self.project = project
        self.sequence, self.shot, self.task, self.asset, self.version = (new_id() for _ in range(5))
        asset_type = server.call(query("select id from AssetType limit 1"))[0]["data"][0]["id"]
        results = server.call(
            create("Sequence", {"id": self.sequence, "name": "sq", "parent_id": project}),
            create("Shot", {"id": self.shot, "name": "sh", "parent_id": self.sequence}),
            create("Task", {"id": self.task, "name": "t", "parent_id": self.shot}),
            create("Asset", {"id": self.asset, "name": "a", "context_id": self.shot, "type_id": asset_type}),
            create("AssetVersion", {"id": self.version, "asset_id": self.asset, "task_id": self.task}),
            query("select id from Status order by name"),
        )
        self.task_row = results[2]["data"]
        self.statuses = [row["id"] for row in results[5]["data"]]

    @property
    def other_status(self):
        return next(status for status in self.statuses if status != self.task_row["status_id"])


@pytest.fixture
def production(server, project):
    return Production(server, project)


@pytest.fixture
def listener(open_hub, production):
    """Provide a hub that listens to what happens after the production was made."""
    hub = open_hub()
    hub.subscribe("topic=ftrack.update")
    return hub


@pytest.fixture
def user_id(server):
    return server.call(query(f"select id from User where username is {server.api_user}"))[0]["data"][0]["id"]


def ids(entity):
    return [parent["entityId"] for parent in entity["parents"]]


def kinds(entity):
    return [parent["entityType"] for parent in entity["parents"]]


def rows(event, kind):
    return [entity for entity in event["data"]["entities"] if entity.get("entityType") == kind]


def row(event, kind):
    (found,) = rows(event, kind)
    return found


def test_when_committed_then_one_event_with_the_documented_envelope(server, listener, project, user_id):
    headers = {"ftrack_clienttoken": "client-1", "ftrack_pushtoken": "push-1"}
    operations = [create("Folder", {"name": name, "parent_id": project}) for name in "ab"]
    post(server, operations, **headers)
    event = listener.receive_event()
    assert set(event) == {"topic", "id", "data", "source", "target", "sent", "inReplyToEvent"}
    assert event["topic"] == "ftrack.update"
    assert event["target"] == ""
    assert event["source"]["user"] == {"username": server.api_user, "id": user_id}
    assert event["source"]["clientToken"] == "client-1"
    assert event["source"]["applicationId"] == "ftrack.client.web"
    data = event["data"]
    assert data["clientToken"] == "client-1"
    assert data["pushToken"] == "push-1"
    assert data["user"]["userid"] == user_id
    assert data["user"]["name"]
    assert len(rows(event, "task")) == 2
    assert set(data["parents"]) == {
        parent["entityId"] for each in data["entities"] for parent in each["parents"]
    }


def test_when_nothing_changes_then_no_event(server, listener, production):
    post(server, [update("Task", production.task, {"name": "t"})])
    post(server, [query("Task"), update("Task", production.task, {"name": ["no", "name"]}), {"action": "no"}])
    post(server, [update("Task", production.task, {"name": "u"})], ftrack_pushtoken="undefined")
    event = listener.receive_event()
    assert row(event, "task")["changes"]["name"] == {"old": "t", "new": "u"}
    assert "pushToken" not in event["data"]


def test_when_a_status_changes_then_statusid_with_old_and_new(server, listener, production):
    server.call(update("Task", production.task, {"status_id": production.other_status}))
    entity = row(listener.receive_event(), "task")
    assert entity["action"] == "update"
    assert entity["entity_type"] == "Task"
    assert entity["entityId"] == production.task
    assert entity["objectTypeId"] == production.task_row["object_type_id"]
    assert entity["parentId"] == production.shot
    assert "statusid" in entity["keys"]
    expected = {"old": production.task_row["status_id"], "new": production.other_status}
    assert entity["changes"]["statusid"] == expected
    assert ids(entity) == [production.task, production.shot, production.sequence, production.project]
    assert kinds(entity) == ["task", "task", "task", "show"]
    assert [parent["entity_type"] for parent in entity["parents"]] == ["Task", "Shot", "Sequence", "Project"]
    assert [parent["parentId"] for parent in entity["parents"]] == [*ids(entity)[1:], None]


def test_when_a_task_is_added_then_every_column_is_a_key(server, listener, production):
    server.call(create("Task", {"name": "new", "parent_id": production.shot}))
    entity = row(listener.receive_event(), "task")
    assert entity["action"] == "add"
    recorded = (
        "typeid showid enddate name startdate context_type created_at priorityid created_by id statusid "
        "object_typeid parent_id bid description"
    )
    assert set(recorded.split()) <= set(entity["keys"])
    assert entity["changes"]["name"] == {"old": None, "new": "new"}
    assert entity["changes"]["showid"]["new"] == production.project


def test_when_removed_then_changes_hold_the_old_values(server, listener, production):
    server.call(delete("Task", production.task))
    entity = row(listener.receive_event(), "task")
    assert entity["action"] == "remove"
    assert entity["changes"]["name"] == {"old": "t", "new": None}
    assert ids(entity)[-1] == production.project


def test_when_a_thumbnail_is_set_then_thumbid(server, listener, production):
    component = server.call(create("FileComponent", {"name": "thumbnail", "file_type": ".png"}))[0]["data"][
        "id"
    ]
    server.call(update("AssetVersion", production.version, {"thumbnail_id": component}))
    server.call(update("Shot", production.shot, {"thumbnail_id": component}))
    events = []
    while len(events) < 2:
        event = listener.receive_event()
        events += [
            entity
            for entity in event["data"]["entities"]
            if entity["action"] == "update" and "thumbid" in (entity["keys"] or ())
        ]
    assert [entity["entityType"] for entity in events] == ["assetversion", "task"]
    assert events[0]["changes"]["thumbid"]["new"] == component


def test_when_a_first_version_is_published_then_its_number_is_an_integer(server, listener, production):
    asset_type = server.call(query("select id from AssetType limit 1"))[0]["data"][0]["id"]
    asset = new_id()
    server.call(
        create("Asset", {"id": asset, "name": "b", "context_id": production.shot, "type_id": asset_type}),
        create("AssetVersion", {"asset_id": asset, "task_id": production.task}),
    )
    entity = row(listener.receive_event(), "assetversion")
    assert entity["action"] == "add"
    assert entity["entity_type"] == "AssetVersion"
    assert entity["changes"]["version"]["new"] == 1
    assert type(entity["changes"]["version"]["new"]) is int
    assert entity["changes"]["taskid"]["new"] == production.task
    assert kinds(entity) == ["assetversion", "asset", "task", "task", "show"]
    assert ids(entity)[1:] == [asset, production.shot, production.sequence, production.project]


def test_when_media_are_ready_then_encoded(server, listener, production):
    component = server.call(create("FileComponent", {"name": "movie", "file_type": ".mp4"}))[0]["data"]["id"]
    (metadata,) = server.call(
        {"action": "get_upload_metadata", "component_id": component, "file_name": "a.mp4", "file_size": 3}
    )
    assert request(server, metadata["url"], method="PUT", body=b"mp4", headers=metadata["headers"])[0] == 200
    server.call(
        {
            "action": "encode_media",
            "component_id": component,
            "version_id": production.version,
            "keep_original": True,
        }
    )
    seen = []
    while "encoded" not in seen:
        event = listener.receive_event()
        seen += [entity["action"] for entity in rows(event, "assetversion")]
    assert "update" in seen  # the thumbnail
    entity = row(event, "assetversion")
    assert entity["entityId"] == production.version
    assert kinds(entity)[-1] == "show"


def test_when_assigned_and_unassigned_then_appointment_with_context_and_resource(
    server, listener, production, user_id
):
    data = {"context_id": production.task, "resource_id": user_id, "type": "assignment"}
    appointment = server.call(create("Appointment", data))[0]["data"]["id"]
    server.call(delete("Appointment", appointment))
    for action, side in (("add", "new"), ("remove", "old")):
        entity = row(listener.receive_event(), "appointment")
        assert entity["action"] == action
        assert {key: entity["changes"][key][side] for key in data} == data
        assert entity["entity_type"] == "Appointment"


def test_when_linked_and_unlinked_then_dependency_with_both_ends(server, listener, production):
    data = {"from_id": production.shot, "to_id": production.task}
    link = server.call(create("TypedContextLink", data))[0]["data"]["id"]
    server.call(delete("TypedContextLink", link))
    for action, side in (("add", "new"), ("remove", "old")):
        entity = row(listener.receive_event(), "dependency")
        assert entity["action"] == action
        assert {key: entity["changes"][key][side] for key in data} == data


def test_when_lists_change_then_list_and_listobject_rows(server, listener, production):
    category = server.call(query("select id from ListCategory limit 1"))[0]["data"][0]["id"]
    list_id, item = new_id(), new_id()
    data = {"id": list_id, "name": "l", "project_id": production.project, "category_id": category}
    server.call(create("TypedContextList", data))
    entity = row(listener.receive_event(), "list")
    assert (entity["action"], entity["entity_type"], entity["entityId"]) == (
        "add",
        "TypedContextList",
        list_id,
    )
    server.call(update("TypedContextList", list_id, {"name": "m"}))
    entity = row(listener.receive_event(), "list")
    assert entity["changes"]["name"] == {"old": "l", "new": "m"}
    server.call(create("ListObject", {"id": item, "list_id": list_id, "entity_id": production.task}))
    entity = row(listener.receive_event(), "listobject")
    assert entity["action"] == "add"
    assert entity["changes"]["listid"]["new"] == list_id
    assert entity["changes"]["entityid"]["new"] == production.task
    assert list_id in ids(entity)
    server.call(delete("ListObject", item))
    entity = row(listener.receive_event(), "listobject")
    assert (entity["action"], entity["changes"]["listid"]["old"]) == ("remove", list_id)
    server.call(delete("TypedContextList", list_id))
    assert row(listener.receive_event(), "list")["action"] == "remove"


def test_when_notes_change_then_note_rows_below_what_they_comment(server, listener, production, user_id):
    note = new_id()
    data = {
        "id": note,
        "content": "a",
        "user_id": user_id,
        "parent_id": production.task,
        "parent_type": "Task",
    }
    server.call(create("Note", data))
    server.call(update("Note", note, {"content": "b"}))
    server.call(delete("Note", note))
    added, changed, removed = (row(listener.receive_event(), "note") for _ in range(3))
    assert [entity["action"] for entity in (added, changed, removed)] == ["add", "update", "remove"]
    assert added["changes"]["text"]["new"] == "a"
    assert changed["changes"]["text"] == {"old": "a", "new": "b"}
    assert changed["keys"] == ["text"]
    assert ids(added)[:2] == [note, production.task]
    assert ids(added)[-1] == production.project


def test_when_a_role_is_granted_on_a_project_then_userroleproject_below_the_user(
    server, listener, production, user_id
):
    role = server.call(create("SecurityRole", {"name": "r"}))[0]["data"]["id"]
    base = {"user_id": user_id, "role_id": role}
    server.call({"action": "add_user_security_role", **base})
    server.call({"action": "grant_user_security_role_project", "project_id": production.project, **base})
    while not (found := rows(listener.receive_event(), "userroleproject")):
        pass
    assert found[0]["action"] == "add"
    assert found[0]["changes"]["project_id"]["new"] == production.project
    assert user_id in ids(found[0])
    assert "user" in kinds(found[0])
    server.call({"action": "remove_user_security_role", **base}, delete("SecurityRole", role))


def test_when_renamed_rescheduled_and_moved_then_legacy_keys(server, listener, production):
    date = {"__type__": "datetime", "value": "2024-10-29T23:00:00+01:00"}
    server.call(
        update(
            "Task",
            production.task,
            {"name": "n", "start_date": date, "end_date": date, "bid": 3600, "description": "d"},
        )
    )
    entity = row(listener.receive_event(), "task")
    assert {"name", "startdate", "enddate", "bid", "description"} <= set(entity["keys"])
    assert entity["changes"]["startdate"] == {"old": None, "new": "2024-10-29T22:00:00"}
    assert entity["changes"]["name"]["new"] == "n"
    server.call(update("Task", production.task, {"parent_id": production.sequence}))
    entity = row(listener.receive_event(), "task")
    assert entity["action"] == "move"
    assert entity["changes"]["parent_id"] == {"old": production.shot, "new": production.sequence}
    assert ids(entity) == [production.task, production.sequence, production.project]


def test_when_custom_attributes_change_then_their_keys_with_text_values(server, listener, production):
    types = {
        each["name"]: each["id"]
        for each in server.call(query("select name, id from CustomAttributeType"))[0]["data"]
    }
    keys = {"text": "x", "number": 1.5, "boolean": True}
    ids_by_key = {}
    for kind in keys:
        data = {
            "id": new_id(),
            "key": f"peer_{kind}",
            "label": kind,
            "type_id": types[kind],
            "entity_type": "show",
            "config": json.dumps({"isdecimal": True, "markdown": False}),
        }
        server.call(create("CustomAttributeConfiguration", data))
        ids_by_key[kind] = data["id"]
    while listener.receive_event()["data"]["entities"][0]["entity_type"] != "CustomAttributeConfiguration":
        pass
    for kind, value in keys.items():
        key = [ids_by_key[kind], production.project]
        server.call(update("ContextCustomAttributeValue", key, {"value": value}))
    changes = {}
    while len(changes) < 3:
        for entity in rows(listener.receive_event(), "show"):
            assert entity["action"] == "update"
            assert entity["entityId"] == production.project
            changes.update({key: pair["new"] for key, pair in entity["changes"].items()})
    assert changes["peer_text"] == "x"
    assert changes["peer_boolean"] == "1"
    assert float(changes["peer_number"]) == 1.5
    assert all(isinstance(value, str) for value in changes.values())
    server.call(*(delete("CustomAttributeConfiguration", each) for each in ids_by_key.values()))


def test_when_announced_then_the_event_log_has_the_same_rows(server, listener, production):
    server.call(
        update("Task", production.task, {"status_id": production.other_status}),
        update("Shot", production.shot, {"name": "other"}),
    )
    event = listener.receive_event()
    logged = server.call(query("select id, data, action from Event order by id descending limit 2"))[0][
        "data"
    ]
    told = [json.loads(entry["data"]) for entry in reversed(logged)]
    assert [each["entity"] for each in told] == event["data"]["entities"]
    assert {each["transaction"] for each in told} == {event["id"]}
    assert [each["user"] for each in told] == [event["data"]["user"]] * 2


def test_when_commits_follow_each_other_then_events_in_their_order(server, listener, project):
    def write(number):
        server.call(create("Folder", {"name": f"f{number}", "parent_id": project}))

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(30)))
    announced = [listener.receive_event()["id"] for _ in range(30)]
    logged = server.call(query("select data from Event order by id descending limit 30"))[0]["data"]
    assert announced == [json.loads(entry["data"])["transaction"] for entry in reversed(logged)]
