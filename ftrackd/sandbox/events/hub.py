"""The hub's connections: handshakes, sockets, heartbeats, acknowledgements and fan-out.

Everything here runs on the event loop, except :meth:`HubServer.publish_from_thread`. An event is encoded
once, however many connections receive it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.events import frames, packet
from ftrackd.sandbox.events.router import SUBSCRIBE_TOPIC, UNSUBSCRIBE_TOPIC, Router, SubscriptionError

HANDSHAKE_LIFETIME_S: Final = 60.0
HEARTBEAT_TIMEOUT_S: Final = 60.0
CLOSE_TIMEOUT_S: Final = 60
QUEUE_LIMIT_BYTES: Final = 256 * 1024 * 1024

_logger = logging.getLogger(__name__)


class Socket(Protocol):
    """What the hub needs of a WebSocket that was accepted."""

    def start(self, receive: Callable[[str], None]) -> asyncio.Future[None]:
        """Give *receive* each frame as text; return what is done once the peer is gone."""

    def send(self, frame: bytes) -> None:
        """Send an encoded frame as soon as the peer takes it."""

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be sent."""

    def freeze(self) -> None:
        """Neither read nor write until :meth:`thaw`."""

    def thaw(self) -> None:
        """Go on after :meth:`freeze`."""

    def abort(self, unfinished: bytes = b"") -> None:
        """Cut the connection without a goodbye, after the *unfinished* bytes of a frame."""

    @property
    def is_gone(self) -> bool:
        """Whether the peer has closed the connection, as far as the system knows."""


@dataclass(eq=False)
class Connection:
    """One connected client."""

    identifier: str
    actor: Actor
    socket: Socket
    last_heard_at: float = 0.0
    closed: bool = False
    is_frozen: bool = False

    def send(self, frame: str | bytes) -> None:
        """Send one text or binary *frame*."""
        self.send_encoded(frames.encode(frame))

    def send_encoded(self, frame: bytes) -> None:
        """Send *frame*; a connection that never reads is cut when :data:`QUEUE_LIMIT_BYTES` wait for it."""
        if self.closed:
            return
        if self.socket.waiting_bytes + len(frame) > QUEUE_LIMIT_BYTES:
            _logger.warning("Connection %s does not read its events and is cut.", self.identifier)
            self.cut()
            return
        self.socket.send(frame)

    def cut(self, unfinished: bytes = b"") -> None:
        """Cut the connection at once, after the *unfinished* bytes of a frame."""
        self.closed = True
        self.is_frozen = False
        self.socket.abort(unfinished)

    def freeze(self) -> None:
        """Neither read nor write until :meth:`thaw`."""
        self.is_frozen = True
        self.socket.freeze()

    def thaw(self) -> None:
        """Go on after :meth:`freeze`."""
        self.last_heard_at = time.monotonic()
        self.is_frozen = False
        self.socket.thaw()


class HubServer:
    """The event hub.

    *heartbeat_interval_s* must stay below 15, the JavaScript client's limit of silence.
    """

    def __init__(self, *, heartbeat_interval_s: float = 5.0) -> None:
        """Start without connections."""
        self._heartbeat_interval_s = heartbeat_interval_s
        self._router = Router()
        self._connections: dict[str, Connection] = {}
        self._served: set[Connection] = set()
        self._handshakes: dict[str, tuple[Actor, float]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.deliveries = 0

    def start(self) -> None:
        """Bind the hub to the running event loop."""
        self._loop = asyncio.get_running_loop()

    @property
    def connections(self) -> list[Connection]:
        """The clients that are connected now."""
        return list(self._connections.values())

    @property
    def subscription_count(self) -> int:
        """The number of subscriptions of all connections."""
        return len(self._router)

    # Handshake and life of a connection

    def handshake(self, actor: Actor) -> str:
        """Return the body that answers the handshake of *actor*: ``sid:heartbeat:close:transports``.

        The session id is good for one connection within :data:`HANDSHAKE_LIFETIME_S`.
        """
        now = time.monotonic()
        expired = [sid for sid, (_, until) in self._handshakes.items() if until <= now]
        for sid in expired:
            del self._handshakes[sid]
        sid = secrets.token_hex(16)
        self._handshakes[sid] = (actor, now + HANDSHAKE_LIFETIME_S)
        return f"{sid}:{HEARTBEAT_TIMEOUT_S:.0f}:{CLOSE_TIMEOUT_S}:websocket"

    def claim(self, sid: str) -> Actor | None:
        """Return who shook hands for *sid*, once; None for an unknown, used or expired one."""
        actor, until = self._handshakes.pop(sid, (None, 0.0))
        return actor if until > time.monotonic() else None

    async def serve(self, sid: str, actor: Actor, socket: Socket) -> None:
        """Carry packets between the client of *sid* and the hub until either side ends."""
        connection = Connection(sid, actor, socket, last_heard_at=time.monotonic())
        self._connections[sid] = connection
        self._served.add(connection)
        connection.send(packet.CONNECT_FRAME)
        tasks = [
            socket.start(partial(self._handle, connection)),
            asyncio.ensure_future(self._beat(connection)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connection.closed = True
            self.forget(connection)
            self._served.discard(connection)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def forget(self, connection: Connection) -> None:
        """Drop *connection* and its subscriptions from the routing; its socket is left as it is."""
        if self._connections.get(connection.identifier) is connection:
            del self._connections[connection.identifier]
            self._router.disconnect(connection.identifier)

    def restart(self) -> None:
        """Behave like a hub that was restarted: sockets are cut, sessions and handshakes forgotten."""
        self._handshakes.clear()
        for connection in self.connections:
            self.forget(connection)
            connection.cut()

    def stop(self) -> None:
        """Cut the sockets that are frozen: they would wait for ever; the others end with the server."""
        for connection in list(self._served):
            if connection.is_frozen:
                connection.cut()

    async def _beat(self, connection: Connection) -> None:
        while True:
            connection.send(packet.HEARTBEAT_FRAME)
            await asyncio.sleep(self._heartbeat_interval_s)
            if connection.socket.is_gone:
                # Nobody reads from a frozen socket, so nobody else would notice.
                return
            if not connection.is_frozen and time.monotonic() - connection.last_heard_at > HEARTBEAT_TIMEOUT_S:
                _logger.warning("Connection %s was silent for too long and is cut.", connection.identifier)
                connection.cut()
                return

    # Packets

    def _handle(self, connection: Connection, frame: str) -> None:
        connection.last_heard_at = time.monotonic()
        try:
            received = packet.decode(frame)
        except packet.PacketError as error:
            _logger.warning("Ignored a packet of connection %s: %s", connection.identifier, error)
            return
        if received.code != packet.EVENT:
            return
        answer = self._answer(connection, received)
        if received.identifier:
            connection.send(packet.acknowledge_frame(received.identifier, answer))

    def _answer(self, connection: Connection, received: packet.Packet) -> dict[str, Any]:
        """Act on an event packet; return what it is acknowledged with."""
        try:
            self._accept(connection, packet.decode_event(received))
        except (packet.PacketError, SubscriptionError) as error:
            _logger.warning("Refused an event of connection %s: %s", connection.identifier, error)
            return {"success": False, "message": str(error)}
        return {"success": True}

    def _accept(self, connection: Connection, event: dict[str, Any]) -> None:
        """Act on an event from *connection*; raise :class:`SubscriptionError` with what is wrong in it."""
        topic = event["topic"]
        if topic in (SUBSCRIBE_TOPIC, UNSUBSCRIBE_TOPIC):
            data = event.get("data")
            if not isinstance(data, Mapping):
                raise SubscriptionError(f"{topic} needs data with a subscriber.")
            if topic == SUBSCRIBE_TOPIC:
                self._router.subscribe(
                    connection.identifier, data.get("subscriber"), data.get("subscription")
                )
            else:
                self._router.unsubscribe(connection.identifier, data.get("subscriber"))
            return
        _complete_source(event, connection.actor)
        self.publish(event)

    def publish(self, event: dict[str, Any]) -> int:
        """Deliver *event* to whom it concerns; return the number of connections.

        Raise :class:`SubscriptionError` when its target cannot be parsed.
        """
        recipients = self._router.recipients(event)
        if recipients:
            self._send(frames.encode(packet.event_frame(event)), recipients)
        return len(recipients)

    def publish_from_thread(self, event: dict[str, Any]) -> None:
        """Deliver *event* from any thread; it is encoded on the calling one."""
        if self._loop is None or self._loop.is_closed():
            return
        frame = frames.encode(packet.event_frame(event))
        self._loop.call_soon_threadsafe(self._publish_encoded, event, frame)

    def _publish_encoded(self, event: dict[str, Any], frame: bytes) -> None:
        self._send(frame, self._router.recipients(event))

    def _send(self, frame: bytes, recipients: list[str]) -> None:
        self.deliveries += len(recipients)
        for identifier in recipients:
            self._connections[identifier].send_encoded(frame)


def _complete_source(event: dict[str, Any], actor: Actor) -> None:
    """Fill in who published *event*: action code reads ``source.user.id`` to address its answers."""
    if "id" not in event:
        event["id"] = uuid.uuid4().hex
    source = event.get("source")
    if not isinstance(source, dict):
        source = event["source"] = {}
    user = source.get("user")
    if not isinstance(user, dict):
        user = source["user"] = {}
    user.setdefault("username", actor.username)
    if user["username"] == actor.username:
        user.setdefault("id", actor.user_id)
