"""The hub's handling of packets: what each kind leads to, acknowledgements, taps."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ftrackd.api.event import codec
from ftrackd.api.event._connection import Connection
from ftrackd.api.event._limits import HubLimits, HubStatistics
from ftrackd.api.event._pending import ExpiringTable, LogLimit
from ftrackd.api.event._queues import EventQueue, Outbox, Outgoing, OutgoingQueueFull
from ftrackd.api.event.base import EVENT_KEYS, Event
from ftrackd.api.event.transport import FrameTooLarge
from ftrackd.api.exception import EventHubPacketError

#: Seconds between two log lines of the same kind that a misbehaving server could cause without end.
_LOG_INTERVAL_S = 10.0

_KNOWN_KEYS = frozenset(EVENT_KEYS)

#: How many unknown keys of events are remembered as reported.
_MOST_UNKNOWN_KEYS = 50


class IncomingEvent(NamedTuple):
    """An event as it came.

    `raw` is the sender's JSON text of the event alone, `event` the decoded mapping with ``in_reply_to_event``
    under that name; keys may be missing in it, and there may be more than an event has.
    """

    raw: bytes
    event: dict[str, Any]

    def to_event(self) -> Event:
        """Return it as an :class:`Event`. Raises EventHubPacketError when it has no topic."""
        return codec.event_from(self.event)


class PacketHandling:
    """The part of the hub that speaks in packets."""

    def __init__(self, limits: HubLimits) -> None:
        self.logger = logging.getLogger("ftrack_api.event.hub.EventHub")
        #: Counters since the hub was made.
        self.statistics = HubStatistics()
        self._limits = limits
        self._state_reason = "Never connected."
        self._log_limit = LogLimit(_LOG_INTERVAL_S, time.monotonic)
        self._unknown_keys: set[str] = set()
        self._taps: tuple[Callable[[IncomingEvent], None], ...] = ()
        # Numbers continue over reconnects, so that a late acknowledgement cannot be taken for another
        # packet's.
        self._packet_numbers = itertools.count(1)
        self._server_acknowledges = False
        # Both ways, as subclasses of the official hub use it.
        self._code_name_mapping = dict(codec.PACKET_NAMES)
        self._code_name_mapping.update({name: code for code, name in codec.PACKET_NAMES.items()})
        self._renew(limits)

    def _renew(self, limits: HubLimits) -> None:
        """Have no connection, nothing that waits, and locks that nobody holds."""
        self._connection: Connection | None = None
        self._outbox = Outbox(limits.outgoing_packets)
        self._event_queue = EventQueue(limits.incoming_events)
        self._unacknowledged: ExpiringTable[int, Outgoing] = ExpiringTable(
            limits.pending_acknowledgements, limits.acknowledgement_timeout_s, time.monotonic
        )
        self._taps_lock = threading.RLock()

    def tap(self, callback: Callable[[IncomingEvent], None]) -> Callable[[], None]:
        """Have `callback` called with every event, in the reader's thread, instead of queueing it for `wait`.

        Nothing else is received meanwhile: a callback that takes long makes the server wait, which is told
        by heartbeats that we are there. Return a function that ends this.
        """
        with self._taps_lock:
            self._taps = (*self._taps, callback)

        def untap() -> None:
            with self._taps_lock:
                self._taps = tuple(tap for tap in self._taps if tap is not callback)

        return untap

    def _send_packet(
        self, code: str, data: str = "", callback: Callable[..., Any] | None = None, path: str = ""
    ) -> None:
        """Send a packet; `callback` is called with the arguments of its acknowledgement.

        Raises:
            OutgoingQueueFull: when too many packets wait for the connection.
        """
        name = self._code_name_mapping.get(code, code)
        if callback is None:
            self._outbox.put(Outgoing(codec.encode_packet(code, path=path, data=data), f"a {name} packet"))
            return
        number = next(self._packet_numbers)
        self._send_acknowledged(
            Outgoing(
                codec.encode_packet(code, f"{number}+", path, data),
                f"a {name} packet",
                number,
                acknowledge=lambda arguments: callback(*arguments),
            )
        )

    def _send_acknowledged(self, packet: Outgoing) -> None:
        assert packet.identifier is not None
        evicted = self._unacknowledged.add(packet.identifier, packet)
        try:
            self._outbox.put(packet)
        except OutgoingQueueFull:
            self._unacknowledged.pop(packet.identifier)
            self.statistics.refused_packets += 1
            raise
        self._give_up_acknowledgements(
            evicted, "Too many packets wait for an acknowledgement, one was given up."
        )

    def frame_received(self, frame: bytes | str) -> None:
        """Handle a frame; called by the connection."""
        self.statistics.received_packets += 1
        try:
            packet = codec.decode_packet(frame)
            self._handle_packet(packet.code, packet.identifier, packet.path, packet.data)
        except EventHubPacketError as error:
            self.statistics.rejected_packets += 1
            self._log_sparsely(logging.WARNING, "rejected", f"Packet ignored: {error}")
        except (Exception, SystemExit):  # contains taps and overrides of a host; the reader goes on
            self.logger.exception("Handling a packet failed; the packet is lost, the hub goes on.")

    def heartbeat_due(self) -> None:
        """Send a heartbeat; called by the connection when none of the server's was read for long."""
        # In front of everything: a long queue must not make the server believe that we are gone.
        self._outbox.put_first(Outgoing(codec.encode_heartbeat(), "a heartbeat", is_announcement=True))

    def frame_skipped(self, error: FrameTooLarge) -> None:
        """Take note of a frame above the limit; called by the connection."""
        self.statistics.rejected_packets += 1
        self.logger.error("%s", error)

    def frame_refused(self) -> None:
        """Give the largest packet up that the server may have seen; called by the connection.

        Sent again, it would end each connection, and nothing behind it would ever arrive.
        """
        waiting = self._outbox.beginning()
        seen = [packet for packet in self._unacknowledged.values() if packet.is_sent or packet in waiting]
        if not seen:
            return
        largest = max(seen, key=lambda packet: len(packet.frame))
        assert largest.identifier is not None
        self._unacknowledged.pop(largest.identifier)
        self._outbox.discard(largest)
        reason = f"The server takes no frame of {len(largest.frame)} characters."
        self.logger.error("%s Given up: %s.", reason, largest.description)
        if largest.give_up is not None:
            self._call(largest.give_up, reason)

    def _handle_packet(self, code: str, packet_identifier: str, path: str, data: bytes | str) -> None:
        """Act on a packet that was received. Raises EventHubPacketError when its data is malformed."""
        name = self._code_name_mapping[code]
        if name == "event":
            self._receive_event(data)
        elif name == "heartbeat":
            self.heartbeat_due()
        elif name == "acknowledge":
            self._receive_acknowledgement(data)
        elif name == "connect":
            self._event_queue.put(Event("ftrack.meta.connected"))
        elif name == "disconnect":
            self._drop_connection("The server asked to disconnect.")
        elif name == "error":
            error = codec.decode_error(data)
            self.logger.error("The event hub's server reports an error: %s %s", error.reason, error.advice)
            self._drop_connection(f"The server reported an error: {error.reason} {error.advice}".strip())
        elif name in ("message", "json"):
            self._log_sparsely(
                logging.WARNING, name, f"A {name} packet has no meaning here, ignored: {data[:200]!r}"
            )

    def _receive_event(self, data: bytes | str) -> None:
        raw, decoded = codec.decode_event_data(data)
        self.statistics.received_events += 1
        if not _KNOWN_KEYS.issuperset(decoded):
            self._report_unknown_keys(decoded)
        if self._taps:
            incoming = IncomingEvent(raw, decoded)
            for tap in self._taps:
                tap(incoming)
            return
        if not self._event_queue.put(codec.event_from(decoded)):
            self.statistics.discarded_events = self._event_queue.discarded_count
            self._log_sparsely(
                logging.WARNING,
                "discarded",
                f"{self._limits.incoming_events} received events wait already, the oldest was discarded "
                f"({self.statistics.discarded_events} so far): call wait(), or handle events faster.",
            )

    def _report_unknown_keys(self, decoded: dict[str, Any]) -> None:
        for key in decoded.keys() - _KNOWN_KEYS - self._unknown_keys:
            if len(self._unknown_keys) < _MOST_UNKNOWN_KEYS:
                self._unknown_keys.add(key)
                self.logger.warning(
                    "Events of this server carry the unknown key %.100r; it is left out.", key
                )

    def _receive_acknowledgement(self, data: bytes | str) -> None:
        number, arguments = codec.decode_acknowledgement(data)
        self._server_acknowledges = True
        packet = self._unacknowledged.pop(number)
        if packet is None:
            return  # given up before
        if not arguments or not isinstance(arguments[0], dict):
            self._log_sparsely(
                logging.WARNING,
                "odd acknowledgement",
                f"The server acknowledged {packet.description} without saying whether it succeeded; "
                "taken for a success.",
            )
        if packet.acknowledge is not None:
            self._call(packet.acknowledge, arguments)
        self._outbox.look_again()

    def _acknowledge_packet(self, packet_identifier: str, *args: Any) -> None:
        """Acknowledge a received packet with `args`."""
        frame = codec.encode_acknowledgement(packet_identifier.rstrip("+"), list(args))
        self._outbox.put(Outgoing(frame, "an acknowledgement", is_announcement=True))

    def _drop_connection(self, reason: str) -> None:
        connection = self._connection
        if connection is not None:
            connection.drop(reason)

    def _flush(self) -> None:
        """Wait, as long as the limits allow, until the server has acknowledged what was published.

        Being sent is not enough: a server that is behind may discard what it has not read when it notices
        that we are gone.
        """
        pending = [packet for packet in self._unacknowledged.values() if not packet.is_announcement]

        def is_settled() -> bool:
            while pending and (number := pending[-1].identifier) is not None:
                if self._unacknowledged.get(number) is not None:
                    return False
                pending.pop()
            return True

        self._outbox.flush(self._limits.flush_timeout_s, is_settled)

    def _take_unacknowledged(self) -> list[Outgoing]:
        """Return the events to send again on a new connection: those that the server has probably not seen.

        A server that never acknowledges anything gets nothing twice.
        """
        self._unacknowledged.renew()
        if not self._server_acknowledges:
            return []
        packets = [
            packet
            for packet in self._unacknowledged.values()
            if packet.is_sent and not packet.is_announcement
        ]
        for packet in packets:
            packet.is_sent = False
        if packets:
            self.statistics.resent_packets += len(packets)
            self.logger.warning(
                "%d published events were not acknowledged before the connection was lost; "
                "they are sent again with the same id.",
                len(packets),
            )
        return packets

    def _give_up_acknowledgements(self, packets: Iterable[Outgoing], reason: str) -> None:
        for packet in packets:
            self.statistics.expired_acknowledgements += 1
            if self._server_acknowledges and not packet.is_announcement:
                self._log_sparsely(
                    logging.WARNING, "unacknowledged", f"{reason} It was {packet.description}."
                )
            if packet.give_up is not None:
                self._call(packet.give_up, reason)

    def _call(self, callback: Callable[[Any], None], argument: Any) -> None:
        try:
            callback(argument)
        except (Exception, SystemExit):  # contains the callback of whoever published
            self.logger.exception("A callback for an acknowledgement failed.")

    def _log_sparsely(self, level: int, kind: str, message: str) -> None:
        admitted, kept_back = self._log_limit.admits(kind)
        if admitted:
            self.logger.log(level, "%s%s", message, f" ({kept_back} like it before)" if kept_back else "")
