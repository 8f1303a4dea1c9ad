"""The hub's WebSocket, directly on the connection: nothing between a packet and the socket but a frame.

The ASGI server shakes hands; from then on an event loop's callbacks read and write. What is sent within one
turn of the loop leaves in few pieces, however many frames it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from starlette.types import Receive, Scope, Send

from ftrackd.sandbox.events import frames

#: Handed to the transport at a time: what many frames need together, and no copy of all that waits.
_PIECE_BYTES: Final = 256 * 1024
_NORMAL_CLOSURE: Final = (1000).to_bytes(2)

_logger = logging.getLogger(__name__)


async def refuse(receive: Receive, send: Send, status: int, text: str) -> None:
    """Answer a WebSocket handshake with an HTTP error."""
    await receive()
    await send(
        {
            "type": "websocket.http.response.start",
            "status": status,
            "headers": [(b"content-type", b"text/plain; charset=utf-8")],
        }
    )
    await send({"type": "websocket.http.response.body", "body": text.encode()})


async def accept(scope: Scope, receive: Receive, send: Send) -> HubSocket:
    """Complete a WebSocket handshake and return the socket that has taken the connection over."""
    await receive()
    await send({"type": "websocket.accept"})
    return HubSocket(scope["state"]["transport"])


class HubSocket(asyncio.Protocol):
    """One WebSocket, on the *transport* of a connection whose handshake is complete."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Take the connection over from the protocol that it had, which still learns of its end."""
        self._transport = transport
        self._server_protocol = transport.get_protocol()
        self._loop = asyncio.get_running_loop()
        self._reader = frames.FrameReader()
        self._receive: Callable[[str], None] | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._outgoing: deque[bytes] = deque()
        self._is_writing = False
        self._is_writable = True
        self._is_frozen = False
        #: What arrived while frozen.
        self._held = b""
        #: Bytes that wait to be written.
        self.waiting_bytes = 0
        transport.set_protocol(self)

    def start(self, receive: Callable[[str], None]) -> asyncio.Future[None]:
        """Give *receive* each frame as text, binary ones read as UTF-8; return what is done at the end."""
        self._receive = receive
        return self._gone

    @property
    def is_gone(self) -> bool:
        """Whether the peer has closed the connection, as far as the system knows."""
        return self._transport.is_closing()

    def send(self, frame: bytes) -> None:
        """Write an encoded *frame* once the loop comes round, or the peer has read enough to take it."""
        self._outgoing.append(frame)
        self.waiting_bytes += len(frame)
        if not self._is_writing:
            self._is_writing = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._is_writing = False
        while self._outgoing and self._is_writable and not (self._is_frozen or self._transport.is_closing()):
            piece, size = [], 0
            while self._outgoing and size < _PIECE_BYTES:
                piece.append(self._outgoing.popleft())
                size += len(piece[-1])
            self.waiting_bytes -= size
            # The transport may say at once that the peer reads too slowly.
            self._transport.write(b"".join(piece))

    def freeze(self) -> None:
        """Neither read nor write until :meth:`thaw`.

        The peer's end is still noticed, unless it has said something before.
        """
        self._is_frozen = True

    def thaw(self) -> None:
        """Go on after :meth:`freeze`."""
        self._is_frozen = False
        held, self._held = self._held, b""
        if held:
            self._transport.resume_reading()
            self._loop.call_soon(self.data_received, held)
        self._write()

    def abort(self, unfinished: bytes = b"") -> None:
        """Cut the connection without a goodbye, after the *unfinished* bytes of a frame."""
        if unfinished:
            self._transport.write(unfinished)
        self._transport.abort()

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """Act on what the peer sent."""
        if self._is_frozen:
            self._held += data
            self._transport.pause_reading()
            return
        try:
            for message in self._reader.read(data):
                self._act_on(message)
        except frames.FrameError as error:
            _logger.warning("A peer broke the WebSocket protocol: %s", error)
            self._close(frames.encode_close(error.code))

    def _act_on(self, message: frames.Message) -> None:
        if self._transport.is_closing():
            return
        if message.kind is frames.Kind.CLOSE:
            self._close(frames.encode(message.payload[:2] or _NORMAL_CLOSURE, frames.Kind.CLOSE))
        elif message.kind is frames.Kind.PING:
            self.send(frames.encode(message.payload, frames.Kind.PONG))
        elif message.kind is not frames.Kind.PONG and self._receive is not None:
            self._receive(message.text())

    def _close(self, goodbye: bytes) -> None:
        self.send(goodbye)
        self._write()
        self._transport.close()

    def pause_writing(self) -> None:
        """The peer reads too slowly: what is sent waits here."""
        self._is_writable = False

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._is_writable = True
        self._write()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell everybody that the connection is over."""
        self._server_protocol.connection_lost(error)
        if not self._gone.done():
            self._gone.set_result(None)
