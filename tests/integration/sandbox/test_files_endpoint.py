"""Upload, download, remove, thumbnails and encoding over HTTP."""

import base64
import hashlib
import io
import json
import os
import socket
import struct

import pytest
from PIL import Image

from ftrackd.testing.sandbox import SandboxProcess

from .conftest import (
    PICTURE,
    create,
    credentials,
    delete,
    new_id,
    post,
    query,
    request,
    wait_for,
)

SERVER_LOCATION = "3a372bde-05bc-11e4-8908-20c9d081909b"


@pytest.fixture
def component(server):
    """Provide the id of a FileComponent."""
    component_id = new_id()
    server.call(create("FileComponent", {"id": component_id, "name": "plate ü", "file_type": ".png"}))
    yield component_id
    server.call(delete("FileComponent", component_id))


def upload_metadata(server, component_id, content, **members):
    operation = {
        "action": "get_upload_metadata",
        "component_id": component_id,
        "file_name": "plate.png",
        "file_size": len(content),
        "checksum": base64.b64encode(hashlib.md5(content).digest()).decode(),
    }
    return server.call({**operation, **members})[0]


def put(server, metadata, content):
    return request(server, metadata["url"], method="PUT", body=content, headers=metadata["headers"])


def upload(server, component_id, content):
    status, _, body = put(server, upload_metadata(server, component_id, content), content)
    assert status == 200, body


def signed(server, component_id):
    return server.call({"action": "_generate_signed_url", "component_id": component_id})[0]["signed_url"]


def download(server, component_id, **headers):
    path = f"/component/get?id={component_id}&username={server.api_user}&apiKey={server.api_key}"
    return request(server, path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_when_uploaded_then_downloaded_with_name_and_type(server, component):
    metadata = upload_metadata(server, component, PICTURE)
    assert metadata["component_id"] == component
    assert metadata["headers"]["Content-Type"] == "image/png"
    status, headers, _ = put(server, metadata, PICTURE)
    assert status == 200
    assert headers["etag"].strip('"') == hashlib.md5(PICTURE).hexdigest()
    status, headers, body = download(server, component)
    assert (status, body) == (200, PICTURE)
    assert headers["content-type"] == "image/png"
    assert "plate%20%C3%BC.png" in headers["content-disposition"]


def test_when_only_the_bytes_exist_then_they_are_served(server):
    """The byte store is keyed by component id alone."""
    component_id = new_id()
    upload(server, component_id, b"no row")
    assert download(server, component_id)[2] == b"no row"


def test_when_uploaded_again_then_the_new_bytes_count(server, component):
    upload(server, component, PICTURE)
    thumbnail = f"/component/thumbnail?id={component}&size=10"
    assert request(server, thumbnail, headers=credentials(server))[0] == 200
    buffer = io.BytesIO()
    Image.new("RGB", (10, 40)).save(buffer, "PNG")
    upload(server, component, buffer.getvalue())
    assert download(server, component)[2] == buffer.getvalue()
    body = request(server, thumbnail, headers=credentials(server))[2]
    assert Image.open(io.BytesIO(body)).size == (2, 10)


@pytest.mark.parametrize("change", ["content", "length", "short"])
def test_when_upload_differs_from_its_announcement_then_rejected(server, component, change):
    upload(server, component, b"before")
    metadata = upload_metadata(server, component, b"abc")
    content = {"content": b"abd", "length": b"abcd", "short": b"ab"}[change]
    metadata["headers"]["Content-Length"] = str(len(content))
    status, _, body = put(server, metadata, content)
    assert status == 400
    assert json.loads(body)["exception"] == "UploadError"
    assert download(server, component)[2] == b"before"


def test_when_connection_breaks_during_an_upload_then_the_earlier_bytes_stay(server, component):
    upload(server, component, b"before")
    metadata = upload_metadata(server, component, b"x" * 1000)
    host, _, path = metadata["url"].partition("//")[2].partition("/")
    with socket.create_connection(tuple(host.split(":")), timeout=5) as connection:
        head = f"PUT /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 500)
    assert download(server, component)[2] == b"before"
    upload(server, component, b"after")
    assert download(server, component)[2] == b"after"
    assert "failed inside" not in server.log


def test_when_upload_address_is_forged_or_missing_then_refused(server, component):
    metadata = upload_metadata(server, component, b"abc")
    for address in (
        metadata["url"].replace(component, new_id()),
        server.url + f"/component/upload?id={component}",
    ):
        assert request(server, address, method="PUT", body=b"abc", headers=credentials(server))[0] == 403


def test_when_uploaded_in_parts_then_joined(server, component):
    chunks = [os.urandom(100_000) for _ in range(3)]
    content = b"".join(chunks)
    answer = upload_metadata(server, component, content, checksum=None, parts=3)
    assert [url["part_number"] for url in answer["urls"]] == [1, 2, 3]
    parts = []
    for url in reversed(answer["urls"]):
        number = url["part_number"]
        origin = {"Origin": "http://studio.example"}
        status, headers, _ = request(
            server, url["signed_url"], method="PUT", body=chunks[number - 1], headers=origin
        )
        assert status == 200
        assert "etag" in headers["access-control-expose-headers"].lower()
        parts.append({"part_number": number, "e_tag": headers["etag"].replace('"', "")})
    done, _ = server.call(
        {
            "action": "complete_multipart_upload",
            "upload_id": answer["upload_id"],
            "component_id": component,
            "parts": sorted(parts, key=lambda part: part["part_number"]),
        },
        create(
            "ComponentLocation",
            {"component_id": component, "resource_identifier": component, "location_id": SERVER_LOCATION},
        ),
    )
    assert done["component_id"] == component
    assert request(server, done["url"])[2] == content


def test_when_a_part_is_missing_then_completing_fails(server, component):
    answer = upload_metadata(server, component, b"abc", parts=2)
    operation = {
        "action": "complete_multipart_upload",
        "upload_id": answer["upload_id"],
        "component_id": component,
        "parts": [{"part_number": 1, "e_tag": "x"}],
    }
    _, error = post(server, [operation])
    assert error["exception"] == "UploadError"
    for parts in ([], None, [1], [{"part_number": "1", "e_tag": "x"}]):
        _, error = post(server, [{**operation, "parts": parts}])
        assert error["exception"] == "ValidationError"


@pytest.mark.parametrize(
    ("asked", "status", "expected", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=8-100", 206, b"89", "bytes 8-9/10"),
        ("bytes=20-30", 416, None, None),
    ],
)
def test_when_a_range_is_asked_for_then_only_that(server, component, asked, status, expected, content_range):
    upload(server, component, b"0123456789")
    answered, headers, body = download(server, component, Range=asked)
    assert answered == status
    if expected is not None:
        assert body == expected
        assert headers["content-range"] == content_range


@pytest.mark.parametrize(
    "asked",
    ["bytes=x", "bytes=", "bytes=-", "bytes=5-2", "bytes=20-3", "bytes=0-1,x", "lines=1-2", "nothing"],
)
def test_when_a_range_is_malformed_then_it_is_ignored_and_the_whole_comes(server, component, asked):
    upload(server, component, b"0123456789")
    answered, headers, body = download(server, component, Range=asked)
    assert (answered, body) == (200, b"0123456789")
    assert "content-range" not in headers


def test_when_removed_then_gone(server, component):
    upload(server, component, b"abc")
    path = f"/component/remove?id={component}&username={server.api_user}&apiKey={server.api_key}"
    assert request(server, path, method="HEAD")[0] == 405
    assert download(server, component)[0] == 200
    assert request(server, path)[0] == 200
    status, _, body = download(server, component)
    assert status == 404
    assert json.loads(body)["content"]
    assert request(server, path)[0] == 404


@pytest.mark.parametrize("path", ["get", "thumbnail", "remove"])
def test_when_credentials_are_wrong_then_refused(server, component, path):
    upload(server, component, PICTURE)
    for query_string in ("", f"&username={server.api_user}&apiKey=wrong", "&expires=9999999999&signature=x"):
        status, _, body = request(server, f"/component/{path}?id={component}{query_string}")
        assert status in (401, 403)
        assert json.loads(body)["exception"]
    assert download(server, component)[0] == 200


@pytest.mark.parametrize("identifier", ["", "../../../etc/passwd", "a%2Fb", "x" * 100])
def test_when_id_is_none_then_refused(server, identifier):
    for path in ("get", "thumbnail", "remove"):
        address = f"/component/{path}?id={identifier}"
        assert request(server, address, headers=credentials(server))[0] == 422


def test_when_address_is_signed_then_no_credentials_are_needed_and_forgeries_fail(server, component):
    upload(server, component, PICTURE)
    address = signed(server, component)
    assert address.startswith(server.url)
    assert request(server, address)[2] == PICTURE
    other = new_id()
    upload(server, other, b"secret")
    assert request(server, address.replace(component, other))[0] == 403
    assert request(server, address.replace("/component/get", "/component/remove"))[0] in (401, 403)


def test_when_answers_hold_addresses_then_they_can_be_fetched(server, component, project):
    upload(server, component, PICTURE)
    location = {"component_id": component, "resource_identifier": component, "location_id": SERVER_LOCATION}
    server.call(
        create("ComponentLocation", location),
        {
            "action": "update",
            "entity_type": "Project",
            "entity_key": [project],
            "entity_data": {"thumbnail_id": component},
        },
    )
    found = server.call(
        query(f"select thumbnail_url from Project where id is {project}"),
        query(f"select component_locations.url from FileComponent where id is {component}"),
    )
    thumbnail = found[0]["data"][0]["thumbnail_url"]["url"]
    assert Image.open(io.BytesIO(request(server, thumbnail)[2])).size == (64, 36)
    assert Image.open(io.BytesIO(request(server, thumbnail + "&size=16")[2])).size == (16, 9)
    url = found[1]["data"][0]["component_locations"][0]["url"]["url"]
    assert request(server, url)[2] == PICTURE


def test_when_signed_addresses_expire_then_they_are_refused():
    with SandboxProcess(seed="none", options=["--link-lifetime", "0.3"]) as process:
        component_id = new_id()
        metadata = upload_metadata(process, component_id, b"abc")
        assert put(process, metadata, b"abc")[0] == 200
        address = signed(process, component_id)
        wait_for(lambda: request(process, address)[0] == 403, "the address to expire")


def test_when_no_picture_then_the_default_one(server, component):
    upload(server, component, b"no picture")
    for path in (f"/component/thumbnail?id={component}", "/img/thumbnail2.png"):
        status, headers, body = request(server, path, headers=credentials(server))
        assert status == 200
        assert headers["content-type"].startswith("image/")
        assert Image.open(io.BytesIO(body)).width > 0
    path = f"/component/thumbnail?id={new_id()}"
    assert request(server, path, headers=credentials(server))[0] == 404


@pytest.mark.parametrize("size", ["0", "-1", "x", "99999999"])
def test_when_size_is_nonsense_then_refused(server, component, size):
    path = f"/component/thumbnail?id={component}&size={size}"
    assert request(server, path, headers=credentials(server))[0] == 422


def finished(server, job_id):
    """Return the job once it is done or failed."""

    def look():
        (job,) = server.call(query(f"select status, data, job_components from Job where id is {job_id}"))[0][
            "data"
        ]
        return job if job["status"] in ("done", "failed") else None

    return wait_for(look, "the job to end")


@pytest.mark.parametrize(
    ("file_type", "content", "review", "media"),
    [(".png", PICTURE, "ftrackreview-image", "image"), (".mov", b"moving", "ftrackreview-mp4", "video")],
)
@pytest.mark.parametrize("keep", [True, False])
def test_when_media_are_encoded_then_review_components_appear(
    server, project, file_type, content, review, media, keep
):
    asset_type = server.call(query("select id from AssetType limit 1"))[0]["data"][0]["id"]
    asset, version, source = new_id(), new_id(), new_id()
    server.call(
        create("Asset", {"id": asset, "name": "a", "context_id": project, "type_id": asset_type}),
        create("AssetVersion", {"id": version, "asset_id": asset}),
        create("FileComponent", {"id": source, "name": "source", "file_type": file_type}),
    )
    upload(server, source, content)
    operation = {
        "action": "encode_media",
        "component_id": source,
        "version_id": version,
        "keep_original": keep,
    }
    job = finished(server, server.call(operation)[0]["job_id"])
    assert job["status"] == "done"
    described = json.loads(job["data"])
    assert described["source_component_id"] == source
    assert described["keep_original"] is keep
    assert {output["format"].partition("/")[0] for output in described["output"]} == {media, "image"}
    assert {each["component_id"] for each in job["job_components"]} == {
        output["component_id"] for output in described["output"]
    }
    rows = server.call(
        query(
            "select name, metadata, component_locations.location_id from FileComponent "
            f"where version_id is {version}"
        ),
        query(f"select thumbnail_id from AssetVersion where id is {version}"),
        query(f"FileComponent where id is {source}"),
    )
    by_name = {row["name"]: row for row in rows[0]["data"]}
    assert set(by_name) == {review, "thumbnail"}
    metadata = {each["key"]: each["value"] for each in by_name[review]["metadata"]}
    described = json.loads(metadata["ftr_meta"])
    assert {"width", "height"} <= set(described)
    assert by_name[review]["component_locations"][0]["location_id"] == SERVER_LOCATION
    assert rows[1]["data"][0]["thumbnail_id"] == by_name["thumbnail"]["id"]
    assert bool(rows[2]["data"]) is keep
    stored = download(server, by_name[review]["id"])[2]
    assert stored == content if media == "video" else Image.open(io.BytesIO(stored)).size == (64, 36)


#: The head of a DDS file whose pixel format Pillow does not know.
UNKNOWN_PIXELS = b"DDS " + struct.pack("<3I", 124, 0x1007, 20) + struct.pack("<I", 40) + bytes(56)
UNKNOWN_PIXELS += struct.pack("<2I", 32, 0) + bytes(44)


@pytest.mark.parametrize(
    ("file_type", "content"),
    [(".txt", b"text"), (".png", b"no picture"), (".png", None), (".png", UNKNOWN_PIXELS)],
)
def test_when_media_cannot_be_encoded_then_the_job_fails_with_the_reason(server, file_type, content):
    source = new_id()
    server.call(create("FileComponent", {"id": source, "name": "source", "file_type": file_type}))
    if content is not None:
        upload(server, source, content)
    operation = {"action": "encode_media", "component_id": source, "version_id": None, "keep_original": True}
    job = finished(server, server.call(operation)[0]["job_id"])
    assert job["status"] == "failed"
    assert len(json.loads(job["data"])["description"]) > 10
    assert server.call(query(f"FileComponent where id is {source}"))[0]["data"]
