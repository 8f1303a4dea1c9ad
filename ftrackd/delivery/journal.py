"""The journal: what it stores and the interface that every engine of it has.

The unit is a delivery: one event for one plugin. Its states::

    ready ──claim──► claimed ──close──► closed
      ▲                │ │ │
      │◄────release────┘ │ └──park──► parked (or held: parked, and its entities wait)
      │◄──(due)── delayed◄──retry              │
      └◄───────────────────────revive──────────┘

A claim is leased to an owner and carries a token that is higher than every token before it. Whoever settles
a delivery shows the token; if the lease ran out and the delivery was reclaimed, the token is no longer its
own and nothing happens. An attempt is counted when a claim ends without success: by ``retry``, ``park``, or
``reclaim`` after a lost lease. Times are the journal's own clock, so that several machines on one journal
need not agree on the time.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ftrackd.delivery.classification import Lane


class State(enum.IntEnum):
    """The state of a delivery; below PARKED it is unfinished."""

    READY = 0
    CLAIMED = 1
    DELAYED = 2
    HELD = 3
    PARKED = 4
    CLOSED = 5


class NewEvent(NamedTuple):
    """An event to store.

    ``payload`` is the event as JSON bytes, as it came. ``replayed``: not from the live stream.
    """

    id: str
    topic: str
    payload: bytes
    replayed: bool = False


class NewDeliveries(NamedTuple):
    """Deliveries to store with their event, one for each of these plugins.

    ``keys``: ids that keep them in order (see :func:`ftrackd.delivery.ordering.entity_keys`). ``due_in_s``:
    not to be claimed earlier. ``coalesce_key``: a delivery of the same plugin with the same text that nobody
    claimed yet gives way to the new one, which takes over its time.
    """

    plugins: tuple[str, ...]
    keys: tuple[str, ...] = ()
    due_in_s: float = 0.0
    coalesce_key: str | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of an event: its number, whether it was new, and the plugin of each delivery that gave
    way.
    """

    seq: int
    stored: bool
    coalesced: tuple[str, ...] = ()


class Claim(NamedTuple):  # made for each delivery, where a frozen dataclass takes four times as long
    """A delivery leased to an owner, as it is handed over (see :class:`ftrackd.delivery.ports.Handover`).

    ``attempt`` counts from 1. ``received_at``: seconds since 1970.
    """

    delivery_id: int
    token: int
    plugin: str
    event_id: str
    topic: str
    payload: bytes
    keys: tuple[str, ...]
    attempt: int
    replayed: bool
    received_at: float

    @property
    def lane(self) -> Lane:
        """The event lane: nothing else is claimed."""
        return Lane.DURABLE

    @property
    def expires_at(self) -> float | None:
        """Never."""
        return None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A parked delivery, for an operator to judge.

    ``held``: its entities wait. Times are seconds since 1970. ``payload`` is the event as JSON bytes.
    """

    delivery_id: int
    plugin: str
    event_id: str
    topic: str
    payload: bytes
    attempts: int
    error: str
    error_id: str | None
    held: bool
    received_at: float
    parked_at: float


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """A delivery whose owner lost its lease: ``parked`` when it had no attempt left."""

    delivery_id: int
    plugin: str
    event_id: str
    attempts: int
    parked: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """Which events to deliver again.

    All given conditions must hold. ``since`` and ``until``: seconds since 1970, when the event was
    received. ``plugin``: to which plugin; None: to every plugin that had a delivery of the event.
    """

    since: float | None = None
    until: float | None = None
    event_id: str | None = None
    plugin: str | None = None
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """One delivery that a replay makes, or would make."""

    plugin: str
    event_id: str
    topic: str
    received_at: float


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many events and deliveries went, how many of these were dead letters, and whether more is to go."""

    events: int
    deliveries: int
    dead: int
    more: bool


@dataclass(frozen=True, slots=True)
class PluginBacklog:
    """The unfinished deliveries of one plugin; ``oldest_at``: when the oldest event was received."""

    plugin: str
    ready: int
    claimed: int
    delayed: int
    held: int
    parked: int
    oldest_at: float | None

    @property
    def waiting(self) -> int:
        """How many are to be run and are not handed to the plugin."""
        return self.ready + self.delayed + self.held

    @property
    def unfinished(self) -> int:
        """How many wait or run."""
        return self.waiting + self.claimed


@dataclass(frozen=True, slots=True)
class JournalStats:
    """Counts over the whole journal; ``size_bytes`` is what its content takes."""

    events: int
    size_bytes: int
    plugins: tuple[PluginBacklog, ...]


class JournalTransaction(Protocol):
    """Changes that become durable together, or not at all; for one thread.

    All of them happen at one time, that of its beginning.
    """

    def append(self, event: NewEvent, deliveries: Sequence[NewDeliveries]) -> Appended:
        """Store an event with its deliveries; an event whose id is stored already changes nothing."""

    def append_all(self, received: Sequence[tuple[NewEvent, Sequence[NewDeliveries]]]) -> list[Appended]:
        """Store several events with their deliveries, in this order, as :meth:`append` does with one."""

    def claim(self, plugin: str, owner: str, limit: int, ready: int, lease_s: float) -> list[Claim]:
        """Lease the oldest deliveries of a plugin that may run, in their order (see :func:`ordering.choose`).

        What this owner has claimed already does not stand in the way: the owner keeps the order among its
        own.
        """

    def is_ready(self, plugin: str) -> bool:
        """Whether a delivery of the plugin is ready or due, be it that something stands in its way."""

    def next_due_s(self, plugin: str) -> float | None:
        """Seconds until the next delayed delivery of the plugin is due; None when none is to come."""

    def extend(self, owner: str, lease_s: float) -> int:
        """Lease everything this owner still has for this long from now on; returns how many."""

    def reclaim(self, max_attempts: int, hold: bool) -> list[Reclaimed]:
        """End the claims whose lease ran out: one attempt more, then ready again, or parked at
        ``max_attempts``.
        """

    def close(self, claims: Sequence[Claim]) -> list[Claim]:
        """Finish deliveries for ever; returns those whose lease was lost, which it leaves alone."""

    def retry(self, delivery_id: int, token: int, delay_s: float, error: str) -> bool:
        """Count an attempt and offer the delivery again after the delay; False when the lease was lost."""

    def park(self, delivery_id: int, token: int, error: str, error_id: str | None, hold: bool) -> bool:
        """Count an attempt and make it a dead letter; ``hold``: its entities wait. False when the lease was
        lost.
        """

    def release(self, delivery_id: int, token: int) -> bool:
        """Give a delivery back that did not run; no attempt is counted. False when the lease was lost."""

    def revive(self, delivery_ids: Sequence[int]) -> int:
        """Offer dead letters again with their attempts forgotten; returns how many there were."""

    def drop(self, delivery_ids: Sequence[int]) -> int:
        """Close dead letters for good; returns how many there were."""

    def forget(self, plugin: str) -> int:
        """Close every delivery of a plugin that is neither claimed nor closed; returns how many."""

    def replay(self, what: Replay, limit: int, dry_run: bool) -> list[Replayed]:
        """Make new deliveries, marked replayed, of stored events; with ``dry_run`` only say which."""

    def prune(
        self, older_than: float, dead_older_than: float, size_limit_bytes: int, limit: int, keep_since: float
    ) -> Pruned:
        """Remove up to ``limit`` of the oldest events without an unfinished delivery.

        They go when received before ``older_than`` (seconds since 1970), or earlier while the journal is
        over its size. One with a dead letter goes only when received before ``dead_older_than``; one with a
        held dead letter stays, and so does
        whatever was received after ``keep_since``: its id is needed to know it again.
        """

    def remember(self, name: str, value: str) -> None:
        """Keep a small text under a name, durable with the rest of the transaction."""


class Journal(Protocol):
    """Where durable events wait; one instance for each process, its reads allowed from any thread."""

    def transaction(self) -> AbstractContextManager[JournalTransaction]:
        """Change something; committed when the block ends, undone when it raises."""

    def recall(self, name: str) -> str | None:
        """The text kept under a name."""

    def dead_letters(self, plugin: str | None = None, limit: int = 1000) -> list[DeadLetter]:
        """Parked deliveries, newest first."""

    def dead_ids(self, plugin: str | None = None) -> list[int]:
        """The ids of all parked deliveries, oldest first; of one plugin, if it is named."""

    def dead_letter(self, delivery_id: int) -> DeadLetter:
        """One parked delivery.

        Raises:
            UnknownDeliveryError: when no dead letter has this id.
        """

    def seen(self, event_id: str) -> bool:
        """Whether this event is stored."""

    def payloads(self, topic: str, since: float) -> list[bytes]:
        """The stored events of a topic that were received since then (seconds since 1970), oldest first."""

    def stats(self) -> JournalStats:
        """Counts over the whole journal."""

    def repair(self, reason: str) -> None:
        """After a JournalCorruptError: set the damaged content aside, save what can be read of it, and go
        on with that.

        Raises:
            JournalError: when this engine cannot, or there is no room.
        """

    def close(self) -> None:
        """Let go of files; what was claimed stays claimed until its lease runs out."""
