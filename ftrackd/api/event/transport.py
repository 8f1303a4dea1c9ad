"""How packets travel: the port that the hub speaks through, and the errors behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ftrackd.api.exception import EventHubConnectionError, EventHubPacketError


class TransportError(EventHubConnectionError):
    """A connection could not be made."""


class TransportRefused(TransportError):  # noqa: N818  (names what happened)
    """The server refuses the credentials; trying again at once is of no use."""


class TransportClosed(TransportError):  # noqa: N818  (names what happened)
    """The connection ended; the message says how."""


class FrameRefused(TransportClosed):
    """The peer ended the connection because a frame of ours was too large for it."""


class FrameTooLarge(EventHubPacketError):  # noqa: N818  (names what happened)
    """A frame was above the limit and was skipped; the connection goes on."""


class Transport(Protocol):
    """One connection, used once: open, send and receive, close.

    `receive` is called by one thread, `send` by another one, `close` by any thread at any moment; after it a
    pending `receive` ends at once. A transport may have the attribute ``heartbeat_timeout_s: float | None``,
    known once it is open: the silence after which the peer must be taken for gone. Without it silence means
    nothing. It may have a method ``forget()``, called in a forked process, where it belongs to the parent.
    """

    def open(self) -> None:
        """Connect. Raises :class:`TransportError`, or :class:`TransportRefused` for bad credentials."""

    def send(self, frame: str) -> None:
        """Send one frame. Raises :class:`TransportClosed` when it certainly wasn't sent as a whole."""

    def receive(self, timeout_s: float) -> str | bytes | None:
        """Return the next frame, None when none came within `timeout_s`.

        Raises :class:`TransportClosed` at the end, and :class:`FrameTooLarge` for a frame that was skipped.
        """

    def close(self) -> None:
        """End the connection; what was sent before still arrives. Never raises, may be called twice."""


#: Makes a transport for each attempt to connect.
TransportFactory = Callable[[], Transport]
