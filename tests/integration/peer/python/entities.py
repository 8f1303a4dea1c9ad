"""What the client's classes offer: custom attributes, notes, lists, schemas, timers, links, sequences."""

import datetime
import os
import tempfile
import uuid

import ftrack_api
import ftrack_api.symbol

session = ftrack_api.Session(auto_connect_event_hub=False, plugin_paths=[], schema_cache_path=False)
other = ftrack_api.Session(auto_connect_event_hub=False, plugin_paths=[], schema_cache_path=False)
name = f"peer_{uuid.uuid4().hex[:8]}"
user = session.query(f"User where username is {session.api_user}").one()
project_schema = session.get("ProjectSchema", "69cb7f92-4dbf-11e1-9902-f23c91df25eb")
project = session.create("Project", {"name": name, "full_name": name, "project_schema": project_schema})
sequence = session.create("Sequence", {"name": "sq", "parent": project})
shot = session.create("Shot", {"name": "sh", "parent": sequence})
task = session.create("Task", {"name": "t", "parent": shot, "metadata": {"a": "1"}})
asset_type = session.query("AssetType").first()
asset = session.create("Asset", {"name": "a", "type": asset_type, "parent": shot})
version = session.create("AssetVersion", {"asset": asset, "task": task})
session.commit()


def fresh(entity, *attributes):
    """Return the values as another session reads them."""
    other.cache.clear()
    key = ", ".join(attributes)
    found = other.query(f"select {key} from {entity.entity_type} where id is {entity['id']}").one()
    return [found[attribute] for attribute in attributes]


assert fresh(sequence, "project_id") == [project["id"]]
assert dict(fresh(task, "metadata")[0]) == {"a": "1"}

# The workflow of the project schema.
names = {status["name"] for status in project_schema.get_statuses("Task")}
assert names == {"Not started", "In progress", "Awaiting approval", "Approved"}, names
for kind, expected in (("Shot", {"Normal", "Omitted", "On Hold"}), ("AssetVersion", {"Approved", "Pending"})):
    found = {status["name"] for status in project_schema.get_statuses(kind)}
    assert found == expected, (kind, found)
assert project_schema.get_types("Task")

# Custom attributes: set on what is committed and on what is not yet, hierarchical and not.
task["custom_attributes"]["customNumber"] = 5
version["custom_attributes"]["versiontest"] = "v"
version["custom_attributes"]["NumberField"] = 7
shot["custom_attributes"]["fstart"] = 1001
user["custom_attributes"]["teststring"] = name
session.commit()
assert fresh(task, "custom_attributes")[0]["customNumber"] == 5
assert fresh(version, "custom_attributes")[0]["versiontest"] == "v"
assert fresh(version, "custom_attributes")[0]["NumberField"] == 7
assert fresh(shot, "custom_attributes")[0]["fstart"] == 1001
assert fresh(user, "custom_attributes")[0]["teststring"] == name
project["custom_attributes"]["htest"] = "project"
session.commit()
assert fresh(task, "custom_attributes")[0]["htest"] == "project"
shot["custom_attributes"]["htest"] = "shot"
session.commit()
assert fresh(task, "custom_attributes")[0]["htest"] == "shot"
assert fresh(sequence, "custom_attributes")[0]["htest"] == "project"
late = session.create("Task", {"name": "late", "parent": shot})
late["custom_attributes"]["customNumber"] = 9
session.commit()
assert fresh(late, "custom_attributes")[0]["customNumber"] == 9
found = other.query(
    f"Task where project_id is {project['id']} and custom_attributes any (key is customNumber and value is 9)"
).all()
assert [each["id"] for each in found] == [late["id"]]

# Notes with labels and recipients.
category = session.query("NoteCategory").first()
note = task.create_note("hi", author=user, recipients=[user], category=category)
session.commit()
assert fresh(note, "recipients")[0][0]["recipient"]["id"] == user["id"]
assert [each["id"] for each in fresh(task, "notes")[0]] == [note["id"]]

# Lists.
list_category = session.query("ListCategory").first()
listed = session.create("TypedContextList", {"name": name, "project": project, "category": list_category})
listed["items"].extend([task, shot])
session.commit()
assert {each["id"] for each in fresh(listed, "items")[0]} == {task["id"], shot["id"]}
listed["items"].remove(task)
session.commit()
assert {each["id"] for each in fresh(listed, "items")[0]} == {shot["id"]}
listed["custom_attributes"]["listbool"] = True
session.commit()
assert fresh(listed, "custom_attributes")[0]["listbool"] is True

# Links between versions, and between tasks.
newer = session.create("AssetVersion", {"asset": asset, "task": task})
newer["uses_versions"].append(version)
session.create("TypedContextLink", {"from": task, "to": late})
session.commit()
assert [each["id"] for each in fresh(newer, "uses_versions")[0]] == [version["id"]]
assert [each["id"] for each in fresh(version, "used_in_versions")[0]] == [newer["id"]]
assert fresh(late, "incoming_links")[0][0]["from_id"] == task["id"]
assert fresh(asset, "latest_version")[0]["id"] == newer["id"]

# Users without a name, timers, generic components.
nameless = session.create("User", {})
timer = session.create("Timer", {"user": nameless})
component = session.create("Component", {"name": "abstract"})
session.commit()
assert nameless["username"]
assert abs((timer["start"] - datetime.datetime.now(datetime.UTC)).total_seconds()) < 60
assert component["system_type"]
session.delete(timer)
session.delete(component)
session.delete(nameless)
session.commit()

# Sequences and containers of files.
folder = tempfile.mkdtemp()
for number in range(1, 4):
    with open(os.path.join(folder, f"plate.{number:04d}.dpx"), "wb") as file:
        file.write(b"x" * number)
server = session.get("Location", ftrack_api.symbol.SERVER_LOCATION_ID)
plate = version.create_component(
    os.path.join(folder, "plate.%04d.dpx [1-3]"), {"name": "plate"}, location=server
)
members = other.query(
    f"select members.name, members.size from SequenceComponent where id is {plate['id']}"
).one()
seen = sorted((each["name"], each["size"]) for each in members["members"])
assert seen == [("0001", 1), ("0002", 2), ("0003", 3)], seen
assert plate.get_availability([server])[server["id"]] == 100.0
assert {each["name"] for each in fresh(version, "components")[0]} == {"plate"}

# Reviews.
review = session.create("ReviewSession", {"name": name, "project": project})
session.create("ReviewSessionObject", {"name": "a", "review_session": review, "asset_version": version})
invitee = session.create(
    "ReviewSessionInvitee", {"name": "n", "email": "n@example.com", "review_session": review}
)
session.commit()
session.send_review_session_invite(invitee)
assert fresh(invitee, "last_sent_at")[0] is not None
assert fresh(review, "review_session_objects")[0][0]["version_id"] == version["id"]

# Moves.
late["parent"] = sequence
session.commit()
assert [item["name"] for item in fresh(late, "link")[0]] == [name, "sq", "late"]
assert {each["id"] for each in fresh(late, "ancestors")[0]} == {sequence["id"]}

# Aggregates and jobs go through plain calls.
counting = f"select count(id) from Task where project_id is {project['id']} group by parent_id"
rows = session.call([{"action": "query", "expression": counting}])
assert sorted(row["count_id"] for row in rows[0]["data"]) == [1, 1], rows
operation = {"action": "delayed_job", "job_type": ftrack_api.symbol.JOB_SYNC_USERS_LDAP.name}
job = session.call([operation])[0]["data"]
assert job["status"] == "done"

session.delete(job)
session.delete(project)
session.commit()
assert other.query(f"FileComponent where id is {plate['members'][0]['id']}").first() is None
session.close()
other.close()
