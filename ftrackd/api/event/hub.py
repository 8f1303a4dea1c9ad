"""The event hub: subscribe, publish, reply, and stay connected."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Final

from ftrackd.api.event import _process
from ftrackd.api.event._connection import Connection
from ftrackd.api.event._connection_rules import ConnectionState, ReconnectPolicy, StateChange
from ftrackd.api.event._dispatch import CallbackFailure, CallbackResult, DispatchOutcome
from ftrackd.api.event._exchange import Exchange
from ftrackd.api.event._handshake import ServerDetails, SocketIoSession
from ftrackd.api.event._limits import HubLimits, HubStatistics
from ftrackd.api.event._packets import IncomingEvent
from ftrackd.api.event._queues import OutgoingQueueFull
from ftrackd.api.event.base import Event
from ftrackd.api.event.transport import Transport, TransportFactory
from ftrackd.api.exception import EventHubConnectionError, NotFoundError

__all__ = [
    "CallbackFailure",
    "CallbackResult",
    "ConnectionState",
    "DispatchOutcome",
    "EventHub",
    "HubLimits",
    "HubStatistics",
    "IncomingEvent",
    "OutgoingQueueFull",
    "ReconnectPolicy",
    "ServerDetails",
    "SocketIoSession",
    "StateChange",
]

_DISCONNECTED_TOPIC: Final = "ftrack.meta.disconnected"


class EventHub(Exchange):
    """A place to publish events and to subscribe to them, here and on the server.

    Callbacks run where :meth:`wait`, :meth:`dispatch` or a synchronous :meth:`publish` is called. Everything
    may be called from any thread.
    """

    def __init__(
        self,
        server_url: str,
        api_user: str,
        api_key: str,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        *,
        transport_factory: TransportFactory | None = None,
        reconnect: ReconnectPolicy | None = None,
        limits: HubLimits | None = None,
    ) -> None:
        """Prepare a hub on `server_url`; nothing is connected yet.

        `headers` and `cookies` go with every request. `transport_factory` replaces the network: it is called
        for each attempt to connect. `reconnect` says how a lost connection is sought again, by default for
        ever.

        Raises:
            ValueError: when `server_url` is no URL with scheme and host.
            TypeError: when `headers` or `cookies` are no mappings.
        """
        super().__init__(api_user, limits or HubLimits())
        for name, value in (("headers", headers), ("cookies", cookies)):
            if value is not None and not isinstance(value, Mapping):
                raise TypeError(f"{name} must be a mapping, not {type(value).__name__}.")
        self.server = _server_details(server_url)
        self._api_key = api_key
        self._headers = dict(headers or {})
        self._cookies = dict(cookies or {})
        self._transport_factory = transport_factory or self._create_transport
        self._reconnect_policy = reconnect or ReconnectPolicy()
        self._state_hooks: tuple[Callable[[StateChange], None], ...] = ()

        self._last_packet_at: float | None = None
        # The local event with which waiting ends.
        self._last_event: Event | None = None
        _process.join(self)

    # What the connection is at.

    def get_server_url(self) -> str:
        """Return the server's URL without path."""
        return self.server.url

    def get_network_location(self) -> str:
        """Return the server's host, with its port when that is given."""
        return self.server.network_location

    @property
    def secure(self) -> bool:
        """Return whether the connection is encrypted."""
        return self.server.scheme == "https"

    @property
    def state(self) -> ConnectionState:
        """Return what the connection is at: connecting, live, stale or closed."""
        connection = self._connection
        return connection.state if connection is not None else ConnectionState.CLOSED

    @property
    def state_reason(self) -> str:
        """Return why the state is what it is, in words."""
        return self._state_reason

    @property
    def last_packet_at(self) -> float | None:
        """Return when the server was heard last, in seconds since the epoch; None when never."""
        connection = self._connection
        return (connection.last_packet_at if connection is not None else None) or self._last_packet_at

    @property
    def behind_s(self) -> float:
        """Return for how many seconds more has come than was read; up to a second means nothing."""
        connection = self._connection
        return connection.behind_s if connection is not None else 0.0

    @property
    def reconnect_count(self) -> int:
        """Return how often a connection that had been lost was established again."""
        return self.statistics.reconnects

    def on_state_change(self, callback: Callable[[StateChange], None]) -> Callable[[], None]:
        """Have `callback` called at every change of :attr:`state`, in the thread that caused it.

        Return a function that ends this.
        """
        with self._lock:
            self._state_hooks = (*self._state_hooks, callback)

        def remove() -> None:
            with self._lock:
                self._state_hooks = tuple(hook for hook in self._state_hooks if hook is not callback)

        return remove

    # Connecting and disconnecting.

    def init_connection(self) -> None:
        """Announce that :meth:`connect` follows: what is published meanwhile is queued."""
        self._connection_initialised = True

    def connect(self) -> None:
        """Connect and stay connected until :meth:`disconnect`.

        Raises:
            EventHubConnectionError: when the first attempt fails, or there is a connection already.
        """
        connection, was_initialised = self._begin_connection()
        try:
            connection.open()
        # An interrupt from the keyboard too must leave a hub that can be connected.
        except BaseException:
            with self._lock:
                if self._connection is connection:
                    self._connection = None
                    self._connection_initialised = was_initialised
            raise

    def connect_in_background(self) -> threading.Thread:
        """Connect from a thread of its own, as long as it takes, and stay connected; return the thread.

        Raises:
            EventHubConnectionError: when there is a connection already.
        """
        connection, _ = self._begin_connection()
        return connection.open_in_background()

    def wait_until_connected(self, timeout: float | None = None) -> bool:
        """Wait for the connection, `timeout` seconds at most; return whether there is one.

        Returns at once when nothing is under way that could connect, and in a thread of the hub.
        """
        connection = self._connection
        if connection is None:
            return False
        if connection.may_be_waited_for():
            connection.wait_until(lambda: connection.is_open or connection.is_stopping, timeout)
        return connection.is_open

    def reconnect(self, attempts: int = 10, delay: float = 5) -> None:
        """End the connection and connect again, waiting until that has succeeded.

        The hub goes on trying on its own when this gives up. In a thread of the hub (taps, state hooks,
        callbacks of acknowledgements) this does not wait: the connection is replaced when they have returned.

        Raises:
            EventHubConnectionError: after `attempts` failures, `delay` seconds apart; or when somebody
            disconnects.
        """
        connection = self._connection
        if connection is None:
            self.connect()
            return
        opened, failures = connection.opened_count, connection.failure_count
        if not connection.may_be_waited_for():
            connection.drop("A reconnect was asked for.", at_once=True)
            return
        connection.use_delay(delay)
        connection.drop("A reconnect was asked for.", at_once=True)

        def is_decided() -> bool:
            return (
                # Open comes a moment before live; whoever asked wants to find it live.
                (connection.opened_count > opened and connection.state is ConnectionState.LIVE)
                or connection.failure_count - failures >= attempts
                or connection.is_stopping
            )

        try:
            connection.wait_until(is_decided, None)
        finally:
            connection.use_delay(None)
        if connection.opened_count == opened:
            reason = "Disconnected meanwhile." if connection.is_stopping else str(connection.last_error)
            raise EventHubConnectionError(
                f"Failed to reconnect to event server at {self.get_server_url()}: {reason}"
            )

    def disconnect(self, unsubscribe: bool = True, reconnect: bool = False) -> None:
        """End the connection, or the attempts to connect, at once; :meth:`wait` returns.

        Subscribers are removed unless `unsubscribe` is false. With `reconnect` the hub stays initialised, so
        that publishes are queued for the next :meth:`connect`, and :meth:`wait` goes on.

        Raises:
            EventHubConnectionError: when there is nothing to disconnect.
        """
        with self._lock:
            connection = self._connection
            if connection is None and not self._connection_initialised:
                raise EventHubConnectionError("Event hub is not connected.")
            self._connection_initialised = reconnect
        if unsubscribe:
            for subscriber in self._subscribers:
                with contextlib.suppress(NotFoundError):
                    self.unsubscribe(subscriber.metadata["id"])
        if connection is not None:
            if connection.state is ConnectionState.LIVE and connection.may_be_waited_for():
                self._flush()
            connection.stop("Disconnected on request.")
            with self._lock:
                if self._connection is connection:
                    self._last_packet_at = self.last_packet_at
                    self._connection = None
        if not reconnect:
            self._end("Disconnected on request.")

    def close(self) -> None:
        """Disconnect when there is something to disconnect; never raises."""
        with contextlib.suppress(EventHubConnectionError):
            self.disconnect()

    def _create_transport(self) -> Transport:
        from ftrackd.api.event.websocket_transport import (
            WebSocketTransport,
        )  # costs as much as the whole room

        return WebSocketTransport(
            self.server,
            self._api_user,
            self._api_key,
            self._headers,
            self._cookies,
            limits=self._limits,
        )

    def _begin_connection(self) -> tuple[Connection, bool]:
        with self._lock:
            if self._connection is not None:
                raise EventHubConnectionError("Already connected, or connecting.")
            was_initialised = self._connection_initialised
            self._connection_initialised = True
            self._event_queue.restart()
            self._subscribe_to_replies()
            self._connection = Connection(
                self._transport_factory,
                self._reconnect_policy,
                self._outbox,
                self,
                self._limits.heartbeat_timeout_s,
                self._limits.housekeeping_s,
            )
            return self._connection, was_initialised

    def flush_at_exit(self) -> None:
        """Let what was published arrive, when the interpreter ends; what cannot is reported."""
        if self.connected:
            self._flush()
        self._report_unsent("the process ended")

    def forget_after_fork(self) -> None:
        """Be a hub that was never connected, in a process that was forked from the one that is."""
        connection = self._connection
        self._renew(self._limits)
        if connection is not None or self._connection_initialised:
            self._connection_initialised = False
            self._state_reason = "This process was forked from the one that is connected; call connect()."
        if connection is not None:
            connection.forget()

    def _report_unsent(self, what_happened: str) -> None:
        lost = self._outbox.clear()
        if lost:
            self.logger.warning(
                "%d published events were not sent before %s, the first is %s.",
                len(lost),
                what_happened,
                lost[0].description,
            )

    def _end(self, reason: str) -> None:
        self._report_unsent("the event hub was disconnected")
        self._give_up_acknowledgements(
            [packet for packet in self._unacknowledged.clear() if packet.give_up is not None],
            "Disconnected before the server acknowledged a packet.",
        )
        self._last_event = Event(_DISCONNECTED_TOPIC, data={"reason": reason})
        self._event_queue.end(self._last_event)

    # What the connection reports.

    def connection_opened(self, transport: Transport) -> None:
        """Announce all subscribers and send what waits; called by the connection."""
        connection = self._connection
        if connection is not None and connection.opened_count > 1:
            self.statistics.reconnects += 1
        # The lock keeps a subscriber that comes at this moment from being announced twice, or not at all.
        with self._lock:
            self._outbox.attach(transport, [*self._announcements(), *self._take_unacknowledged()])

    def connection_given_up(self, reason: str) -> None:
        """End :meth:`wait` and refuse publishes from now on; called by the connection."""
        with self._lock:
            self._last_packet_at = self.last_packet_at
            self._connection = None
            self._connection_initialised = False
        self._end(reason)

    def state_changed(self, change: StateChange) -> None:
        """Tell the hooks; called by the connection."""
        self._state_reason = change.reason
        for hook in self._state_hooks:
            try:
                hook(change)
            except (Exception, SystemExit):  # contains a hook of somebody else
                self.logger.exception("A hook for the event hub's state failed.")

    def housekeeping(self) -> None:
        """Forget callbacks that were never answered; called by the connection from time to time."""
        self.statistics.expired_replies += len(self._reply_callbacks.expired())
        if self.connected:
            reason = "The server did not acknowledge a packet in time."
            self._give_up_acknowledgements(self._unacknowledged.expired(), reason)

    # Handling events.

    def wait(self, duration: float | None = None) -> None:
        """Handle events in this thread until the hub is disconnected, or for `duration` seconds.

        Raises:
            EventHubConnectionError: when there is no connection to wait for.
        """
        if not self._connection_initialised:
            raise EventHubConnectionError(
                f"Event hub is not connected: call connect() before wait(). {self._state_reason}"
            )
        deadline = None if duration is None else time.monotonic() + duration
        while True:
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return
            try:
                event = self._event_queue.get(timeout=remaining)
            except queue.Empty:
                return
            self._handle(event)
            # The topic alone does not do: anybody can publish it to a hub that listens to everything.
            if event is self._last_event:
                break
        unhandled = self._event_queue.qsize()
        if unhandled:
            self.logger.warning("Disconnected with %d received events that were not handled.", unhandled)


def _server_details(server_url: str) -> ServerDetails:
    parts = urllib.parse.urlsplit(server_url)
    if not parts.scheme or not parts.hostname:
        raise ValueError(
            f"The server URL {server_url!r} has no scheme or host; it looks like https://studio.ftrackapp.com."
        )
    return ServerDetails(parts.scheme, parts.hostname, parts.port)
