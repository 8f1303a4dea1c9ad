"""What is left of the client's surface: invites, keys, widgets, locations on disk, caches, listeners."""

import os
import pathlib
import tempfile
import time
import uuid

import ftrack_api
import ftrack_api.accessor.disk
import ftrack_api.event.base
import ftrack_api.exception
import ftrack_api.structure.standard
import ftrack_api.symbol
import requests

folder = tempfile.mkdtemp()
options = {"plugin_paths": [], "schema_cache_path": folder}
session = ftrack_api.Session(auto_connect_event_hub=True, **options)
name = f"peer_{uuid.uuid4().hex[:8]}"
# The schema cache of the first session serves the second one: its hash matches.
assert any("schema" in each for each in os.listdir(folder)), os.listdir(folder)
second = ftrack_api.Session(auto_connect_event_hub=False, **options)
assert sorted(second.types) == sorted(session.types)

# Users: invites and keys.
jane = session.create("User", {"username": name, "email": f"{name}@example.com"})
session.commit()
session.send_user_invite(jane)
session.send_user_invites([jane])
jane.send_invite()
key = jane.reset_api_key()
as_jane = ftrack_api.Session(api_user=name, api_key=key, auto_connect_event_hub=False, **options)
assert as_jane.query(f"User where username is {name}").one()["id"] == jane["id"]
try:
    ftrack_api.Session(api_user=name, api_key="wrong", auto_connect_event_hub=False, **options)
except ftrack_api.exception.ServerError as error:
    assert "API key" in str(error), error
else:
    raise AssertionError("a wrong key was let in")

project = session.create(
    "Project",
    {"name": name, "full_name": name, "project_schema": session.query("ProjectSchema").first()},
)
shot = session.create("Shot", {"name": "sh010", "parent": project})
tasks = [session.create("Task", {"name": f"t{number}", "parent": shot}) for number in range(3)]
asset = session.create("Asset", {"name": "plate", "type": session.query("AssetType").first(), "parent": shot})
version = session.create("AssetVersion", {"asset": asset, "task": tasks[0]})
assert set(session.created) >= {shot, version}
session.commit()
assert not session.created

# Widgets.
for widget, entity in (("info", tasks[0]), ("tasks", None), ("tasks_browser", project)):
    assert requests.get(session.get_widget_url(widget, entity, theme="light")).status_code == 200

# What was changed, and taken back.
shot["description"] = "x"
assert list(session.modified) == [shot]
session.delete(tasks[2])
assert list(session.deleted) == [tasks[2]]
session.rollback()
assert not session.modified and not session.deleted and shot["description"] != "x"
with session.operation_recording(False):
    shot["description"] = "nothing recorded"
assert not session.recorded_operations
session.reset()
shot, project = session.get("Shot", shot["id"]), session.get("Project", project["id"])
version = session.get("AssetVersion", version["id"])

# A location on disk, and the way from there to the server.
root = os.path.join(folder, "studio")
os.mkdir(root)
studio = session.ensure("Location", {"name": name})
studio.accessor = ftrack_api.accessor.disk.DiskAccessor(prefix=root)
studio.structure = ftrack_api.structure.standard.StandardStructure()
studio.priority = 10
assert session.pick_location() is studio
sources = []
for number in range(3):
    path = os.path.join(folder, f"plate.{number + 1:04d}.exr")
    with open(path, "wb") as file:
        file.write(bytes([number]) * 1000)
    sources.append(path)
component = version.create_component(
    os.path.join(folder, "plate.%04d.exr [1-3]"), {"name": "main"}, location=studio
)
single = version.create_component(sources[0], {"name": "single"}, location=studio)
path = studio.get_filesystem_path(single)
assert path.startswith(root) and pathlib.Path(path).read_bytes() == bytes(1000)
assert len(studio.get_filesystem_paths([component, single])) == 2
assert studio.get_resource_identifiers([single]) == [studio.get_resource_identifier(single)]
server = session.get("Location", ftrack_api.symbol.SERVER_LOCATION_ID)
server.add_components([component, single], studio)
found = session.get_component_availabilities([component, single], [studio, server])
assert all(each[location["id"]] == 100.0 for each in found for location in (studio, server)), found
assert [location["id"] for location in session.pick_locations([single])] == [studio["id"]]
studio.remove_components([single])
assert not os.path.exists(path)
assert session.get_component_availability(single, [studio, server]) == {
    studio["id"]: 0.0,
    server["id"]: 100.0,
}
try:
    server.add_component(single, studio)
except ftrack_api.exception.ComponentInLocationError:
    pass
else:
    raise AssertionError("a component was added twice")
metadata = session.get_upload_metadata(single["id"], "a.exr", 4, "x")
assert metadata["url"] and metadata["headers"]

# Entities of another session, and values that are asked for late.
merged = second.merge(session.get("Task", tasks[1]["id"]))
assert merged["name"] == "t1" and merged.session is second
second.cache.clear()
with second.auto_populating(False):
    bare = second.query(f"select id from Task where id is {tasks[1]['id']}").one()
    assert bare["name"] is ftrack_api.symbol.NOT_SET
second.populate(bare, "name, parent.name, project.full_name")
assert (bare["name"], bare["parent"]["name"], bare["project"]["full_name"]) == ("t1", "sh010", name)

# Listeners that end, and one that stops the others.
hub = session.event_hub
seen = []


def pump(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, seen
        hub.wait(0.05)


topic = f"peer.{name}"
Event = ftrack_api.event.base.Event
first = hub.subscribe(f"topic={topic}", lambda event: seen.append("first"), priority=10)
last = hub.subscribe(f"topic={topic}", lambda event: seen.append("last"))
hub.publish(Event(topic=topic))
pump(lambda: len(seen) == 2)
hub.unsubscribe(first)
hub.publish(Event(topic=topic))
pump(lambda: len(seen) == 3)
assert seen == ["first", "last", "last"]
hub.unsubscribe(last)
hub.subscribe(f"topic={topic}", lambda event: hub.publish_reply(event, {"by": "hand"}))
hub.publish(Event(topic=topic), on_reply=lambda event: seen.append(event["data"]))
pump(lambda: len(seen) == 4)
assert seen[-1] == {"by": "hand"}
hub.disconnect()
assert not hub.connected

session.delete(project)
session.delete(studio)
session.delete(jane)
session.commit()
for each in (session, second, as_jane):
    each.close()
