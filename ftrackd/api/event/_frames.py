"""WebSocket frames as a client sends and receives them (RFC 6455): bytes in, messages out, no I/O.

A message above the limit is skipped as it arrives instead of being held in memory; its beginning is kept, for
the log.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from ftrackd.api.exception import EventHubPacketError

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_DATA: Final = frozenset((CONTINUATION, TEXT, BINARY))
_CONTROL: Final = frozenset((CLOSE, PING, PONG))

#: How much of a message above the limit is kept.
_EXCERPT_LENGTH: Final = 4096


class FrameError(EventHubPacketError):
    """The peer does not speak WebSocket; the connection cannot go on."""


class Message(NamedTuple):
    """A complete message; when it was above the limit, `skipped_bytes` is its size and `payload` its
    beginning.
    """

    opcode: int
    payload: bytes
    skipped_bytes: int = 0


def encode(opcode: int, payload: bytes) -> bytes:
    """Return `payload` as one frame, masked as a client's have to be."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 65_536:
        head = bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + length.to_bytes(8, "big")
    key = os.urandom(4)
    # As one long number: byte by byte it takes a hundred times as long.
    mask = int.from_bytes((key * (length // 4 + 1))[:length], "big")
    masked = (int.from_bytes(payload, "big") ^ mask).to_bytes(length, "big")
    return head + key + masked


class FrameDecoder:
    """Turns received bytes into messages."""

    def __init__(self, limit_bytes: int) -> None:
        """Skip messages of more than `limit_bytes`."""
        self._limit = limit_bytes
        self._buffer = bytearray()
        self._fragments = bytearray()
        self._message_opcode: int | None = None
        self._message_size = 0
        self._skipping = False
        # The data frame that is being skipped: bytes still to come, and whether it is the message's last.
        self._to_skip = 0
        self._skipped_final = False

    def feed(self, data: bytes) -> None:
        """Take what was received."""
        self._buffer += data

    def next_message(self) -> Message | None:
        """Return the next complete message, None when more bytes are needed.

        Raises:
            FrameError: when the bytes are no frames that a server may send.
        """
        while True:
            if self._to_skip:
                if not self._skip():
                    return None
                if self._skipped_final:
                    return self._finish()
                continue
            header = self._header()
            if header is None:
                return None
            final, opcode, length, size = header
            if opcode in _DATA:
                self._begin(opcode, length)
                if self._skipping:
                    del self._buffer[:size]
                    self._to_skip, self._skipped_final = length, final
                    if not length and final:
                        return self._finish()
                    continue
            end = size + length
            if len(self._buffer) < end:
                return None
            payload = bytes(memoryview(self._buffer)[size:end])
            del self._buffer[:end]
            if opcode in _CONTROL:
                return Message(opcode, payload)
            message = self._add(payload, final=final)
            if message is not None:
                return message

    def _header(self) -> tuple[bool, int, int, int] | None:
        """Return of the next frame whether it is its message's last, its opcode, its length without the
        header, and the header's; None when more bytes are needed.
        """
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        opcode, length, size = first & 0x0F, second & 0x7F, 2
        if first & 0x70 or second & 0x80 or (opcode not in _DATA and opcode not in _CONTROL):
            raise FrameError(f"The server sent bytes that are no WebSocket frame: {bytes(buffer[:16])!r}")
        if length >= 126:
            size = 4 if length == 126 else 10
            if len(buffer) < size:
                return None
            length = int.from_bytes(buffer[2:size], "big")
        if opcode in _CONTROL and (length > 125 or not first & 0x80):
            raise FrameError("The server sent a control frame that is too long or fragmented.")
        return first >= 0x80, opcode, length, size

    def _begin(self, opcode: int, length: int) -> None:
        """Check a data frame against its message; may be called again while it is incomplete."""
        if (opcode == CONTINUATION) is (self._message_opcode is None):
            raise FrameError("The server sent the fragments of a message in an impossible order.")
        if not self._skipping and self._message_size + length > self._limit:
            self._skipping = True
            del self._fragments[_EXCERPT_LENGTH:]
        if self._skipping:
            self._message_opcode = self._message_opcode or opcode
            self._message_size += length

    def _add(self, payload: bytes, *, final: bool) -> Message | None:
        if final and self._message_opcode is None:
            # The usual case, a message in one frame, needs no copying. A frame that is no continuation has
            # its own opcode, which does not matter: text and binary are read alike.
            return Message(TEXT, payload)
        self._message_opcode = self._message_opcode or TEXT
        self._message_size += len(payload)
        self._fragments += payload
        return self._finish() if final else None

    def _skip(self) -> bool:
        taken = min(self._to_skip, len(self._buffer))
        room = _EXCERPT_LENGTH - len(self._fragments)
        if room > 0:
            self._fragments += self._buffer[: min(room, taken)]
        del self._buffer[:taken]
        self._to_skip -= taken
        return not self._to_skip

    def _finish(self) -> Message:
        skipped = self._message_size if self._skipping else 0
        message = Message(TEXT, bytes(self._fragments), skipped)
        self._fragments.clear()
        self._message_opcode = None
        self._message_size = 0
        self._skipping = False
        self._skipped_final = False
        return message
