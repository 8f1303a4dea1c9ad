"""Whatever is written in whatever order, the published file is what an ordinary one would be."""

import errno
import os
import pathlib
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftrackd.api.accessor import _atomic_file
from ftrackd.api.accessor._atomic_file import PARTIAL_SUFFIX, AtomicFile
from ftrackd.api.data import File

#: Small chunks, so that few operations meet every edge.
CHUNK = 16

operations = st.lists(
    st.one_of(
        st.tuples(
            st.just("write"),
            st.sampled_from([bytes(CHUNK), b"a" * CHUNK, b"bc", b"", bytes(3), bytearray(b"d" * CHUNK)]),
        ),
        st.tuples(st.just("seek"), st.integers(0, 3 * CHUNK)),
        st.tuples(st.just("read"), st.sampled_from([None, 1, CHUNK])),
        st.tuples(st.just("tell"), st.none()),
        st.tuples(st.just("flush"), st.none()),
    ),
    max_size=12,
)


@pytest.fixture
def small_chunks(monkeypatch) -> None:
    monkeypatch.setattr(_atomic_file, "_ZEROS", bytes(CHUNK))


def perform(data: Any, operation: str, argument: Any) -> Any:
    if operation in ("tell", "flush"):
        return getattr(data, operation)()
    return getattr(data, operation)(argument)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=operations)
def test_when_written_in_any_order_then_it_is_as_an_ordinary_file(small_chunks, operations) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ordinary = File(os.path.join(folder, "ordinary"), "w+b")
        atomic = AtomicFile(os.path.join(folder, "atomic"), "w+b")
        for operation in operations:
            assert perform(atomic, *operation) == perform(ordinary, *operation)
        ordinary.close()
        atomic.close()
        assert pathlib.Path(folder, "atomic").read_bytes() == pathlib.Path(folder, "ordinary").read_bytes()
        assert sorted(os.listdir(folder)) == ["atomic", "ordinary"]


def test_when_zeros_are_written_over_data_then_zeros_are_there(small_chunks, tmp_path) -> None:
    """A hole is only a hole where nothing was before."""
    with AtomicFile(str(tmp_path / "file")) as data:
        data.write(b"a" * CHUNK)
        data.seek(0)
        data.write(bytes(CHUNK))
    assert (tmp_path / "file").read_bytes() == bytes(CHUNK)


def partial_of(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}{PARTIAL_SUFFIX}")


def test_when_a_link_is_planted_then_it_is_not_followed(tmp_path) -> None:
    (tmp_path / "victim").write_bytes(b"secret")
    partial_of(tmp_path / "file").symlink_to(tmp_path / "victim")
    with AtomicFile(str(tmp_path / "file")) as data:
        data.write(b"x")
    assert (tmp_path / "victim").read_bytes() == b"secret"
    assert (tmp_path / "file").read_bytes() == b"x"
    assert not (tmp_path / "file").is_symlink()


def test_when_the_partial_has_another_name_too_then_it_is_not_used(tmp_path) -> None:
    """Who kept a second link could change the published file afterwards."""
    partial = partial_of(tmp_path / "file")
    partial.write_bytes(b"")
    os.link(partial, tmp_path / "kept")
    with AtomicFile(str(tmp_path / "file")) as data:
        data.write(b"x")
    assert (tmp_path / "kept").read_bytes() == b""
    assert not os.path.samefile(tmp_path / "file", tmp_path / "kept")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave a file of somebody else")
def test_when_another_user_left_a_partial_then_the_file_is_ours(tmp_path) -> None:
    partial = partial_of(tmp_path / "file")
    partial.write_bytes(b"theirs")
    os.chown(partial, 12345, 12345)
    with AtomicFile(str(tmp_path / "file")) as data:
        data.write(b"x")
    assert (tmp_path / "file").stat().st_uid == 0
    assert partial.read_bytes() == b"theirs"


def test_when_somebody_else_published_meanwhile_then_theirs_stays(tmp_path, monkeypatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    for link in (os.link, refuse):
        monkeypatch.setattr(_atomic_file.os, "link", link)
        name = f"file_{link.__name__}"
        ours, theirs = AtomicFile(str(tmp_path / name)), AtomicFile(str(tmp_path / name))
        for data, content in ((ours, b"ours"), (theirs, b"theirs")):
            data.write(content)
        theirs.close_as_new()
        with pytest.raises(FileExistsError):
            ours.close_as_new()
        assert (tmp_path / name).read_bytes() == b"theirs"
        assert (tmp_path / name).stat().st_nlink == 1
    assert sorted(os.listdir(tmp_path)) == ["file_link", "file_refuse"]


def test_when_killed_with_both_names_then_the_published_file_stays_as_it_is(tmp_path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for expected in (b"published", b"replaced"):
        (folder / "file").write_bytes(b"published")
        os.link(folder / "file", partial_of(folder / "file"))
        if expected == b"replaced":
            with AtomicFile(str(folder / "file")) as data:
                data.write(b"replaced")
        else:
            assert _atomic_file.remove_abandoned_partials(str(folder))
        assert os.listdir(folder) == ["file"]
        assert (folder / "file").read_bytes() == expected


def test_when_there_are_no_locks_then_every_attempt_has_its_own_name(tmp_path, monkeypatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_atomic_file.fcntl, "flock", refuse)
    first, second = AtomicFile(str(tmp_path / "file")), AtomicFile(str(tmp_path / "file"))
    first.write(b"first")
    second.write(b"second")
    second.close()
    first.close()
    assert (tmp_path / "file").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]
    assert not _atomic_file.remove_abandoned_partials(str(tmp_path))
