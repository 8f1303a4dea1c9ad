"""The server accessor moves bytes over connections that break, and keeps credentials to itself."""

import logging
import os
import random
import tracemalloc
from typing import Any

import pytest

from ftrackd.api import exception
from ftrackd.api.accessor import _server_request
from ftrackd.api.accessor._server_upload import get_part_size
from ftrackd.api.accessor.server import ServerFile, _ServerAccessor
from ftrackd.api.data import File, String

from .file_server import API_KEY, FileServer

MEBIBYTE = 1024 * 1024


@pytest.fixture
def server():
    server = FileServer()
    yield server
    server.close()


@pytest.fixture
def session(server):
    session = server.session()
    yield session
    session._request.close()


@pytest.fixture
def accessor(session):
    return _ServerAccessor(session)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(_server_request, "RETRY_DELAYS_S", (0.01, 0.01))


def read(accessor: _ServerAccessor, identifier: str) -> bytes:
    with accessor.open(identifier) as data:
        return data.read()


class TestReading:
    @pytest.mark.parametrize("size", [0, 1, 3 * MEBIBYTE + 5])
    def test_when_read_then_it_is_what_the_server_has(self, server, accessor, size) -> None:
        server.files["a"] = random.Random(1).randbytes(size)
        assert read(accessor, "a") == server.files["a"]

    def test_when_read_in_chunks_then_it_is_streamed_in_one_request(self, server, accessor) -> None:
        server.files["a"] = os.urandom(100_000)
        with accessor.open("a") as data:
            pieces = list(iter(lambda: data.read(7777), b""))
            assert data.tell() == 100_000
        assert b"".join(pieces) == server.files["a"]
        assert [len(piece) for piece in pieces[:-1]] == [7777] * (len(pieces) - 1)
        assert len(server.requested) == 1

    def test_when_nothing_is_read_then_nothing_is_requested(self, server, accessor) -> None:
        accessor.open("a").close()
        assert server.requested == []

    def test_when_sought_then_reading_goes_on_there(self, server, accessor) -> None:
        server.files["a"] = bytes(range(256)) * 100
        with accessor.open("a") as data:
            assert data.read(3) == b"\0\1\2"
            data.seek(-2, os.SEEK_END)
            assert data.read() == b"\xfe\xff"
            data.seek(10)
            data.seek(5, os.SEEK_CUR)
            assert data.read(2) == b"\x0f\x10"
            data.seek(100_000)
            assert data.read() == b""
            with pytest.raises(ValueError, match="before the beginning"):
                data.seek(-1)

    def test_when_sought_at_random_and_cut_off_at_times_then_bytes_are_right(self, server, accessor) -> None:
        chance = random.Random(5)
        content = server.files["a"] = chance.randbytes(30_000)

        def cut_at_times(handler: Any) -> bool:
            start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
            if "Range" in handler.headers or chance.random() < 0.5:
                return False
            handler.cut_after(content[: chance.randrange(30_000)], 30_000, ETag=server.tag(content))
            return start == 0

        server.on_get = cut_at_times
        for _ in range(15):
            position = 0
            with accessor.open("a") as data:
                for _ in range(6):
                    if chance.random() < 0.4:
                        position = chance.randrange(30_000)
                        data.seek(position)
                    count = chance.randrange(1, 20_000)
                    assert data.read(count) == content[position : position + count]
                    position = min(position + count, 30_000)
                    assert data.tell() == position

    def test_when_the_server_knows_no_ranges_then_bytes_are_skipped(self, server, accessor) -> None:
        server.files["a"] = os.urandom(50_000)
        server.on_get = lambda handler: bool(handler.answer(200, server.files["a"])) or True
        with accessor.open("a") as data:
            data.seek(49_990)
            assert data.read() == server.files["a"][-10:]

    @pytest.mark.parametrize("abruptly", [True, False])
    @pytest.mark.parametrize("position", [0, 1, 30_000, 99_999])
    def test_when_the_connection_drops_then_it_goes_on_where_it_was(
        self, server, accessor, position, abruptly
    ) -> None:
        content = server.files["a"] = os.urandom(100_000)

        def drop_once(handler: Any) -> bool:
            if len(server.requested) > 1:
                return False
            end = handler.reset_after if abruptly else handler.cut_after
            end(content[:position], len(content), ETag=server.tag(content))
            return True

        server.on_get = drop_once
        assert read(accessor, "a") == content
        ranges = [headers.get("Range") for _, _, headers in server.requested]
        assert len(ranges) == 2
        assert ranges[0] is None
        if position and not abruptly:
            assert ranges[1] == f"bytes={position}-"

    def test_when_it_drops_again_and_again_then_it_has_failed(self, server, accessor) -> None:
        def drop(handler: Any) -> bool:
            handler.reset_after(b"", 100)
            return True

        server.on_get = drop
        with pytest.raises(exception.AccessorOperationFailedError, match="component a") as caught:
            read(accessor, "a")
        assert len(server.requested) == 3
        assert API_KEY not in str(caught.value)

    def test_when_the_file_is_replaced_meanwhile_then_no_mixture_is_read(self, server, accessor) -> None:
        server.files["a"] = b"new" * 100

        def drop_once(handler: Any) -> bool:
            if len(server.requested) > 1:
                return False
            handler.cut_after(b"old" * 50, 300, ETag='"old"')
            return True

        server.on_get = drop_once
        with pytest.raises(exception.AccessorOperationFailedError, match="replaced"):
            read(accessor, "a")

    def test_when_bytes_are_damaged_then_it_is_noticed(self, server, accessor) -> None:
        def damage(handler: Any) -> bool:
            handler.answer(200, b"damaged", Content_MD5="1B2M2Y8AsgTpgAmY7PhCfg==")
            return True

        server.on_get = damage
        with pytest.raises(exception.AccessorOperationFailedError, match="arrived damaged"):
            read(accessor, "a")

    def test_when_there_is_nothing_then_it_is_not_found(self, accessor) -> None:
        for expected in (exception.AccessorResourceNotFoundError, exception.AccessorOperationFailedError):
            with pytest.raises(expected):
                read(accessor, "missing")
            with pytest.raises(expected):
                accessor.remove("missing")

    def test_when_the_session_is_closed_then_it_says_so(self, session, accessor) -> None:
        session.closed = True
        with pytest.raises(exception.ConnectionClosedError):
            read(accessor, "a")


class TestCredentials:
    def test_when_files_are_requested_then_credentials_are_in_no_url(self, server, accessor) -> None:
        server.files["a"] = b"x"
        read(accessor, "a")
        accessor.remove("a")
        with String(b"x") as source:
            accessor.receive_data("a", source)
        for _, path, _ in server.requested:
            assert API_KEY not in path
        assert server.requested[0][2]["ftrack-api-key"] == API_KEY

    def test_when_redirected_elsewhere_then_credentials_stay_here(self, server, accessor) -> None:
        elsewhere = FileServer()
        elsewhere.files["a"] = b"content"

        def redirect(handler: Any) -> bool:
            handler.answer(302, Location=f"{elsewhere.url}/stored?id=a&signature=s")
            return True

        server.on_get = redirect
        assert read(accessor, "a") == b"content"
        elsewhere.close()
        ((_, path, headers),) = elsewhere.requested
        assert API_KEY not in path
        assert API_KEY not in str(headers)

    def test_when_redirected_for_ever_then_it_ends(self, server, accessor) -> None:
        server.on_get = lambda handler: bool(handler.answer(302, Location=handler.path)) or True
        with pytest.raises(exception.AccessorOperationFailedError, match="TooManyRedirects"):
            read(accessor, "a")

    def test_when_uploaded_then_the_storage_gets_no_credentials(self, server, accessor) -> None:
        with String(b"x") as source:
            accessor.receive_data("a", source)
        ((_, _, headers),) = server.requested
        assert API_KEY not in str(headers)

    def test_when_the_server_wants_them_in_the_query_then_no_log_has_them(
        self, server, accessor, caplog
    ) -> None:
        server.files["a"] = b"content"

        def insist(handler: Any) -> bool:
            if f"apiKey={API_KEY}" in handler.path:
                return False
            handler.answer(401)
            return True

        server.on_get = insist
        with caplog.at_level(logging.DEBUG):
            assert read(accessor, "a") == b"content"
            accessor.remove("a")
        assert "/component/get" in caplog.text
        assert API_KEY not in caplog.text

    def test_when_refused_then_permission_is_denied(self, server, accessor) -> None:
        server.on_get = lambda handler: bool(handler.answer(403)) or True
        with pytest.raises(exception.AccessorPermissionDeniedError) as caught:
            read(accessor, "a")
        assert API_KEY not in str(caught.value)

    def test_when_a_url_is_asked_for_then_it_works_by_itself(self, server, accessor) -> None:
        assert accessor.get_url("a b") == f"{server.url}/component/get?id=a+b&username=user&apiKey={API_KEY}"
        assert accessor.get_thumbnail_url("a", size=300) == (
            f"{server.url}/component/thumbnail?id=a&size=300&username=user&apiKey={API_KEY}"
        )
        assert "size" not in accessor.get_thumbnail_url("a")


class TestWriting:
    @pytest.mark.parametrize("size", [0, 1, 8 * MEBIBYTE, 16 * MEBIBYTE, 16 * MEBIBYTE + 1, 20 * MEBIBYTE])
    def test_when_written_then_the_server_has_it(self, server, accessor, tmp_path, size) -> None:
        content = random.Random(size).randbytes(size)
        (tmp_path / "file").write_bytes(content)
        counts: list[int] = []
        with File(tmp_path / "file") as source:
            accessor.receive_data("a", source, counts.append)
        assert server.files["a"] == content
        assert sum(counts) == size
        (metadata,) = server.metadata
        assert metadata["file_name"] == "main.mov"
        assert metadata["file_size"] == size
        part_count = 3 if size > 16 * MEBIBYTE else None
        assert metadata.get("parts") == part_count
        assert (metadata["checksum"] is None) == (part_count is not None)

    def test_when_source_is_no_file_then_it_goes_by_way_of_one(self, server, accessor) -> None:
        class Doubling(String):
            def read(self, limit: int | None = None) -> bytes:
                return super().read(limit) * 2

        with Doubling(b"abc") as source:
            accessor.receive_data("a", source)
        assert server.files["a"] == b"abcabc"

    def test_when_source_was_read_partly_then_the_rest_is_sent(self, server, accessor, tmp_path) -> None:
        (tmp_path / "file").write_bytes(b"abcdef")
        with File(tmp_path / "file") as source:
            source.read(2)
            accessor.receive_data("a", source)
        assert server.files["a"] == b"cdef"

    def test_when_the_server_chooses_one_part_then_so_be_it(self, server, tmp_path) -> None:
        session = server.session(multipart=False)
        content = os.urandom(17 * MEBIBYTE)
        (tmp_path / "file").write_bytes(content)
        with File(tmp_path / "file") as source:
            _ServerAccessor(session).receive_data("a", source)
        assert server.files["a"] == content

    def test_when_file_is_flushed_and_closed_then_it_is_uploaded_once(self, server, session) -> None:
        data = ServerFile("a", session, mode="wb")
        data.write(b"abc")
        data.flush()
        assert server.files["a"] == b"abc"
        data.close()
        data.close()
        assert len(server.requested) == 1

    def test_when_written_after_flushing_then_all_is_uploaded(self, server, session) -> None:
        data = ServerFile("a", session, mode="wb")
        data.write(b"abc")
        data.flush()
        data.write(b"def")
        assert data.tell() == 6
        data.close()
        assert server.files["a"] == b"abcdef"

    def test_when_nothing_is_written_then_an_empty_file_is_uploaded(self, server, session) -> None:
        ServerFile("a", session, mode="wb").close()
        assert server.files["a"] == b""

    def test_when_discarded_then_nothing_is_uploaded(self, server, session) -> None:
        with pytest.raises(ZeroDivisionError), ServerFile("a", session, mode="wb") as data:
            data.write(b"abc")
            raise ZeroDivisionError
        assert server.requested == []

    def test_when_there_is_no_such_component_then_nothing_is_uploaded(self, server, session) -> None:
        session.get = lambda entity_type, key: None
        with pytest.raises(exception.AccessorOperationFailedError, match="no such component"):
            ServerFile("a", session, "wb").close()
        assert server.files == {}

    def test_when_mode_makes_no_sense_then_it_is_refused(self, session) -> None:
        with pytest.raises(exception.AccessorUnsupportedOperationError, match="r\\+"):
            ServerFile("a", session, mode="r+")
        data = ServerFile("a", session, mode="rb")
        with pytest.raises(exception.AccessorUnsupportedOperationError):
            data.write(b"x")

    @pytest.mark.parametrize("size", [100, 20 * MEBIBYTE])
    def test_when_requests_fail_now_and_then_then_they_are_repeated(
        self, server, accessor, tmp_path, size
    ) -> None:
        content = random.Random(3).randbytes(size)
        (tmp_path / "file").write_bytes(content)
        failed = set()

        def fail_first(handler: Any) -> bool:
            if handler.path in failed:
                return False
            failed.add(handler.path)
            if handler.path.endswith("2"):
                handler.connection.close()
                handler.close_connection = True
            elif handler.path.endswith("3"):
                handler.answer(200, ETag='"00000000000000000000000000000000"')
            else:
                handler.answer(503)
            return True

        server.on_put = fail_first
        counts: list[int] = []
        with File(tmp_path / "file") as source:
            accessor.receive_data("a", source, counts.append)
        assert server.files["a"] == content
        assert sum(counts) == size

    @pytest.mark.parametrize("status", [403, 503, 302])
    def test_when_the_storage_refuses_then_it_has_failed(self, server, accessor, tmp_path, status) -> None:
        server.files["a"] = b"before"
        (tmp_path / "file").write_bytes(bytes(20 * MEBIBYTE))
        server.on_put = lambda handler: bool(handler.answer(status)) or True
        with (
            File(tmp_path / "file") as source,
            pytest.raises(exception.AccessorOperationFailedError, match=r"component a|write a"),
        ):
            accessor.receive_data("a", source)
        assert server.files["a"] == b"before"

    @pytest.mark.parametrize("error", [exception.ServerError("no"), exception.NetworkError("away")])
    @pytest.mark.parametrize("method", ["get_upload_metadata", "call"])
    def test_when_the_server_does_not_take_it_then_it_has_failed(
        self, server, session, accessor, tmp_path, method, error
    ) -> None:
        def refuse(*arguments: Any, **options: Any) -> Any:
            raise error

        setattr(session, method, refuse)
        (tmp_path / "file").write_bytes(bytes(20 * MEBIBYTE))
        with (
            File(tmp_path / "file") as source,
            pytest.raises(exception.AccessorOperationFailedError, match=str(error)) as caught,
        ):
            accessor.receive_data("a", source)
        assert caught.value.__cause__ is error
        assert "a" not in server.files

    def test_when_progress_raises_then_the_upload_ends(self, server, accessor, tmp_path) -> None:
        (tmp_path / "file").write_bytes(bytes(20 * MEBIBYTE))

        def cancel(count: int) -> None:
            raise KeyboardInterrupt

        with File(tmp_path / "file") as source, pytest.raises(KeyboardInterrupt):
            accessor.receive_data("a", source, cancel)
        assert "a" not in server.files

    def test_when_a_large_file_is_sent_then_memory_stays_small(self, server, accessor, tmp_path) -> None:
        with open(tmp_path / "file", "wb") as file:
            file.truncate(40 * MEBIBYTE)
        server.on_put = lambda handler: bool(handler.answer(200, ETag='"x"')) or True
        accessor._session.call = lambda operations: [{}]
        tracemalloc.start()
        try:
            with File(tmp_path / "file") as source:
                accessor.receive_data("a", source)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # The server of this test runs in this process and holds up to four parts of 8 MiB itself.
        assert peak < 4 * 2 * 8 * MEBIBYTE


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 8),
        (128 * MEBIBYTE, 8),
        (128 * MEBIBYTE + 1, 16),
        (1024 * MEBIBYTE + 1, 32),
        (8 * 1024 * MEBIBYTE + 1, 64),
        (64 * 1024 * MEBIBYTE + 1, 128),
    ],
)
def test_when_file_grows_then_parts_grow(size: int, expected: int) -> None:
    assert get_part_size(size) == expected * MEBIBYTE


def test_when_the_server_is_asked_what_it_cannot_tell_then_both_errors_are_raised(accessor) -> None:
    assert accessor.exists("a") is False
    accessor.make_container(accessor.get_container("a"))
    for operation in (
        accessor.list,
        accessor.is_file,
        accessor.is_container,
        accessor.is_sequence,
    ):
        for expected in (exception.AccessorUnsupportedOperationError, NotImplementedError):
            with pytest.raises(expected):
                operation("a")
    with pytest.raises(exception.AccessorUnsupportedOperationError):
        accessor.get_filesystem_path("a")
