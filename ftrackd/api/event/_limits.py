"""The hub's limits, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubLimits:
    """How much the hub holds and how long it waits; ``docs/event-hub.md`` says what happens at each limit."""

    #: Received events that wait for :meth:`EventHub.wait`; beyond it the oldest is discarded.
    incoming_events: int = 10_000
    #: Packets that wait for the connection; beyond it publishing raises.
    outgoing_packets: int = 10_000
    #: Packets that wait for the server's acknowledgement; beyond it the oldest is given up.
    pending_acknowledgements: int = 10_000
    acknowledgement_timeout_s: float = 60.0
    #: Published events whose ``on_reply`` is kept; beyond it the oldest is given up.
    pending_replies: int = 10_000
    reply_timeout_s: float = 900.0
    #: The largest frame that is accepted, larger ones are skipped as they arrive; and the largest event that
    #: is published.
    frame_limit_bytes: int = 16 * 1024 * 1024
    handshake_timeout_s: float = 60.0
    #: How long the server may leave a frame unread before the connection is given up.
    send_timeout_s: float = 30.0
    #: How long `disconnect` waits for packets to be sent, and for events to be acknowledged.
    flush_timeout_s: float = 2.0
    #: The silence after which the server is taken for gone; None for what the handshake negotiates, and
    #: `default_heartbeat_timeout_s` when it negotiates nothing.
    heartbeat_timeout_s: float | None = None
    default_heartbeat_timeout_s: float = 60.0
    #: The pause between two looks at what was not acknowledged or answered in time.
    housekeeping_s: float = 1.0


@dataclass(slots=True)
class HubStatistics:
    """Counters since the hub was made."""

    received_packets: int = 0
    received_events: int = 0
    #: Packets that could not be understood, or were above the size limit.
    rejected_packets: int = 0
    #: Received events that nobody fetched in time.
    discarded_events: int = 0
    #: Packets that were refused because too many waited already.
    refused_packets: int = 0
    #: Published events that were sent again after a reconnect because the server had not acknowledged them.
    resent_packets: int = 0
    expired_acknowledgements: int = 0
    expired_replies: int = 0
    #: Callbacks that raised.
    failed_callbacks: int = 0
    reconnects: int = 0
