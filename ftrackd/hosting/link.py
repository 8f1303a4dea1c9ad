"""The link between the main process and a plugin process: frames over a local socket pair.

A frame is two lengths, a JSON header and raw bytes (an event exactly as the hub sent it). The most frequent
one, that deliveries returned, has no header and two numbers for each of them instead. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ftrackd.api import _json
from ftrackd.hosting.errors import LinkError

_LENGTHS: Final = struct.Struct("!II")
_REPORT: Final = struct.Struct("!qd")
_NO_HEADER: Final[Mapping[str, Any]] = {}
# Above this Python allocates each buffer anew from the system, which takes longer than to read.
READ_BYTES: Final = 1 << 16
HEADER_LIMIT_BYTES: Final = 64 * 1024 * 1024
PAYLOAD_LIMIT_BYTES: Final = 64 * 1024 * 1024


class Frame(NamedTuple):
    """One message: ``kind`` says what it is, ``header`` carries small values, ``payload`` raw bytes."""

    kind: str
    header: Mapping[str, Any]
    payload: bytes = b""


def encode_frame(kind: str, header: Mapping[str, Any] | None = None, payload: bytes = b"") -> bytes:
    """Return the bytes of a frame."""
    encoded = _json.dumps({**(header or {}), "kind": kind})
    return b"".join((_LENGTHS.pack(len(encoded), len(payload)), encoded, payload))


def receive_frame(connection: socket.socket) -> Frame | None:
    """Wait for one frame on a blocking *connection*, reading nothing beyond it; ``None`` at the end."""
    data = bytearray()
    wanted = _LENGTHS.size
    decoder = FrameDecoder()
    while True:
        received = connection.recv(wanted - len(data))
        if not received:
            return None
        data += received
        if len(data) == _LENGTHS.size:
            wanted += sum(_LENGTHS.unpack(data))
        if len(data) == wanted:
            return decoder.feed(bytes(data))[0]


class FrameDecoder:
    """Turns received bytes into frames; holds what is incomplete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that *data* completes.

        Raises :class:`LinkError` when the bytes are no frames: nothing after them can be trusted.
        """
        buffer: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            buffer = self._buffer
        frames: list[Frame] = []
        start = 0
        available = len(buffer)
        while available - start >= _LENGTHS.size:
            header_size, payload_size = _LENGTHS.unpack_from(buffer, start)
            if header_size > HEADER_LIMIT_BYTES or payload_size > PAYLOAD_LIMIT_BYTES:
                raise LinkError(f"a frame claims {header_size} and {payload_size} bytes")
            begin = start + _LENGTHS.size
            end = begin + header_size + payload_size
            if end > available:
                break
            frames.append(_frame(buffer, begin, begin + header_size, end))
            start = end
        if buffer is self._buffer:
            del self._buffer[:start]
        else:
            self._buffer += data[start:]
        return frames


def encode_returned(reports: Sequence[tuple[int, float]]) -> bytes:
    """Return the frame that says which deliveries returned, by id, each after how many seconds."""
    packed = b"".join([_REPORT.pack(*report) for report in reports])
    return _LENGTHS.pack(0, len(packed)) + packed


def returned_reports(frame: Frame) -> list[tuple[int, float]]:
    """Return the delivery id and the seconds of each report in a ``returned`` frame."""
    return list(_REPORT.iter_unpack(frame.payload))


def _frame(buffer: bytes | bytearray, begin: int, middle: int, end: int) -> Frame:
    if begin == middle:
        if begin == end or (end - begin) % _REPORT.size:
            raise LinkError("a frame has neither a header nor whole reports")
        return Frame("returned", _NO_HEADER, bytes(buffer[middle:end]))
    try:
        header = _json.loads(buffer[begin:middle])
        kind = header.pop("kind")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise LinkError(f"a frame has an unreadable header: {error}") from error
    return Frame(kind, header, bytes(buffer[middle:end]))


class Link:
    """The plugin process's end: blocking, sent to from any thread, received from in one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._decoder = FrameDecoder()
        self._waiting: list[Frame] = []
        # Keeps frames of different threads whole.
        self._send_lock = threading.Lock()

    def send(self, kind: str, header: Mapping[str, Any] | None = None, payload: bytes = b"") -> None:
        """Send a frame; raises :class:`OSError` when the main process is gone."""
        data = encode_frame(kind, header, payload)
        with self._send_lock:
            self._connection.sendall(data)

    def send_returned(self, reports: Sequence[tuple[int, float]]) -> None:
        """Send that deliveries returned, in order, and nothing else is to be said; raises as :meth:`send`."""
        data = encode_returned(reports)
        with self._send_lock:
            self._connection.sendall(data)

    def receive(self) -> Frame | None:
        """Wait for the next frame and return it, or ``None`` when the main process is gone."""
        while not self._waiting:
            try:
                data = self._connection.recv(READ_BYTES)
            except OSError:
                return None
            if not data:
                return None
            self._waiting = self._decoder.feed(data)
            self._waiting.reverse()
        return self._waiting.pop()

    def close(self) -> None:
        """End the link; a waiting :meth:`receive` returns ``None``."""
        # When the other end is gone already, closing is all that is left.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
