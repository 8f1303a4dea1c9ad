"""Data is what files are, and can be given up."""

import io

import pytest

from ftrackd.api.data import Data, File, FileWrapper, String


def test_when_string_is_made_of_text_then_text_is_read() -> None:
    data = String("höhe")
    assert data.read() == "höhe"
    assert data.read() == ""
    data.close()


def test_when_string_is_made_of_bytes_then_bytes_are_read() -> None:
    data = String(b"\x00\xff")
    assert data.read(1) == b"\x00"
    assert data.tell() == 1
    assert data.read() == b"\xff"
    data.close()


def test_when_string_is_empty_then_bytes_are_read() -> None:
    data = String()
    data.write(b"abc")
    data.seek(0)
    assert data.read() == b"abc"
    data.close()


def test_when_writing_after_reading_then_nothing_is_lost(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    data = File(path, "r+b")
    assert data.read(2) == b"ab"
    data.write(b"XY")
    assert data.read() == b"ef"
    data.close()
    assert path.read_bytes() == b"abXYef"


def test_when_closed_then_closed_is_true_and_closing_again_does_nothing(tmp_path) -> None:
    data = File(tmp_path / "file", "wb")
    assert not data.closed
    data.close()
    data.close()
    assert data.closed
    assert data.wrapped_file.closed


def test_when_the_block_fails_then_data_is_discarded() -> None:
    class Recorder(FileWrapper):
        discarded = False

        def discard(self) -> None:
            self.discarded = True
            super().discard()

    data = Recorder(io.BytesIO())
    with pytest.raises(ZeroDivisionError), data:
        raise ZeroDivisionError
    assert data.discarded
    assert data.closed


def test_when_a_subclass_does_not_call_the_constructor_then_it_works() -> None:
    class Minimal(Data):
        def __init__(self) -> None:
            pass

        def read(self, limit: int | None = None) -> bytes:
            return b""

        def write(self, content: bytes) -> None:
            pass

    data = Minimal()
    assert not data.closed
    with data:
        data.flush()
    assert data.closed
    with pytest.raises(OSError, match="cannot seek"):
        data.seek(0)


class Uploading(FileWrapper):
    """As data of plugins' accessors: what was written is uploaded when flushed."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.uploaded: list[bytes] = []

    def flush(self) -> None:
        super().flush()
        self.uploaded.append(self.wrapped_file.getvalue())


def test_when_closed_then_it_is_flushed_first() -> None:
    data = Uploading()
    data.write(b"abc")
    data.close()
    data.close()
    assert data.uploaded == [b"abc"]
    assert data.closed and data.wrapped_file.closed


def test_when_discarded_then_it_is_not_flushed() -> None:
    data = Uploading()
    data.write(b"abc")
    data.discard()
    data.close()
    assert data.uploaded == []
    assert data.wrapped_file.closed


def test_when_the_wrapped_file_was_closed_then_closing_is_no_error() -> None:
    data = Uploading()
    data.wrapped_file.close()
    data.close()
    assert data.closed and data.uploaded == []


def test_when_the_wrapped_object_cannot_flush_or_close_then_it_need_not() -> None:
    class Minimal:
        def read(self, limit: int) -> bytes:
            return b"x"

    data = FileWrapper(Minimal())
    assert data.read() == b"x"
    data.flush()
    data.close()
    assert data.closed


def test_when_string_is_made_of_nothing_then_what_is_written_first_decides() -> None:
    for content in ("text", b"bytes"):
        with String() as data:
            data.write(content)
            data.seek(0)
            assert data.read() == content
