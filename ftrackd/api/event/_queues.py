"""The two bounded queues of the hub: events that wait for callbacks, packets that wait for the connection."""

from __future__ import annotations

import enum
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ftrackd.api.event.base import Event
from ftrackd.api.event.transport import Transport
from ftrackd.api.exception import EventHubError


class OutgoingQueueFull(EventHubError):  # noqa: N818  (names what happened)
    """Too many packets wait for the connection; this one was not taken."""


class EventQueue:
    """Received events until somebody handles them; when it is full the oldest is discarded and counted."""

    def __init__(self, limit: int) -> None:
        """Hold at most `limit` events."""
        self._limit = limit
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._final: Event | None = None
        #: How many events were discarded since the hub was made.
        self.discarded_count = 0

    def put(self, event: Event) -> bool:
        """Add `event`; return False when an older one was discarded for it."""
        with self._changed:
            has_room = len(self._events) < self._limit
            if not has_room:
                self._events.popleft()
                self.discarded_count += 1
            self._events.append(event)
            self._changed.notify()
            return has_room

    def get(self, block: bool = True, timeout: float | None = None) -> Event:
        """Return the next event; the parameters are those of :meth:`queue.Queue.get`.

        Raises:
            queue.Empty: when there is none in time, or the queue was ended.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                if self._final is not None:
                    final, self._final = self._final, None
                    return final
                if self._ended:
                    raise queue.Empty
                if self._events:
                    return self._events.popleft()
                remaining = None if deadline is None else deadline - time.monotonic()
                if not block or (remaining is not None and remaining <= 0):
                    raise queue.Empty
                self._changed.wait(remaining)

    def end(self, final: Event) -> None:
        """Wake everybody who waits: one gets `final`, the others nothing. What is left stays."""
        with self._changed:
            self._final = final
            self._ended = True
            self._changed.notify_all()

    def restart(self) -> None:
        """Give out events again."""
        with self._changed:
            self._ended = False
            self._final = None
            self._changed.notify_all()

    def empty(self) -> bool:
        """Return whether :meth:`get` would have to wait."""
        return not self.qsize()

    def qsize(self) -> int:
        """Return how many events wait."""
        with self._changed:
            return len(self._events) + (self._final is not None)


class PacketFate(enum.Enum):
    """What became of a packet that the writer took."""

    SENT = enum.auto()
    #: It waits for the next transport.
    WAITS = enum.auto()
    LOST = enum.auto()


@dataclass(slots=True, eq=False, repr=False)
class Outgoing:
    """A packet on its way out."""

    frame: str
    #: What it is, for log lines: a topic and the like.
    description: str
    #: The packet's number when it wants to be acknowledged.
    identifier: int | None = None
    #: Whether it is of use on the connection at hand only (subscriptions are announced anew on the next).
    is_announcement: bool = False
    #: Whether the transport has taken it.
    is_sent: bool = False
    #: Whether nobody wants it sent any more.
    is_discarded: bool = False
    #: Called with the arguments of the acknowledgement.
    acknowledge: Callable[[list[Any]], None] | None = None
    #: Called when no acknowledgement is expected any more.
    give_up: Callable[[str], None] | None = None


class Outbox:
    """Packets until the connection takes them, in order.

    The writer takes from it while a transport is attached; whatever the transport does not take stays at the
    front for the next one.
    """

    def __init__(self, limit: int) -> None:
        """Refuse packets when `limit` of them wait."""
        self._limit = limit
        self._packets: deque[Outgoing] = deque()
        self._changed = threading.Condition()
        self._transport: Transport | None = None
        # Counts the writers, so that one that ends late takes nothing from its successor.
        self._turn = 0
        self._in_hand: Outgoing | None = None
        self._flushing = 0
        #: How many packets were refused since the hub was made.
        self.refused_count = 0

    def __len__(self) -> int:
        return len(self._packets)

    def put(self, packet: Outgoing) -> None:
        """Add `packet` at the end.

        Raises:
            OutgoingQueueFull: when there is no room.
        """
        with self._changed:
            if len(self._packets) >= self._limit:
                self.refused_count += 1
                raise OutgoingQueueFull(
                    f"{len(self._packets)} packets wait for the event hub's connection already; "
                    f"{packet.description} was refused."
                )
            self._packets.append(packet)
            self._changed.notify_all()

    def put_first(self, packet: Outgoing) -> None:
        """Add `packet` in front of all others, whatever the limit; unless the same waits there already."""
        with self._changed:
            if not self._packets or self._packets[0].frame != packet.frame:
                self._packets.appendleft(packet)
                self._changed.notify_all()

    def attach(self, transport: Transport, first: Iterable[Outgoing]) -> None:
        """Let the writer send through `transport`, beginning with `first`.

        Announcements that wait are dropped: `first` is to hold all that the new connection needs.
        """
        with self._changed:
            self._drop_announcements()
            self._packets.extendleft(reversed(list(first)))
            self._transport = transport
            self._changed.notify_all()

    def detach(self, transport: Transport) -> None:
        """Keep the packets until the next transport; announcements are dropped."""
        with self._changed:
            if self._transport is transport:
                self._transport = None
            self._drop_announcements()
            self._changed.notify_all()

    def _drop_announcements(self) -> None:
        # One by one: a signal handler may publish meanwhile, which must not be lost.
        for packet in list(self._packets):
            if packet.is_announcement:
                self._packets.remove(packet)

    def take(self, turn: int, timeout_s: float | None = None) -> tuple[Outgoing, Transport] | None:
        """Return the next packet and what to send it through, waiting for both; None when `turn` is over.

        Raises:
            queue.Empty: when there was nothing to send for so long.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while turn == self._turn:
                if self._transport is not None and self._packets:
                    self._in_hand = self._packets.popleft()
                    return self._in_hand, self._transport
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    raise queue.Empty
                self._changed.wait(remaining)
            return None

    def taken(self, packet: Outgoing, transport: Transport, fate: PacketFate) -> None:
        """Report what became of a packet that :meth:`take` gave; unless sent, `transport` is done with."""
        with self._changed:
            self._in_hand = None
            packet.is_sent = fate is PacketFate.SENT
            if fate is not PacketFate.SENT and self._transport is transport:
                self._transport = None
            if fate is PacketFate.WAITS and not packet.is_announcement and not packet.is_discarded:
                self._packets.appendleft(packet)
            self._changed.notify_all()

    def beginning(self) -> list[Outgoing]:
        """Return the packet that is being sent, and the first of those that wait."""
        with self._changed:
            return [packet for packet in (self._in_hand, *list(self._packets)[:1]) if packet is not None]

    def discard(self, packet: Outgoing) -> None:
        """Forget `packet`, whether it waits or is being sent."""
        with self._changed:
            packet.is_discarded = True
            if packet in self._packets:
                self._packets.remove(packet)

    def flush(self, timeout_s: float, is_settled: Callable[[], bool] = lambda: True) -> bool:
        """Wait until everything is sent and `is_settled`; return False when the time, or the transport, ends
        before. Whoever changes what `is_settled` returns calls :meth:`look_again`.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._flushing += 1
            try:
                while self._packets or self._in_hand is not None or not is_settled():
                    remaining = deadline - time.monotonic()
                    if remaining <= 0 or self._transport is None:
                        return False
                    self._changed.wait(remaining)
                return True
            finally:
                self._flushing -= 1

    def look_again(self) -> None:
        """Have those who :meth:`flush` ask again whether all is settled; costs nothing while nobody does."""
        if self._flushing:
            with self._changed:
                self._changed.notify_all()

    def stop(self) -> None:
        """End the writer's turn."""
        with self._changed:
            self._turn += 1
            self._transport = None
            self._changed.notify_all()

    def restart(self) -> int:
        """Begin a new writer's turn and return it."""
        with self._changed:
            self._turn += 1
            self._changed.notify_all()
            return self._turn

    def clear(self) -> list[Outgoing]:
        """Forget all packets; return those that somebody meant to arrive."""
        with self._changed:
            lost = [packet for packet in self._packets if not packet.is_announcement]
            self._packets.clear()
            return lost
