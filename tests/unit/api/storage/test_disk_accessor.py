"""The disk accessor stays inside its prefix, and files appear whole or not at all."""

import errno
import os
import pathlib
import stat
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.api import exception, symbol
from ftrackd.api.accessor._atomic_file import PARTIAL_SUFFIX
from ftrackd.api.accessor.disk import DiskAccessor, error_handler
from ftrackd.api.data import String


@pytest.fixture
def prefix(tmp_path) -> pathlib.Path:
    folder = tmp_path / "prefix"
    folder.mkdir()
    return folder


@pytest.fixture
def accessor(prefix) -> DiskAccessor:
    return DiskAccessor(str(prefix))


def write(accessor: DiskAccessor, identifier: str, content: bytes) -> None:
    with accessor.open(identifier, "wb") as data:
        data.write(content)


class TestPaths:
    @pytest.mark.parametrize(
        "identifier",
        [
            "../outside",
            "a/../../outside",
            "/etc/passwd",
            "..",
            "../prefix-of-another/file",
            "../prefixed",
            "a\0b",
            "lone\ud800surrogate",
        ],
    )
    def test_when_identifier_leads_out_then_it_is_refused(self, accessor, prefix, identifier) -> None:
        (prefix.parent / "prefixed").write_text("not ours")
        for operation in (
            accessor.get_filesystem_path,
            accessor.exists,
            accessor.open,
            accessor.remove,
            accessor.list,
            accessor.make_container,
            accessor.get_container,
        ):
            with pytest.raises(exception.AccessorFilesystemPathError) as caught:
                operation(identifier)
            assert caught.value.details["resource_identifier"] == identifier

    def test_when_a_link_leads_out_then_it_is_refused(self, accessor, prefix, tmp_path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_text("secret")
        (prefix / "link").symlink_to(outside)
        (prefix / "file").symlink_to(outside / "secret")
        (prefix / "dangling").symlink_to(outside / "new")
        for identifier in ("link/secret", "link/new", "file", "dangling", "link"):
            with pytest.raises(exception.AccessorFilesystemPathError):
                accessor.open(identifier, "wb")
        assert (outside / "secret").read_text() == "secret"
        assert not (outside / "new").exists()

    def test_when_a_link_stays_inside_then_its_target_is_written(self, accessor, prefix) -> None:
        (prefix / "real").write_text("old")
        (prefix / "link").symlink_to(prefix / "real")
        write(accessor, "link", b"new")
        assert (prefix / "link").is_symlink()
        assert (prefix / "real").read_text() == "new"

    def test_when_the_prefix_is_a_link_then_it_works(self, prefix, tmp_path) -> None:
        link = tmp_path / "link"
        link.symlink_to(prefix)
        accessor = DiskAccessor(str(link))
        write(accessor, "file", b"x")
        assert (prefix / "file").read_bytes() == b"x"
        assert accessor.get_filesystem_path("file") == str(link / "file")

    def test_when_identifier_is_absolute_and_inside_then_it_is_accepted(self, accessor, prefix) -> None:
        assert accessor.get_filesystem_path(str(prefix / "a" / "b")) == str(prefix / "a" / "b")
        assert accessor.get_filesystem_path("a/../b") == str(prefix / "b")

    def test_when_prefix_is_empty_then_any_path_is_reached(self, tmp_path) -> None:
        accessor = DiskAccessor("")
        assert accessor.get_filesystem_path(str(tmp_path / "x" / ".." / "y")) == str(tmp_path / "y")
        write(accessor, str(tmp_path / "file"), b"x")
        assert accessor.exists(str(tmp_path / "file"))

    def test_when_prefix_has_variables_then_they_are_expanded(self, prefix, monkeypatch) -> None:
        monkeypatch.setenv("STUDIO_DISK", str(prefix))
        assert DiskAccessor("$STUDIO_DISK/x").prefix == str(prefix / "x")
        monkeypatch.setenv("HOME", str(prefix))
        assert DiskAccessor("~/x").prefix == str(prefix / "x")

    def test_when_prefix_changes_then_it_applies_at_once(self, accessor, tmp_path) -> None:
        accessor.prefix = str(tmp_path / "other") + "/"
        assert accessor.get_filesystem_path("file") == str(tmp_path / "other" / "file")

    def test_when_constructor_was_not_called_then_the_prefix_is_enough(self, tmp_path) -> None:
        class PerforceAccessor(DiskAccessor):
            def __init__(self) -> None:
                self.prefix = str(tmp_path)

        accessor = PerforceAccessor()
        write(accessor, "file", b"x")
        assert accessor.list("") == ["file"]
        assert accessor.get_container("a/b") == "a"

    def test_when_prefix_is_the_root_then_paths_are_inside(self, tmp_path) -> None:
        accessor = DiskAccessor("/")
        assert accessor.get_filesystem_path(str(tmp_path)[1:]) == str(tmp_path)
        assert accessor.get_container("etc/passwd") == "etc"

    @given(st.lists(st.sampled_from(["a", "b", "..", ".", "", "/", "prefix", "../prefix"]), max_size=8))
    def test_when_identifier_is_anything_then_the_path_is_inside_or_refused(self, parts) -> None:
        accessor = DiskAccessor("/nowhere/prefix")
        try:
            path = accessor.get_filesystem_path("/".join(parts))
        except exception.AccessorFilesystemPathError:
            return
        assert path == "/nowhere/prefix" or path.startswith("/nowhere/prefix/")
        assert ".." not in path.split("/")

    def test_when_container_is_asked_then_it_is_relative_to_the_prefix(self, accessor, prefix) -> None:
        assert accessor.get_container("a/b/c") == "a/b"
        assert accessor.get_container("a") == ""
        assert accessor.get_container(str(prefix / "a" / "b")) == "a"
        with pytest.raises(exception.AccessorParentResourceNotFoundError):
            accessor.get_container("")


class TestResources:
    def test_when_files_and_folders_exist_then_they_are_told_apart(self, accessor) -> None:
        accessor.make_container("folder/sub")
        write(accessor, "folder/file", b"x")
        assert accessor.is_container("folder") and not accessor.is_file("folder")
        assert accessor.is_file("folder/file") and not accessor.is_container("folder/file")
        assert not accessor.exists("missing")
        assert sorted(accessor.list("folder")) == ["folder/file", "folder/sub"]
        with pytest.raises(exception.AccessorUnsupportedOperationError):
            accessor.is_sequence("folder")
        with pytest.raises(exception.AccessorUnsupportedOperationError):
            accessor.get_url("folder")

    def test_when_a_container_exists_then_making_it_does_nothing(self, accessor) -> None:
        accessor.make_container("a/b")
        accessor.make_container("a/b")
        accessor.make_container("a/b", recursive=False)
        assert accessor.is_container("a/b")

    def test_when_a_parent_is_missing_then_only_recursive_making_works(self, accessor) -> None:
        with pytest.raises(exception.AccessorParentResourceNotFoundError):
            accessor.make_container("a/b", recursive=False)
        accessor.make_container("a/b")

    def test_when_a_file_is_in_the_way_then_the_resource_is_invalid(self, accessor) -> None:
        write(accessor, "file", b"x")
        with pytest.raises(exception.AccessorResourceInvalidError):
            accessor.make_container("file")
        with pytest.raises(exception.AccessorResourceInvalidError):
            accessor.open("file/below")

    def test_when_there_is_nothing_then_it_is_not_found(self, accessor) -> None:
        for operation in (accessor.open, accessor.remove, accessor.list):
            with pytest.raises(exception.AccessorResourceNotFoundError, match="missing"):
                operation("missing")
        with pytest.raises(exception.AccessorResourceNotFoundError):
            accessor.open("missing/file", "wb")

    def test_when_a_folder_is_opened_then_the_resource_is_invalid(self, accessor) -> None:
        accessor.make_container("folder")
        for mode in ("rb", "wb"):
            with pytest.raises(exception.AccessorResourceInvalidError):
                accessor.open("folder", mode)

    def test_when_removed_then_it_is_gone(self, accessor) -> None:
        write(accessor, "folder_file", b"x")
        accessor.remove("folder_file")
        accessor.make_container("folder")
        accessor.remove_container("folder")
        assert accessor.list("") == []

    def test_when_a_container_holds_something_then_it_is_not_removed(self, accessor) -> None:
        accessor.make_container("folder")
        write(accessor, "folder/file", b"x")
        with pytest.raises(exception.AccessorContainerNotEmptyError):
            accessor.remove("folder")

    def test_when_a_link_to_a_folder_is_removed_then_the_folder_stays(self, accessor, prefix) -> None:
        accessor.make_container("folder")
        (prefix / "link").symlink_to(prefix / "folder")
        accessor.remove("link")
        assert accessor.is_container("folder")
        assert not accessor.exists("link")

    @pytest.mark.parametrize(
        ("number", "expected"),
        [
            (errno.ENOENT, exception.AccessorResourceNotFoundError),
            (errno.EPERM, exception.AccessorPermissionDeniedError),
            (errno.EACCES, exception.AccessorPermissionDeniedError),
            (errno.EROFS, exception.AccessorPermissionDeniedError),
            (errno.ENOTEMPTY, exception.AccessorContainerNotEmptyError),
            (errno.ENOTDIR, exception.AccessorResourceInvalidError),
            (errno.EISDIR, exception.AccessorResourceInvalidError),
            (errno.EINVAL, exception.AccessorResourceInvalidError),
            (errno.ENOSPC, exception.AccessorOperationFailedError),
        ],
    )
    def test_when_the_system_reports_an_error_then_it_has_its_type(self, number, expected) -> None:
        with pytest.raises(expected) as caught, error_handler(operation="open", resource_identifier="x"):
            raise OSError(number, os.strerror(number))
        assert type(caught.value) is expected
        assert caught.value.details["resource_identifier"] == "x"
        assert isinstance(caught.value.__cause__, OSError)
        says_it_all = number in (errno.ENOENT, errno.ENOTEMPTY)
        assert str(caught.value).count(os.strerror(number)) == (0 if says_it_all else 1)


class TestWriting:
    def test_when_not_closed_yet_then_there_is_no_file(self, accessor, prefix) -> None:
        data = accessor.open("file", "wb")
        data.write(b"half")
        data.flush()
        assert not accessor.exists("file")
        assert accessor.list("") == []
        data.close()
        assert (prefix / "file").read_bytes() == b"half"
        assert os.listdir(prefix) == ["file"]

    def test_when_published_then_the_names_are_on_the_disk_too(self, accessor, prefix, monkeypatch) -> None:
        synced = []
        fsync = os.fsync

        def record(descriptor: int) -> None:
            synced.append((os.fstat(descriptor).st_ino, (prefix / "a" / "b" / "file").exists()))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", record)
        accessor.make_container("a/b")
        assert {number for number, _ in synced} == {prefix.stat().st_ino, (prefix / "a").stat().st_ino}
        synced.clear()
        with accessor.open("a/b/file", "wb") as data:
            data.write(b"content")
        file, folder = (prefix / "a" / "b" / "file").stat().st_ino, (prefix / "a" / "b").stat().st_ino
        assert synced == [(file, False), (folder, True)]

    def test_when_a_folder_cannot_be_synced_then_the_file_is_published_unless_the_disk_fails(
        self, accessor, prefix, monkeypatch
    ) -> None:
        fsync = os.fsync

        def refuse(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(number, os.strerror(number))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", refuse)
        number = errno.EINVAL
        with accessor.open("file", "wb") as data:
            data.write(b"content")
        number = errno.EIO
        with pytest.raises(OSError), accessor.open("other", "wb") as data:
            data.write(b"content")
        assert (prefix / "file").read_bytes() == b"content"

    def test_when_discarded_then_the_old_file_stays_and_nothing_else(self, accessor, prefix) -> None:
        write(accessor, "file", b"old")
        data = accessor.open("file", "wb")
        data.write(b"new")
        data.discard()
        data.close()
        assert (prefix / "file").read_bytes() == b"old"
        assert os.listdir(prefix) == ["file"]

    def test_when_replaced_then_permissions_are_kept(self, accessor, prefix) -> None:
        write(accessor, "file", b"old")
        os.chmod(prefix / "file", 0o640)
        write(accessor, "file", b"new")
        assert stat.S_IMODE(os.stat(prefix / "file").st_mode) == 0o640

    def test_when_new_then_permissions_follow_the_umask(self, accessor, prefix) -> None:
        umask = os.umask(0o027)
        try:
            write(accessor, "file", b"x")
        finally:
            os.umask(umask)
        assert stat.S_IMODE(os.stat(prefix / "file").st_mode) == 0o640

    def test_when_dropped_without_closing_then_it_is_published_as_python_does(self, accessor, prefix) -> None:
        data = accessor.open("file", "wb")
        data.write(b"x")
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del data
        assert (prefix / "file").read_bytes() == b"x"

    def test_when_two_write_at_once_then_neither_spoils_the_other(self, accessor, prefix) -> None:
        first, second = accessor.open("file", "wb"), accessor.open("file", "wb")
        first.write(b"first")
        second.write(b"second")
        first.close()
        assert (prefix / "file").read_bytes() == b"first"
        second.close()
        assert (prefix / "file").read_bytes() == b"second"
        assert os.listdir(prefix) == ["file"]

    def test_when_many_write_at_once_then_the_file_is_always_whole(self, accessor, prefix) -> None:
        contents = [bytes([number]) * 100_000 for number in range(8)]

        def rewrite(content: bytes) -> None:
            for _ in range(20):
                write(accessor, "file", content)

        threads = [threading.Thread(target=rewrite, args=(content,)) for content in contents]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if (prefix / "file").exists():
                assert (prefix / "file").read_bytes() in contents
        for thread in threads:
            thread.join()
        assert os.listdir(prefix) == ["file"]

    def test_when_the_name_is_as_long_as_allowed_then_it_can_be_written(self, accessor, prefix) -> None:
        for name in ("n" * 255, "é" * 127):
            write(accessor, name, b"x")
            assert (prefix / name).read_bytes() == b"x"

    def test_when_the_name_is_longer_than_allowed_then_it_is_refused_before_copying(
        self, accessor, prefix
    ) -> None:
        source = String(b"x")
        with pytest.raises(exception.AccessorOperationFailedError, match="File name too long"):
            accessor.receive_data("n" * 256, source)
        assert source.tell() == 0
        source.close()
        assert os.listdir(prefix) == []

    def test_when_the_resource_came_to_be_meanwhile_then_it_is_not_replaced(self, accessor, prefix) -> None:
        source = String(b"ours")
        with pytest.raises(FileExistsError):
            accessor.receive_data("file", source, lambda count: (prefix / "file").write_bytes(b"theirs"))
        source.close()
        assert (prefix / "file").read_bytes() == b"theirs"
        assert os.listdir(prefix) == ["file"]

    def test_when_text_is_written_then_it_is_stored(self, accessor, prefix) -> None:
        with accessor.open("file", "w") as data:
            data.write("text")
        assert (prefix / "file").read_text() == "text"
        with accessor.open("file", "ab") as data:
            data.write(b" more")
        assert (prefix / "file").read_text() == "text more"

    def test_when_data_is_sparse_then_the_copy_is_sparse_and_equal(self, accessor, prefix) -> None:
        hole = bytes(symbol.CHUNK_SIZE)
        content = [hole, b"a" * 100, hole, hole, b"b", hole]
        with accessor.open("file", "wb") as data:
            for piece in content:
                data.write(piece)
        status = os.stat(prefix / "file")
        assert (prefix / "file").read_bytes() == b"".join(content)
        assert status.st_blocks * 512 < status.st_size / 4

    def test_when_a_pipe_is_written_then_it_is_not_replaced(self, accessor, prefix) -> None:
        os.mkfifo(prefix / "pipe")
        received = []
        reader = threading.Thread(target=lambda: received.append((prefix / "pipe").read_bytes()))
        reader.start()
        write(accessor, "pipe", b"x")
        reader.join()
        assert received == [b"x"]
        assert stat.S_ISFIFO(os.stat(prefix / "pipe").st_mode)

    def test_when_the_writer_is_killed_then_the_next_one_takes_over(self, accessor, prefix) -> None:
        """What a killed process leaves is invisible, is not added to, and keeps nobody from anything."""
        script = f"""
            import os, signal
            from ftrackd.api.accessor.disk import DiskAccessor
            data = DiskAccessor({str(prefix)!r}).open("folder/file", "wb")
            data.write(b"half of it")
            data.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        """
        accessor.make_container("folder")
        for _ in range(2):
            killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)])
            assert killed.returncode == -9
        assert os.listdir(prefix / "folder") == [f".file{PARTIAL_SUFFIX}"]
        assert accessor.list("folder") == []
        assert not accessor.exists("folder/file")
        write(accessor, "folder/file", b"whole")
        assert os.listdir(prefix / "folder") == ["file"]

    def test_when_a_killed_writer_left_something_then_the_folder_can_be_removed(
        self, accessor, prefix
    ) -> None:
        accessor.make_container("folder")
        (prefix / "folder" / f".file{PARTIAL_SUFFIX}").write_bytes(b"half")
        accessor.remove("folder")
        assert not accessor.exists("folder")

    def test_when_somebody_still_writes_then_the_folder_is_not_removed(self, accessor) -> None:
        accessor.make_container("folder")
        data = accessor.open("folder/file", "wb")
        with pytest.raises(exception.AccessorContainerNotEmptyError):
            accessor.remove("folder")
        data.close()
        assert accessor.exists("folder/file")

    def test_when_the_source_fails_then_nothing_is_stored(self, accessor, prefix) -> None:
        class Failing(String):
            def read(self, limit: int | None = None) -> bytes:
                if self.tell():
                    raise ConnectionResetError("gone")
                return super().read(3)

        source = Failing(b"abcdef")
        with pytest.raises(ConnectionResetError):
            accessor.receive_data("file", source)
        source.close()
        assert os.listdir(prefix) == []

    def test_when_data_is_received_then_bytes_are_counted(self, accessor, prefix) -> None:
        source = String(b"x" * (symbol.CHUNK_SIZE + 1))
        counts: list[int] = []
        accessor.receive_data("file", source, counts.append)
        source.close()
        assert counts == [symbol.CHUNK_SIZE, 1]
        assert (prefix / "file").stat().st_size == symbol.CHUNK_SIZE + 1

    def test_when_the_file_size_is_limited_then_nothing_partial_remains(self, prefix) -> None:
        """A full disk, as the operating system reports it in the middle of writing."""
        script = f"""
            import resource, signal
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            from ftrackd.api.accessor.disk import DiskAccessor
            from ftrackd.api.data import File
            accessor = DiskAccessor({str(prefix)!r})
            source = File("/dev/urandom")
            class Short:
                left = 1_000_000
                def read(self, limit):
                    chunk = source.read(min(limit, self.left, 10_000))
                    self.left -= len(chunk)
                    return chunk
            try:
                accessor.receive_data("file", Short())
            except OSError as error:
                print(error.errno)
            source.close()
        """
        result = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
        )
        assert int(result.stdout) == errno.EFBIG
        assert os.listdir(prefix) == []

    def test_when_the_disk_is_really_full_then_nothing_partial_remains(self, prefix) -> None:
        """A file system of one megabyte, which only this process and its children see."""
        script = f"""
            import errno, os
            from ftrackd.api.accessor.disk import DiskAccessor
            from ftrackd.api.data import String
            accessor = DiskAccessor({str(prefix)!r})
            with accessor.open("before", "wb") as data:
                data.write(b"before")
            for size in (3_000_000, 1_047_000):
                with String(os.urandom(size)) as source:
                    try:
                        accessor.receive_data("before", source)
                    except OSError as error:
                        assert error.errno == errno.ENOSPC, error
                        print("full")
                assert os.listdir({str(prefix)!r}) == ["before"]
                with accessor.open("before") as data:
                    assert data.read() == b"before"
        """
        mount = f'mount -t tmpfs -o size=1m none {prefix} && exec {sys.executable} -c "$0"'
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
        try:
            probe = subprocess.run([*command[:5], "-c", f"mount -t tmpfs none {prefix}"], capture_output=True)
        except FileNotFoundError:
            pytest.skip("this system has no unshare")
        if probe.returncode:
            pytest.skip("this system does not let users mount in a namespace of their own")
        result = subprocess.run([*command, textwrap.dedent(script)], capture_output=True, text=True)
        assert result.stdout.split() == ["full", "full"], result.stderr
