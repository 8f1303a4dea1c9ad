"""WebSocket frames (RFC 6455) of the server's side: bytes in, messages out, and back.

Pure functions of bytes. A client's frames are masked, ours are not; there are no extensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

MAXIMUM_MESSAGE_BYTES: Final = 64 * 1024 * 1024

_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_CONTINUATION: Final = 0x0
_CONTROL: Final = 0x8
_LONGEST_CONTROL: Final = 125
#: Lengths that say that the real one follows, in two and in eight bytes.
_LENGTH_IN_TWO: Final = 126
_LENGTH_IN_EIGHT: Final = 127


class Kind(IntEnum):
    """What a message is: its opcode."""

    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Why a connection is closed, as a close frame says it."""

    PROTOCOL_ERROR = 1002
    INVALID_TEXT = 1007
    TOO_BIG = 1009


class FrameError(ValueError):
    """The peer broke the protocol; ``code`` is what the close frame has to say."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        """Keep the *code* beside the *reason*."""
        super().__init__(reason)
        self.code = code


class Message(NamedTuple):
    """A whole message, put together of its frames."""

    kind: Kind
    payload: bytes

    def text(self) -> str:
        """Return the payload as text; a binary message is read as UTF-8, come what may.

        Raise :class:`FrameError` when a text message is no UTF-8.
        """
        if self.kind is not Kind.TEXT:
            return self.payload.decode("utf-8", "replace")
        try:
            return self.payload.decode()
        except UnicodeDecodeError as error:
            raise FrameError(CloseCode.INVALID_TEXT, str(error)) from error


def encode(payload: str | bytes, kind: Kind | None = None) -> bytes:
    """Return the frame with a whole message; its *kind* is that of the payload unless it is given."""
    if isinstance(payload, str):
        payload, kind = payload.encode(), kind or Kind.TEXT
    first, length = _FINAL | (kind or Kind.BINARY), len(payload)
    if length < _LENGTH_IN_TWO:
        return bytes((first, length)) + payload
    if length < 1 << 16:
        return bytes((first, _LENGTH_IN_TWO)) + length.to_bytes(2) + payload
    return bytes((first, _LENGTH_IN_EIGHT)) + length.to_bytes(8) + payload


def encode_close(code: CloseCode) -> bytes:
    """Return the frame that closes a connection for the reason that *code* is."""
    return encode(code.to_bytes(2), Kind.CLOSE)


class FrameReader:
    """Takes the messages of one client out of the bytes that arrive from it."""

    def __init__(self, maximum_bytes: int = MAXIMUM_MESSAGE_BYTES) -> None:
        """Refuse messages of more than *maximum_bytes*."""
        self._maximum_bytes = maximum_bytes
        self._buffer = bytearray()
        #: Of the message whose last frame has not come yet.
        self._begun: Kind | None = None
        self._parts = bytearray()

    def read(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that *data* completes; raise :class:`FrameError` when the protocol is broken."""
        buffer = self._buffer
        buffer += data
        position, size = 0, len(buffer)
        while size - position >= 2:
            first, second = buffer[position], buffer[position + 1]
            length, start = second & 0x7F, position + 2
            if length >= _LENGTH_IN_TWO:
                start += 2 if length == _LENGTH_IN_TWO else 8
                if size < start:
                    break
                length = int.from_bytes(buffer[position + 2 : start])
            self._check(first, second, length)
            start += 4
            if size - start < length:
                break
            payload = _unmask(buffer[start : start + length], buffer[start - 4 : start])
            position = start + length
            message = self._complete(first, payload)
            if message is not None:
                yield message
        del buffer[:position]

    def _check(self, first: int, second: int, length: int) -> None:
        """Refuse a frame that must not be, before its payload is waited for."""
        if not second & _MASKED:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "A frame of a client is not masked.")
        if first & _RESERVED:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "A frame has reserved bits set.")
        if first & _CONTROL and (not first & _FINAL or length > _LONGEST_CONTROL):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "A control frame is in parts or too long.")
        if len(self._parts) + length > self._maximum_bytes:
            raise FrameError(CloseCode.TOO_BIG, f"A message has more than {self._maximum_bytes} bytes.")

    def _complete(self, first: int, payload: bytes) -> Message | None:
        """Return the message that a frame with the byte *first* completes, None when it goes on."""
        opcode = first & 0xF
        if first & _FINAL and opcode != _CONTINUATION and (self._begun is None or opcode & _CONTROL):
            return Message(_kind(opcode), payload)
        if (opcode == _CONTINUATION) == (self._begun is None):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "A message begins within another, or goes on without.")
        self._begun = self._begun or _kind(opcode)
        self._parts += payload
        if not first & _FINAL:
            return None
        message = Message(self._begun, bytes(self._parts))
        self._begun = None
        self._parts.clear()
        return message


_KINDS: Final = {int(kind): kind for kind in Kind}


def _kind(opcode: int) -> Kind:
    kind = _KINDS.get(opcode)
    if kind is None:
        raise FrameError(CloseCode.PROTOCOL_ERROR, f"There is no opcode {opcode}.")
    return kind


def _unmask(payload: bytearray, mask: bytearray) -> bytes:
    length = len(payload)
    repeated = (mask * (length // 4 + 1))[:length]
    unmasked = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
    return unmasked.to_bytes(length, "little")
