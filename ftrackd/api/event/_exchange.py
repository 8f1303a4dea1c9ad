"""The hub's exchange of events: subscribing, publishing, replying, calling callbacks."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
import uuid
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Final, Literal

from ftrackd.api.event import codec
from ftrackd.api.event._dispatch import Dispatcher, DispatchOutcome
from ftrackd.api.event._limits import HubLimits
from ftrackd.api.event._packets import PacketHandling
from ftrackd.api.event._pending import ExpiringTable
from ftrackd.api.event._queues import Outgoing, OutgoingQueueFull
from ftrackd.api.event.base import Event
from ftrackd.api.event.expression import server_text
from ftrackd.api.event.subscriber import Callback, Subscriber
from ftrackd.api.exception import (
    EventHubConnectionError,
    EventHubError,
    EventHubPacketError,
    NotFoundError,
)

_REPLY_TOPIC: Final = "ftrack.meta.reply"
_SUBSCRIBE_TOPIC: Final = "ftrack.meta.subscribe"
_UNSUBSCRIBE_TOPIC: Final = "ftrack.meta.unsubscribe"

_BARE_VALUE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_,./@+")


class Exchange(PacketHandling):
    """The part of the hub that plugins use most."""

    def __init__(self, api_user: str, limits: HubLimits) -> None:
        self._dispatcher = Dispatcher()
        super().__init__(limits)
        #: Identifies this hub as the source of what it publishes.
        self.id = uuid.uuid4().hex
        self._api_user = api_user
        self._connection_initialised = False

    def _renew(self, limits: HubLimits) -> None:
        super()._renew(limits)
        self._lock = threading.RLock()
        self._dispatcher.renew_locks()
        self._reply_callbacks: ExpiringTable[Hashable, Callback] = ExpiringTable(
            limits.pending_replies, limits.reply_timeout_s, time.monotonic
        )

    @property
    def connected(self) -> bool:
        """Return whether there is a connection at this moment."""
        connection = self._connection
        return connection is not None and connection.is_open

    # Subscribing.

    @property
    def _subscribers(self) -> list[Subscriber]:
        return self._dispatcher.subscribers()

    def get_subscriber_by_identifier(self, identifier: str) -> Subscriber | None:
        """Return the subscriber with this identifier, None when there is none."""
        return self._dispatcher.find(identifier)

    def subscribe(
        self,
        subscription: str,
        callback: Callback,
        subscriber: dict[str, Any] | None = None,
        priority: int = 100,
    ) -> str:
        """Have `callback` called with every event that matches `subscription`; return an identifier.

        `subscriber` is metadata that targets of events are matched with; it gets an ``id`` when it has none,
        and is kept. Subscribers with a lower `priority` are called first, those of equal priority in the
        order in which they subscribed. What the callback returns, unless it is None, is sent as a reply.

        Raises:
            ftrackd.api.exception.ParseError: when `subscription` is not an expression.
            NotUniqueError: when there is a subscriber with that ``id`` already.
            TypeError: when `priority` is no number.
        """
        if not isinstance(priority, (int, float)):
            raise TypeError(f"The priority of a subscriber is a number, not {priority!r:.100}.")
        metadata = {} if subscriber is None else subscriber
        identifier: str = metadata.setdefault("id", uuid.uuid4().hex)
        added = Subscriber(subscription, callback, metadata, priority)
        with self._lock:
            self._dispatcher.add(added)
            if self.connected:
                self._announce(self._subscription_packet(added))
        return identifier

    def unsubscribe(self, subscriber_identifier: str) -> None:
        """Remove a subscriber.

        Raises:
            NotFoundError: when there is none with this identifier.
        """
        with self._lock:
            removed = self._dispatcher.remove(subscriber_identifier)
            if self.connected:
                self._announce(
                    self._meta_packet(
                        Event(_UNSUBSCRIBE_TOPIC, data={"subscriber": removed.metadata}),
                        lambda arguments: self._on_unsubscribed(removed, arguments),
                    )
                )

    @contextlib.contextmanager
    def subscription(
        self,
        subscription: str,
        callback: Callback,
        subscriber: dict[str, Any] | None = None,
        priority: int = 100,
    ) -> Iterator[str]:
        """Subscribe for the length of a ``with`` block; the parameters are those of :meth:`subscribe`."""
        identifier = self.subscribe(subscription, callback, subscriber, priority)
        try:
            yield identifier
        finally:
            with contextlib.suppress(NotFoundError):
                self.unsubscribe(identifier)

    def _subscribe_to_replies(self) -> None:
        # Replies are addressed to id=<id of this hub>; the server is told when the connection opens.
        if self._dispatcher.find(self.id) is None:
            metadata = {"id": self.id}
            self._dispatcher.add(Subscriber(f"topic={_REPLY_TOPIC}", self._handle_reply, metadata, 100))

    def _announcements(self) -> list[Outgoing]:
        """Return the packets that tell the server of all subscribers."""
        subscribers = self._subscribers
        # The one for replies first: an answer may come as soon as anything is published.
        subscribers.sort(key=lambda subscriber: subscriber.metadata["id"] != self.id)
        packets = (self._subscription_packet(subscriber) for subscriber in subscribers)
        return [packet for packet in packets if packet is not None]

    def _subscription_packet(self, subscriber: Subscriber) -> Outgoing | None:
        event = Event(
            _SUBSCRIBE_TOPIC,
            data={
                "subscriber": subscriber.metadata,
                "subscription": server_text(str(subscriber.subscription)),
            },
        )
        return self._meta_packet(event, lambda arguments: self._on_subscribed(subscriber, arguments))

    def _meta_packet(self, event: Event, acknowledge: Callable[[list[Any]], None]) -> Outgoing | None:
        self._prepare_event(event)
        try:
            raw = codec.encode_event(event)
        except Exception as error:  # noqa: BLE001  (metadata may hold any object, with any way to fail)
            self.logger.error(
                "The server cannot be told of subscriber %r: %s", event["data"]["subscriber"]["id"], error
            )
            return None
        number = next(self._packet_numbers)
        packet = Outgoing(
            codec.encode_event_packet(raw, number),
            event["topic"],
            number,
            is_announcement=True,
            acknowledge=acknowledge,
        )
        self._unacknowledged.add(number, packet)
        return packet

    def _announce(self, packet: Outgoing | None) -> None:
        if packet is None:
            return
        try:
            self._outbox.put(packet)
        except OutgoingQueueFull:
            self.statistics.refused_packets += 1
            self.logger.warning("The server is not told of %s until the next connection.", packet.description)

    def _on_subscribed(self, subscriber: Subscriber, arguments: list[Any]) -> None:
        answer = _answer(arguments)
        if answer.get("success") is False:
            self.logger.warning("Server failed to subscribe %s: %s", subscriber, answer.get("message", ""))

    def _on_unsubscribed(self, subscriber: Subscriber, arguments: list[Any]) -> None:
        answer = _answer(arguments)
        if answer and answer.get("success") is not True:
            self.logger.warning("Server failed to unsubscribe %s: %s", subscriber, answer.get("message", ""))

    # Publishing.

    def publish(
        self,
        event: Event,
        synchronous: bool = False,
        on_reply: Callback | None = None,
        on_error: Literal["raise", "ignore"] = "raise",
    ) -> Any:
        """Publish `event`.

        With `synchronous` only the callbacks of this hub are called, now, and the list of what they returned
        (None included) is the result. Otherwise the event goes to the server, or into a queue while the
        connection is sought, and this returns at once; `on_reply` is called with each reply, until
        :attr:`HubLimits.reply_timeout_s` has passed.

        Raises:
            EventHubConnectionError: when the hub was never connected, or not since it was disconnected.
            OutgoingQueueFull: when too many events wait for the connection.
            EventHubPacketError: when the event is larger than :attr:`HubLimits.frame_limit_bytes`.
            TypeError: when the event's data cannot be written as JSON.

        None of these when `on_error` is "ignore"; a log line takes their place.
        """
        if synchronous:
            self._prepare_event(event)
            return self._handle(event, synchronous=True)
        try:
            return self._publish(event, on_reply)
        except (EventHubError, TypeError) as error:
            if on_error == "raise":
                raise
            self.logger.info("Event about %r was not published: %s", event["topic"], error)
            return None

    def publish_reply(self, source_event: Event, data: Any, source: Mapping[str, Any] | None = None) -> None:
        """Answer `source_event` with `data`; `source` describes who answers.

        Raises:
            EventHubError, TypeError: as :meth:`publish`; also when the event does not say who published it.
        """
        asker = _asker(source_event)
        if not asker:
            raise EventHubError(
                f"Cannot reply to an event about {source_event['topic']!r}: it has no source id."
            )
        quote = "" if _BARE_VALUE.issuperset(asker) else "'" if '"' in asker else '"'
        target = f"id={quote}{asker}{quote}"
        self.publish(
            Event(
                _REPLY_TOPIC,
                data=data,
                source=dict(source or {}),
                target=target,
                in_reply_to_event=source_event["id"],
            )
        )

    def send_raw(
        self,
        event_json: bytes | Mapping[str, Any],
        on_ack: Callable[[list[Any]], None] | None = None,
    ) -> None:
        """Publish somebody else's event unchanged, given as JSON text or as its mapping.

        `on_ack` is called, in a thread of the hub, with the arguments of the server's acknowledgement; with
        ``[{"success": False, "message": ...}]`` when none comes in time.

        Raises:
            EventHubConnectionError, OutgoingQueueFull, EventHubPacketError, TypeError: as :meth:`publish`.
        """
        raw = event_json if isinstance(event_json, bytes) else codec.encode_event(event_json)
        give_up = None if on_ack is None else _refusal(on_ack)
        self._send_event(raw, "a relayed event", on_ack, give_up)

    def _publish(self, event: Event, on_reply: Callback | None) -> Any:
        self._prepare_event(event)
        raw = codec.encode_event(event)
        topic = event["topic"]
        if on_reply is not None:
            self.statistics.expired_replies += len(self._reply_callbacks.add(event["id"], on_reply))
        try:
            self._send_event(
                raw, f"an event about {topic!r}", lambda arguments: self._on_published(topic, arguments)
            )
        except EventHubError:
            self._reply_callbacks.pop(event["id"])
            raise
        return None if self.connected else True

    def _send_event(
        self,
        raw: bytes,
        description: str,
        acknowledge: Callable[[list[Any]], None] | None,
        give_up: Callable[[str], None] | None = None,
    ) -> None:
        if not self._connection_initialised:
            raise EventHubConnectionError(
                f"Cannot publish event asynchronously as not connected to server. {self._state_reason}"
            )
        if len(raw) > self._limits.frame_limit_bytes:
            raise EventHubPacketError(
                f"{description} was not published: its {len(raw)} bytes are over the limit of "
                f"{self._limits.frame_limit_bytes}."
            )
        number = next(self._packet_numbers)
        frame = codec.encode_event_packet(raw, number)
        self._send_acknowledged(
            Outgoing(frame, description, number, acknowledge=acknowledge, give_up=give_up)
        )

    def _prepare_event(self, event: Event) -> None:
        """Fill in what the event does not say of its source."""
        source = event["source"]
        if not isinstance(source, dict):
            source = event["source"] = dict(source or {})
        source.setdefault("id", self.id)
        source.setdefault("user", {"username": self._api_user})
        source.setdefault("host", _host())

    def _on_published(self, topic: str, arguments: list[Any]) -> None:
        answer = _answer(arguments)
        if answer and not answer.get("success"):
            self.logger.error(
                "Server did not accept an event about %r: %s", topic, answer.get("message", answer)
            )

    def dispatch(self, event: Event) -> DispatchOutcome:
        """Call the callbacks that `event` concerns, reply with what they return, and say what came of it."""

        def reply(subscriber: Subscriber, value: Any) -> None:
            if event["topic"] == _REPLY_TOPIC:
                return
            if _asker(event):
                self.publish_reply(event, value, subscriber.metadata)
            else:
                self._log_sparsely(
                    logging.WARNING,
                    "unanswerable",
                    f"Nobody can be answered: an event about {event['topic']!r} has no source id.",
                )

        return self._count(self._dispatcher.call(event, reply))

    def _handle(self, event: Event, synchronous: bool = False) -> list[Any] | None:
        if synchronous:
            return self._count(self._dispatcher.call(event, None)).values
        self.dispatch(event)
        return None

    def _count(self, outcome: DispatchOutcome) -> DispatchOutcome:
        self.statistics.failed_callbacks += len(outcome.failures)
        return outcome

    def _handle_reply(self, event: Event) -> None:
        asked = event["in_reply_to_event"]
        callback = self._reply_callbacks.get(asked) if isinstance(asked, Hashable) else None
        if callback is not None:
            callback(event)


@functools.cache
def _host() -> str:
    import platform  # here, because nothing else on the way to a Session needs it

    return platform.node()


def _asker(event: Event) -> str:
    """Return the id of the hub that published `event`, empty when that is not known."""
    source = event["source"]
    return str(source.get("id") or "") if isinstance(source, Mapping) else ""


def _refusal(on_ack: Callable[[list[Any]], None]) -> Callable[[str], None]:
    return lambda reason: on_ack([{"success": False, "message": reason}])


def _answer(arguments: list[Any]) -> dict[str, Any]:
    return arguments[0] if arguments and isinstance(arguments[0], dict) else {}
