"""Creating, changing and deleting a small production."""

import datetime
import uuid

import ftrack_api

session = ftrack_api.Session(auto_connect_event_hub=False, plugin_paths=[], schema_cache_path=False)
name = f"peer_{uuid.uuid4().hex[:8]}"
user = session.query(f"User where username is {session.api_user}").one()

project = session.create(
    "Project",
    {"name": name, "full_name": name, "project_schema": session.query("ProjectSchema").first()},
)
sequence = session.create("Sequence", {"name": "sq010", "parent": project})
shots = [session.create("Shot", {"name": f"sh{number:03d}", "parent": sequence}) for number in range(3)]
task_type = project["project_schema"].get_types("Task")[0]
task = session.create("Task", {"name": "compositing", "parent": shots[0], "type": task_type})
session.commit()

assert task["status"]["name"] and task["priority"]["name"] and task["type"]["id"] == task_type["id"]
assert task["project_id"] == project["id"]
assert [item["name"] for item in task["link"]] == [name, "sq010", "sh000", "compositing"]
assert task["created_at"] is not None
assert {shot["name"] for shot in sequence["children"]} == {"sh000", "sh001", "sh002"}

# Scalars, references, dates.
statuses = project["project_schema"].get_statuses("Task", task_type["id"])
task["status"] = statuses[-1]
task["description"] = 'quotes " and \\ and ü\n'
task["start_date"] = datetime.datetime(2020, 1, 2, 3, 4, 5, 678000)
task["bid"] = 3600.5
session.commit()

other = ftrack_api.Session(auto_connect_event_hub=False, plugin_paths=[], schema_cache_path=False)
same = other.get("Task", task["id"])
assert same["status"]["id"] == statuses[-1]["id"]
assert same["description"] == task["description"]
assert same["start_date"].format("YYYY-MM-DDTHH:mm:ss") == "2020-01-02T03:04:05", same["start_date"]
assert same["bid"] == 3600.5
assert same["parent"]["name"] == "sh000" and same["parent"].entity_type == "Shot"

# Metadata, custom attributes, notes, assignments.
task["metadata"]["a"] = "1"
task["metadata"]["b"] = "2"
session.commit()
del task["metadata"]["a"]
session.commit()
assert dict(other.query(f"select metadata from Task where id is {task['id']}").one()["metadata"]) == {
    "b": "2"
}

note = task.create_note("Looks fine", author=user)
session.commit()
reply = note.create_reply("Thank you", author=user)
session.commit()
assert other.query(f"Note where id is {reply['id']}").one()["in_reply_to"]["id"] == note["id"]

session.create("Appointment", {"context": task, "resource": user, "type": "assignment"})
session.commit()
assigned_to = f'assignments any (resource.username = "{user["username"]}")'
assigned = other.query(
    f"select name, assignments.resource from Task where {assigned_to} and project_id is {project['id']}"
).one()
assert assigned["id"] == task["id"]
assert assigned["assignments"][0]["resource"]["id"] == user["id"]

key = next(iter(task["custom_attributes"].keys()), None)
if key is not None:
    assert task["custom_attributes"][key] is not Ellipsis

# Versions count up for each asset.
asset_type = session.query("AssetType").first()
asset = session.create("Asset", {"name": "comp", "type": asset_type, "parent": shots[0]})
versions = [session.create("AssetVersion", {"asset": asset, "task": task}) for _ in range(2)]
session.commit()
assert [version["version"] for version in versions] == [1, 2]
assert not other.get("AssetVersion", versions[0]["id"])["is_latest_version"]
assert other.get("AssetVersion", versions[1]["id"])["is_latest_version"]

# A failing operation undoes its whole batch.
session.create("Folder", {"name": "never", "parent": project})
session.create("Appointment", {"context_id": "no-such-context", "resource": user, "type": "assignment"})
try:
    session.commit()
except ftrack_api.exception.ServerError:
    session.rollback()
else:
    raise AssertionError("A reference to nothing was accepted.")
assert other.query(f"Folder where name is never and project_id is {project['id']}").first() is None

# Timers are unique.
timer = user.start_timer(task)
try:
    user.start_timer(task)
except ftrack_api.exception.NotUniqueError:
    session.rollback()
else:
    raise AssertionError("A second timer was accepted.")
timelog = user.stop_timer()
assert timelog["duration"] >= 0

# ensure, keys, deletion.
ensured = session.ensure("Type", {"name": f"type {name}", "is_billable": True}, identifying_keys=["name"])
assert (
    session.ensure("Type", {"name": f"type {name}", "is_billable": False}, identifying_keys=["name"])
    is ensured
)
assert ensured["is_billable"] is False

other_user = session.create("User", {"username": name})
session.commit()
first, second = (session.reset_remote("api_key", entity=other_user) for _ in range(2))
assert first != second
try:
    session.reset_remote("failing", entity=other_user)
except ftrack_api.exception.ServerError:
    pass
else:
    raise AssertionError("An unknown reset type was accepted.")

assert session.get_widget_url("info", entity=task).startswith(session.server_url)
session.send_user_invite(other_user)

session.delete(other_user)
session.delete(project)
session.commit()
assert other.query(f"Project where id is {project['id']}").first() is None
assert other.query(f"Task where id is {task['id']}").first() is None
assert other.query(f"Note where id is {note['id']}").first() is None
session.close()
other.close()
