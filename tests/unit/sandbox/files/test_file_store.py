"""Bytes on disk: complete or absent."""

import base64
import hashlib
import os

import pytest

from ftrackd.sandbox.errors import ValidationError
from ftrackd.sandbox.files.store import COPY_BYTES, FileStore, UploadError


@pytest.fixture
def files(tmp_path):
    return FileStore(tmp_path / "files")


def written(files):
    """Return every file below the store's root."""
    root = files.path("x").parent.parent
    return sorted(name for _, _, names in os.walk(root) for name in names)


def md5(content):
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def test_when_put_then_read_and_removed(files):
    files.put("c1", b"abc")
    assert files.exists("c1")
    assert files.path("c1").read_bytes() == b"abc"
    assert files.remove("c1") is True
    assert files.remove("c1") is False
    assert not files.exists("c1")


@pytest.mark.parametrize(
    ("size", "checksum", "content"),
    [(4, None, b"abc"), (2, None, b"abc"), (3, md5(b"abd"), b"abc"), (None, md5(b"abd"), b"abc")],
)
def test_when_upload_differs_from_its_announcement_then_the_earlier_bytes_stay(
    files, size, checksum, content
):
    files.put("c1", b"before")
    upload = files.begin("c1", size=size, checksum=checksum)
    with pytest.raises(UploadError):
        upload.write(content)
        upload.finish()
    upload.discard()
    assert files.path("c1").read_bytes() == b"before"
    assert written(files) == ["c1"]


def test_when_upload_is_as_announced_then_stored(files):
    upload = files.begin("c1", size=3, checksum=md5(b"abc"))
    upload.write(b"a")
    upload.write(b"bc")
    assert upload.finish() == hashlib.md5(b"abc").hexdigest()
    upload.discard()
    assert files.path("c1").read_bytes() == b"abc"


def test_when_parts_complete_then_joined_in_order_of_number(files):
    upload_id = files.begin_parts()
    tags = {}
    for number in (3, 1, 2):
        part = files.begin_part(upload_id, number)
        part.write(b"%d" % number * 5)
        tags[number] = part.finish()
    files.complete_parts(upload_id, "c1", [(2, tags[2]), (3, f'"{tags[3]}"'), (1, tags[1])])
    assert files.path("c1").read_bytes() == b"111112222233333"
    assert written(files) == ["c1"]
    with pytest.raises(UploadError, match="no upload"):
        files.complete_parts(upload_id, "c1", [(1, tags[1])])


def test_when_content_has_holes_then_they_take_no_space(files):
    """Five gigabytes of nothing must not cost five gigabytes, nor the time to write them twice."""
    chunks = [bytes(COPY_BYTES), bytes(COPY_BYTES), b"end"]
    upload_id = files.begin_parts()
    part = files.begin_part(upload_id, 1)
    for chunk in chunks:
        part.write(chunk)
    tag = part.finish()
    assert tag == hashlib.md5(b"".join(chunks)).hexdigest()
    files.complete_parts(upload_id, "c1", [(1, tag)])
    assert files.path("c1").read_bytes() == b"".join(chunks)
    assert files.path("c1").stat().st_blocks * 512 < 200_000


def test_when_a_part_is_missing_or_differs_then_nothing_is_stored_and_parts_stay(files):
    upload_id = files.begin_parts()
    part = files.begin_part(upload_id, 1)
    part.write(b"one")
    tag = part.finish()
    with pytest.raises(UploadError, match="Part 2 was not uploaded"):
        files.complete_parts(upload_id, "c1", [(1, tag), (2, tag)])
    with pytest.raises(UploadError, match="differs"):
        files.complete_parts(upload_id, "c1", [(1, "0" * 32)])
    with pytest.raises(UploadError, match="twice"):
        files.complete_parts(upload_id, "c1", [(1, tag), (1, tag)])
    assert not files.exists("c1")
    files.complete_parts(upload_id, "c1", [(1, tag)])
    assert files.path("c1").read_bytes() == b"one"


@pytest.mark.parametrize("identifier", ["", "..", "../x", "a/b", "a\x00b", "a" * 65, "ä"])
def test_when_id_could_leave_the_folder_then_refused(files, identifier):
    for action in (files.path, files.begin, files.remove, files.exists):
        with pytest.raises(ValidationError):
            action(identifier)
    with pytest.raises((ValidationError, UploadError)):
        files.begin_part(identifier, 1)


@pytest.mark.parametrize("number", [0, -1, 10_001])
def test_when_part_number_is_out_of_range_then_refused(files, number):
    with pytest.raises(ValidationError):
        files.begin_part(files.begin_parts(), number)


def test_when_bytes_come_with_the_installation_then_stored_when_needed_and_gone_once_removed(tmp_path):
    files = FileStore(tmp_path, lambda component_id: b"supplied" if component_id == "c1" else None)
    assert files.exists("c1")
    assert files.path("c1").read_bytes() == b"supplied"
    assert not files.exists("c2")
    assert files.remove("c2") is False
    assert files.remove("c1") is True
    assert not files.exists("c1")
    assert not FileStore(tmp_path, lambda component_id: b"supplied").exists("c1")
    files.put("c1", b"uploaded")
    assert files.path("c1").read_bytes() == b"uploaded"


def test_when_bytes_come_with_the_installation_then_an_upload_replaces_them(tmp_path):
    files = FileStore(tmp_path, lambda component_id: b"supplied")
    files.put("c1", b"uploaded")
    assert files.exists("c1")
    assert files.path("c1").read_bytes() == b"uploaded"
