"""The event hub of a plugin process: connected over the link instead of a socket."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, Final

from ftrackd.api.event import codec
from ftrackd.api.event._queues import Outgoing
from ftrackd.api.event.hub import EventHub, HubLimits
from ftrackd.api.event.transport import TransportClosed
from ftrackd.api.exception import EventHubError
from ftrackd.hosting.link import Link

_CONNECT_FRAME: Final = "1::"
# What is given up late does no harm; to look each second would wake up every plugin's process for nothing.
_HOUSEKEEPING_S: Final = 30.0
_ACCEPTED: Final = b'[{"success":true}]'
_SHAPING_TOPIC: Final = re.compile(
    r"""\btopic\s*=\s*["']?(
        ftrack\.api\.session\.(construct-entity-type|configure-location|get-file-type-from-string|\*)
        | ftrack\.storage-scenario\.
        | ftrack\.api\.(session\.?)?\*
    )""",
    re.VERBOSE,
)
_SESSION_TOPIC: Final = re.compile(r"""\btopic\s*=\s*["']?(ftrack\.api\.|ftrack\.storage-scenario\.)""")

# Whether the library itself subscribes now, for local events that the host has no part in.
_is_library: contextvars.ContextVar[bool] = contextvars.ContextVar("is_library", default=False)
# The session plugin whose code runs now as a guest in another plugin's process; empty in its own.
_guest: contextvars.ContextVar[str] = contextvars.ContextVar("guest", default="")


def shapes_session(expression: str) -> bool:
    """Return whether a subscription makes its plugin a session plugin: one that shapes everybody's Session.

    These are the topics that a Session publishes to configure itself. ``ftrack.api.session.ready`` and
    ``.reset`` are not among them: plugins use those to start late, in their own process.
    """
    return _SHAPING_TOPIC.search(expression) is not None


@contextlib.contextmanager
def acting_as_guest(plugin: str) -> Iterator[None]:
    """Treat subscriptions made in the body as those of session plugin *plugin*, a guest in this process."""
    token = _guest.set(plugin)
    try:
        yield
    finally:
        _guest.reset(token)


@contextlib.contextmanager
def acting_as_library() -> Iterator[None]:
    """Keep subscriptions made in the body in this process: they are the Session's own, not the plugin's."""
    token = _is_library.set(True)
    try:
        yield
    finally:
        _is_library.reset(token)


class LinkTransport:
    """Speaks the hub's packets with the hub, and frames with the main process.

    Subscriptions are announced by :class:`HostedEventHub` with all that the main process needs, so the
    packets that announce them to a server are only acknowledged here.
    """

    def __init__(self, link: Link, plugin: str) -> None:
        self._link = link
        self._plugin = plugin
        self._incoming: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._closed = threading.Event()

    def open(self) -> None:
        """Answer like a server that accepted the connection."""
        self._incoming.put(_CONNECT_FRAME)

    def send(self, frame: str) -> None:
        """Relay an event packet; raises :class:`TransportClosed` when the main process is gone."""
        if self._closed.is_set():
            raise TransportClosed("the hub was disconnected")
        packet = codec.decode_packet(frame)
        if packet.name != "event":
            return
        raw, event = codec.decode_event_data(packet.data)
        number = packet.identifier.rstrip("+")
        if event.get("topic") in ("ftrack.meta.subscribe", "ftrack.meta.unsubscribe"):
            self.acknowledge(number, _ACCEPTED)
            return
        try:
            self._link.send("published", {"plugin": self._plugin, "number": number}, raw)
        except OSError as error:
            raise TransportClosed(f"the main process is gone: {error}") from error

    def receive(self, timeout_s: float) -> str | None:
        """Return the next packet for the hub, ``None`` when there is none in time."""
        try:
            frame = self._incoming.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if frame is None:
            raise TransportClosed("the hub was disconnected")
        return frame

    def close(self) -> None:
        """End the connection to the hub; the link itself stays."""
        self._closed.set()
        self._incoming.put(None)

    def acknowledge(self, number: str, arguments: bytes) -> None:
        """Tell the hub that the server took event packet *number*."""
        if number:
            self._incoming.put(f"6:::{number}+{arguments.decode()}")


class HostedEventHub(EventHub):
    """A hub whose subscriptions are announced to the main process, and kept apart for guests."""

    def __init__(
        self,
        server_url: str,
        api_user: str,
        api_key: str,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        *,
        link: Link,
        plugin: str,
    ) -> None:
        self._link = link
        self._plugin = plugin
        self._announced: set[str] = set()
        self._guest_subscribers: dict[str, list[str]] = {}
        # Set when the process finishes: then it is not the plugin that disconnects.
        self.is_ending = False
        self.link_transport = LinkTransport(link, plugin)
        super().__init__(
            server_url,
            api_user,
            api_key,
            headers=headers,
            cookies=cookies,
            transport_factory=self._make_transport,
            limits=HubLimits(housekeeping_s=_HOUSEKEEPING_S),
        )

    def _make_transport(self) -> LinkTransport:
        self.link_transport = LinkTransport(self._link, self._plugin)
        return self.link_transport

    def connect(self) -> None:
        """Connect over the link; replies to what this hub publishes are asked for as well."""
        super().connect()
        self._tell_host(self.id)

    def disconnect(self, unsubscribe: bool = True, reconnect: bool = False) -> None:
        """End the connection; a plugin that does so, perhaps by closing its Session, falls silent."""
        if unsubscribe and not self.is_ending:
            self.logger.warning(
                "Plugin %s disconnected its event hub: it gets no events until it is loaded again",
                self._plugin,
            )
        super().disconnect(unsubscribe, reconnect)

    def subscribe(
        self,
        subscription: str,
        callback: Callable[..., Any],
        subscriber: dict[str, Any] | None = None,
        priority: int = 100,
    ) -> str:
        """Register *callback* for events matching *subscription* and return the subscriber's identifier."""
        guest = _guest.get()
        if not guest:
            identifier = super().subscribe(subscription, callback, subscriber, priority)
            if not _is_library.get():
                self._tell_host(identifier)
            return identifier
        if _SESSION_TOPIC.search(str(subscription)) is None:
            # A guest shapes this Session; its actions and listeners live in its own process.
            return str((subscriber or {}).get("id") or f"guest-{guest}-{len(self._guest_subscribers)}")
        identifier = super().subscribe(subscription, _as_guest(guest, callback), subscriber, priority)
        self._guest_subscribers.setdefault(guest, []).append(identifier)
        return identifier

    def unsubscribe(self, subscriber_identifier: str) -> None:
        """Remove a subscription."""
        if _guest.get() and self.get_subscriber_by_identifier(subscriber_identifier) is None:
            return
        super().unsubscribe(subscriber_identifier)
        if subscriber_identifier in self._announced:
            self._announced.discard(subscriber_identifier)
            self._link.send("unsubscribed", {"plugin": self._plugin, "id": subscriber_identifier})

    def _send_acknowledged(self, packet: Outgoing) -> None:
        # Straight to the link, not through the queue of the connection's thread: the outcome of a delivery
        # must not overtake what its callbacks published, or a crash in between would lose it.
        assert packet.identifier is not None
        self._give_up_acknowledgements(
            self._unacknowledged.add(packet.identifier, packet),
            "Too many packets wait for an acknowledgement.",
        )
        packet.is_sent = True
        try:
            self.link_transport.send(packet.frame)
        except EventHubError:
            self._unacknowledged.pop(packet.identifier)
            raise

    def forget_guest(self, plugin: str) -> None:
        """Remove what session plugin *plugin* subscribed here."""
        for identifier in self._guest_subscribers.pop(plugin, []):
            if self.get_subscriber_by_identifier(identifier) is not None:
                super().unsubscribe(identifier)

    def _tell_host(self, identifier: str) -> None:
        subscriber = self.get_subscriber_by_identifier(identifier)
        if subscriber is None:
            return
        self._announced.add(identifier)
        self._link.send(
            "subscribed",
            {
                "plugin": self._plugin,
                "metadata": _plain(subscriber.metadata),
                "expression": str(subscriber.subscription),
                "priority": subscriber.priority,
                "callback": _described(subscriber.callback),
            },
        )


def _as_guest(plugin: str, callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback, assigned=("__module__", "__name__", "__qualname__", "__doc__"), updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        with acting_as_guest(plugin):
            return callback(*args, **kwargs)

    return call


def _described(callback: Callable[..., Any]) -> tuple[str, str]:
    """Return which function *callback* calls in the end, with its line, and the file that defines it."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    function = inspect.unwrap(callback)
    name = str(getattr(function, "__qualname__", type(callback).__qualname__))
    if owner is not None and not isinstance(owner, ModuleType):
        # The class of the object, not the base class that defines the method.
        name = f"{type(owner).__qualname__}.{name.rpartition('.')[2]}"
    code = getattr(function, "__code__", None)
    return (f"{name}:{code.co_firstlineno}", code.co_filename) if code is not None else (name, "")


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a subscriber's metadata JSON can carry."""
    return {
        key: value for key, value in metadata.items() if isinstance(value, str | int | float | bool | None)
    }
