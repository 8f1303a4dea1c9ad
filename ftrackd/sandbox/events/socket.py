"""The hub's WebSocket, directly on ASGI messages: nothing between an event's frame and the socket."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send


class AsgiSocket:
    """A WebSocket of an ASGI server as the hub wants it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one ASGI WebSocket connection."""
        self._transport: asyncio.Transport | None = scope.get("state", {}).get("transport")
        self._receive = receive
        self._send = send

    @property
    def is_gone(self) -> bool:
        """Whether the peer has closed the connection, as far as the system knows."""
        return self._transport is not None and self._transport.is_closing()

    async def accept(self) -> None:
        """Complete the WebSocket handshake."""
        await self._receive()
        await self._send({"type": "websocket.accept"})

    async def refuse(self, status: int, text: str) -> None:
        """Answer the WebSocket handshake with an HTTP error."""
        await self._receive()
        await self._send(
            {
                "type": "websocket.http.response.start",
                "status": status,
                "headers": [(b"content-type", b"text/plain; charset=utf-8")],
            }
        )
        await self._send({"type": "websocket.http.response.body", "body": text.encode()})

    async def receive(self) -> str | None:
        """Return the next text frame, or None when the peer is gone; binary frames are read as UTF-8."""
        message: Any = await self._receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        return text if text is not None else message.get("bytes", b"").decode("utf-8", "replace")

    async def send(self, frame: str | bytes) -> None:
        """Send one frame; raise :class:`ConnectionError` when the peer is gone."""
        kind = "text" if isinstance(frame, str) else "bytes"
        try:
            await self._send({"type": "websocket.send", kind: frame})
        except (OSError, RuntimeError) as error:
            raise ConnectionError("The peer is gone.") from error

    def abort(self, unfinished: bytes = b"") -> None:
        """Cut the connection without a goodbye, after the *unfinished* bytes of a frame."""
        if self._transport is not None:
            if unfinished:
                self._transport.write(unfinished)
            self._transport.abort()
