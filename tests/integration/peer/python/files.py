"""Components, uploads, downloads, thumbnails and encoding."""

import base64
import json
import os
import tempfile
import time
import uuid

import ftrack_api
import ftrack_api.symbol
import requests

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAAAkCAIAAAC2bqvFAAAARklEQVR4nO3PMQ0AIADAMEAI/qUgCxEcDcmqYJtn7/GzpQNeNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oF19NwFMds8sdwAAAABJRU5ErkJggg=="
)

session = ftrack_api.Session(auto_connect_event_hub=False, plugin_paths=[], schema_cache_path=False)
name = f"peer_{uuid.uuid4().hex[:8]}"
project = session.create(
    "Project",
    {"name": name, "full_name": name, "project_schema": session.query("ProjectSchema").first()},
)
asset = session.create(
    "Asset", {"name": "media", "type": session.query("AssetType").first(), "parent": project}
)
version = session.create("AssetVersion", {"asset": asset})
session.commit()

folder = tempfile.mkdtemp()
path = os.path.join(folder, "picture.png")
with open(path, "wb") as file:
    file.write(PICTURE)
data = os.path.join(folder, "large.bin")
with open(data, "wb") as file:
    file.write(os.urandom(5_000_000))

server = session.get("Location", ftrack_api.symbol.SERVER_LOCATION_ID)
for source in (path, data):
    component = version.create_component(source, {"name": os.path.basename(source)}, location=server)
    assert component.get_availability([server])[server["id"]] == 100.0
    url = server.get_url(component)
    answer = requests.get(url)
    answer.raise_for_status()
    with open(source, "rb") as file:
        content = file.read()
    assert answer.content == content
    part = requests.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    stored = server.accessor.open(server.get_resource_identifier(component), "rb")
    assert stored.read() == content
    stored.close()

fetched = ftrack_api.Session(auto_connect_event_hub=False, plugin_paths=[], schema_cache_path=False)
component = fetched.query(
    f"select component_locations.url from FileComponent where id is {component['id']}"
).one()
assert requests.get(component["component_locations"][0]["url"]["url"]).content == content

# Thumbnails.
thumbnail = version.create_thumbnail(path)
session.commit()
seen = fetched.query(
    f"select thumbnail_id, thumbnail_url from AssetVersion where id is {version['id']}"
).one()
assert seen["thumbnail_id"] == thumbnail["id"]
answer = requests.get(seen["thumbnail_url"]["url"])
assert answer.headers["content-type"].startswith("image/"), answer.text
answer = requests.get(server.get_thumbnail_url(thumbnail, size=1))
assert answer.status_code == 200 and answer.headers["content-type"].startswith("image/")

# Removing the bytes.
server.remove_component(component := session.get("FileComponent", component["id"]))
assert requests.get(server.accessor.get_url(component["id"])).status_code >= 400

# Encoding.
job = session.encode_media(path, version_id=version["id"])
described = json.loads(job["data"])
assert described["output"] and described["source_component_id"]
deadline = time.monotonic() + 10
while True:
    status = fetched.query(f"select status from Job where id is {job['id']}").one()
    fetched.populate([status], "status")
    fetched.cache.clear()
    if status["status"] in ("done", "failed") or time.monotonic() > deadline:
        break
    time.sleep(0.05)
assert status["status"] == "done", status["status"]
names = {component["name"] for component in fetched.query(f"Component where version_id is {version['id']}")}
assert "ftrackreview-image" in names and "thumbnail" in names, names
review = fetched.query(
    f"select metadata from Component where version_id is {version['id']} and name is ftrackreview-image"
).one()
assert json.loads(review["metadata"]["ftr_meta"])["format"] == "image"
for output in fetched.query(f"select job_components.url from Job where id is {job['id']}").one()[
    "job_components"
]:
    assert requests.get(output["url"]["url"]).status_code == 200

session.delete(project)
session.commit()
session.close()
fetched.close()
