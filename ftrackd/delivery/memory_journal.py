"""A journal in memory: for tests, for plugin authors' machines, and as the plainest statement of the
contract.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ftrackd.delivery.clock import JournalClock
from ftrackd.delivery.errors import JournalError, UnknownDeliveryError
from ftrackd.delivery.journal import (
    Appended,
    Claim,
    DeadLetter,
    JournalStats,
    NewDeliveries,
    NewEvent,
    PluginBacklog,
    Pruned,
    Reclaimed,
    Replay,
    Replayed,
    State,
)
from ftrackd.delivery.ordering import Candidate, choose

_DEAD = (State.HELD, State.PARKED)


@dataclass(slots=True)
class _Event:
    seq: int
    stored: NewEvent
    received_at: float


@dataclass(slots=True)
class _Row:
    """One delivery, as the SQLite journal's table of the same name has it."""

    id: int
    event: _Event
    plugin: str
    keys: tuple[str, ...]
    replayed: bool
    state: State = State.READY
    attempts: int = 0
    due_at: float = 0.0
    token: int = 0
    owner: str | None = None
    lease_until: float = 0.0
    coalesce_key: str | None = None
    error: str = ""
    error_id: str | None = None
    settled_at: float = 0.0


@dataclass(slots=True)
class _Content:
    """Everything that is stored."""

    events: dict[str, _Event] = field(default_factory=dict)
    rows: dict[int, _Row] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    last_seq: int = 0
    last_delivery: int = 0
    last_token: int = 0


class MemoryJournal:
    """A journal that is gone with its process.

    A transaction copies the content and gives it up again when it fails; that is meant for hundreds of
    events, not for a production.

    Args:
        clock: time of leases and delays.
    """

    def __init__(self, clock: JournalClock | None = None) -> None:
        self._clock = clock or JournalClock()
        self._lock = threading.RLock()  # guards _content
        self._content = _Content()
        self._closed = False

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        """Change something; committed when the block ends, undone when it raises."""
        with self._lock:
            if self._closed:
                raise JournalError("The journal is closed.")
            content = copy.deepcopy(self._content)
            yield MemoryTransaction(content, self._clock)
            self._content = content

    def recall(self, name: str) -> str | None:
        """The text kept under a name."""
        with self._lock:
            return self._content.texts.get(name)

    def seen(self, event_id: str) -> bool:
        """Whether this event is stored."""
        with self._lock:
            return event_id in self._content.events

    def dead_letters(self, plugin: str | None = None, limit: int = 1000) -> list[DeadLetter]:
        """Parked deliveries, newest first."""
        with self._lock:
            dead = [row for row in self._content.rows.values() if row.state in _DEAD]
            return [_dead_letter(row) for row in reversed(dead) if plugin in (None, row.plugin)][:limit]

    def dead_ids(self, plugin: str | None = None) -> list[int]:
        """The ids of all parked deliveries, oldest first."""
        with self._lock:
            dead = [row for row in self._content.rows.values() if row.state in _DEAD]
            return [row.id for row in dead if plugin in (None, row.plugin)]

    def dead_letter(self, delivery_id: int) -> DeadLetter:
        """One parked delivery.

        Raises:
            UnknownDeliveryError: when no dead letter has this id.
        """
        with self._lock:
            row = self._content.rows.get(delivery_id)
            if row is None or row.state not in _DEAD:
                raise UnknownDeliveryError(
                    f"No dead letter has the id {delivery_id}; 'ftrackd dead list' shows them."
                )
            return _dead_letter(row)

    def payloads(self, topic: str, since: float) -> list[bytes]:
        """The stored events of a topic that were received since then, oldest first."""
        with self._lock:
            events = self._content.events.values()
            return [e.stored.payload for e in events if e.stored.topic == topic and e.received_at >= since]

    def stats(self) -> JournalStats:
        """Counts over the whole journal."""
        with self._lock:
            rows = [row for row in self._content.rows.values() if row.state is not State.CLOSED]
            names = sorted({row.plugin for row in rows})
            size = sum(len(event.stored.payload) for event in self._content.events.values())
            backlogs = tuple(_backlog(name, [row for row in rows if row.plugin == name]) for name in names)
            return JournalStats(len(self._content.events), size, backlogs)

    def repair(self, reason: str) -> None:
        """Nothing can be damaged here."""
        raise JournalError(f"A journal in memory cannot be repaired: {reason}")

    def close(self) -> None:
        """Refuse further changes."""
        self._closed = True


class MemoryTransaction:
    """One open transaction of :class:`MemoryJournal`; see :class:`JournalTransaction` for its promises."""

    def __init__(self, content: _Content, clock: JournalClock) -> None:
        self._content = content
        self._clock = clock
        # One time for all of it: what is not due when it claims is still to come when it asks for that.
        self._now = clock.now()

    def append(self, event: NewEvent, deliveries: Sequence[NewDeliveries]) -> Appended:
        """Store an event with its deliveries; an event whose id is stored already changes nothing."""
        content = self._content
        known = content.events.get(event.id)
        if known is not None:
            return Appended(known.seq, stored=False)
        content.last_seq += 1
        stored = content.events[event.id] = _Event(content.last_seq, event, self._clock.wall())
        coalesced: list[str] = []
        for new in deliveries:
            for plugin in new.plugins:
                coalesced += [plugin] * self._insert(stored, plugin, new, event.replayed)
        return Appended(stored.seq, stored=True, coalesced=tuple(coalesced))

    def append_all(self, received: Sequence[tuple[NewEvent, Sequence[NewDeliveries]]]) -> list[Appended]:
        """Store several events with their deliveries, in this order, as :meth:`append` does with one."""
        return [self.append(event, deliveries) for event, deliveries in received]

    def _insert(self, event: _Event, plugin: str, new: NewDeliveries, replayed: bool) -> int:
        now = self._now
        due_at = now + new.due_in_s if new.due_in_s > 0 else 0.0
        gone = [
            row
            for row in self._content.rows.values()
            if new.coalesce_key is not None
            and (row.plugin, row.coalesce_key) == (plugin, new.coalesce_key)
            and row.state in (State.READY, State.DELAYED)
            and row.attempts == 0
        ]
        if gone:
            due_at = min(row.due_at for row in gone)
        for row in gone:
            self._end(row, State.CLOSED, "coalesced")
        self._content.last_delivery += 1
        self._content.rows[self._content.last_delivery] = _Row(
            id=self._content.last_delivery,
            event=event,
            plugin=plugin,
            keys=new.keys,
            replayed=replayed,
            state=State.DELAYED if due_at else State.READY,
            due_at=due_at,
            coalesce_key=new.coalesce_key,
        )
        return len(gone)

    def _end(self, row: _Row, state: State, error: str = "") -> None:
        row.state, row.error, row.owner, row.settled_at = state, error, None, self._clock.wall()

    def claim(self, plugin: str, owner: str, limit: int, ready: int, lease_s: float) -> list[Claim]:
        """Lease the oldest deliveries of a plugin that may run, in their order."""
        if limit <= 0:
            return []
        now = self._now
        candidates = (
            Candidate(row.id, row.keys, blocks=_blocks(row, now), tried=row.attempts > 0)
            for row in self._content.rows.values()
            if row.plugin == plugin
            and row.state < State.PARKED
            and not (row.state is State.CLAIMED and row.owner == owner)
        )
        claims = []
        for delivery_id in choose(candidates, limit, ready):
            row = self._content.rows[delivery_id]
            self._content.last_token += 1
            row.state, row.token, row.owner = State.CLAIMED, self._content.last_token, owner
            row.lease_until = now + lease_s
            claims.append(_claim(row))
        return claims

    def is_ready(self, plugin: str) -> bool:
        """Whether a delivery of the plugin is ready or due, be it that something stands in its way."""
        now = self._now
        rows = [row for row in self._content.rows.values() if row.plugin == plugin]
        return any(
            row.state is State.READY or (row.state is State.DELAYED and row.due_at <= now) for row in rows
        )

    def next_due_s(self, plugin: str) -> float | None:
        """Seconds until the next delayed delivery of the plugin is due; None when none is to come."""
        now = self._now
        rows = [row for row in self._content.rows.values() if row.plugin == plugin]
        dues = [row.due_at - now for row in rows if row.state is State.DELAYED and row.due_at > now]
        return min(dues, default=None)

    def extend(self, owner: str, lease_s: float) -> int:
        """Lease everything this owner still has for this long from now on; returns how many."""
        rows = self._content.rows.values()
        mine = [row for row in rows if row.state is State.CLAIMED and row.owner == owner]
        for row in mine:
            row.lease_until = self._now + lease_s
        return len(mine)

    def reclaim(self, max_attempts: int, hold: bool) -> list[Reclaimed]:
        """End the claims whose lease ran out: one attempt more, then ready again or parked."""
        now = self._now
        lost = [r for r in self._content.rows.values() if r.state is State.CLAIMED and r.lease_until <= now]
        reclaimed = []
        for row in lost:
            row.attempts += 1
            row.due_at = 0.0
            parked = row.attempts >= max_attempts
            state = (State.HELD if hold else State.PARKED) if parked else State.READY
            self._end(row, state, "The process that ran it ended without an outcome.")
            reclaimed.append(Reclaimed(row.id, row.plugin, row.event.stored.id, row.attempts, parked))
        return reclaimed

    def _leased(self, delivery_id: int, token: int) -> _Row | None:
        row = self._content.rows.get(delivery_id)
        return row if row is not None and row.state is State.CLAIMED and row.token == token else None

    def close(self, claims: Sequence[Claim]) -> list[Claim]:
        """Finish deliveries for ever; returns those whose lease was lost, which it leaves alone."""
        return [claim for claim in claims if not self._close(claim)]

    def _close(self, claim: Claim) -> bool:
        row = self._leased(claim.delivery_id, claim.token)
        if row is not None:
            self._end(row, State.CLOSED)
        return row is not None

    def retry(self, delivery_id: int, token: int, delay_s: float, error: str) -> bool:
        """Count an attempt and offer the delivery again after the delay; False when the lease was lost."""
        row = self._leased(delivery_id, token)
        if row is not None:
            row.attempts += 1
            row.due_at = self._now + delay_s
            self._end(row, State.DELAYED, error)
        return row is not None

    def park(self, delivery_id: int, token: int, error: str, error_id: str | None, hold: bool) -> bool:
        """Count an attempt and make it a dead letter; False when the lease was lost."""
        row = self._leased(delivery_id, token)
        if row is not None:
            row.attempts += 1
            row.error_id = error_id
            self._end(row, State.HELD if hold else State.PARKED, error)
        return row is not None

    def release(self, delivery_id: int, token: int) -> bool:
        """Give a delivery back that did not run; no attempt is counted. False when the lease was lost."""
        row = self._leased(delivery_id, token)
        if row is not None:
            row.state, row.owner, row.due_at = State.READY, None, 0.0
        return row is not None

    def _dead(self, delivery_ids: Sequence[int]) -> list[_Row]:
        rows = (self._content.rows.get(delivery_id) for delivery_id in dict.fromkeys(delivery_ids))
        return [row for row in rows if row is not None and row.state in _DEAD]

    def revive(self, delivery_ids: Sequence[int]) -> int:
        """Offer dead letters again with their attempts forgotten; returns how many there were."""
        rows = self._dead(delivery_ids)
        for row in rows:
            row.state, row.attempts, row.due_at = State.READY, 0, 0.0
        return len(rows)

    def drop(self, delivery_ids: Sequence[int]) -> int:
        """Close dead letters for good; returns how many there were."""
        rows = self._dead(delivery_ids)
        for row in rows:
            row.state = State.CLOSED
        return len(rows)

    def forget(self, plugin: str) -> int:
        """Close every delivery of a plugin that is neither claimed nor closed; returns how many."""
        waiting = [
            row
            for row in self._content.rows.values()
            if row.plugin == plugin and row.state not in (State.CLAIMED, State.CLOSED)
        ]
        for row in waiting:
            self._end(row, State.CLOSED, "plugin forgotten")
        return len(waiting)

    def replay(self, what: Replay, limit: int, dry_run: bool) -> list[Replayed]:
        """Make new deliveries, marked replayed, of stored events; with ``dry_run`` only say which."""
        chosen: dict[tuple[int, str], _Row] = {}
        for row in self._content.rows.values():
            if _matches(row, what):
                chosen.setdefault((row.event.seq, row.plugin), row)
        rows = sorted(chosen.values(), key=lambda row: (row.event.seq, row.id))[:limit]
        if not dry_run:
            for row in rows:
                self._insert(row.event, row.plugin, NewDeliveries((row.plugin,), row.keys), replayed=True)
        return [
            Replayed(row.plugin, row.event.stored.id, row.event.stored.topic, row.event.received_at)
            for row in rows
        ]

    def prune(
        self, older_than: float, dead_older_than: float, size_limit_bytes: int, limit: int, keep_since: float
    ) -> Pruned:
        """Remove up to ``limit`` of the oldest events without an unfinished delivery."""
        content = self._content
        over = sum(len(event.stored.payload) for event in content.events.values()) > size_limit_bytes
        kept = {
            row.event.seq
            for row in content.rows.values()
            if row.state < State.PARKED
            or (row.state is State.PARKED and row.event.received_at >= dead_older_than)
        }
        gone = [
            event
            for event in content.events.values()
            if event.seq not in kept
            and event.received_at < keep_since
            and (over or event.received_at < older_than)
        ][:limit]
        numbers = {event.seq for event in gone}
        rows = [row for row in content.rows.values() if row.event.seq in numbers]
        for event in gone:
            del content.events[event.stored.id]
        for row in rows:
            del content.rows[row.id]
        dead = sum(row.state is State.PARKED for row in rows)
        return Pruned(len(gone), len(rows), dead, more=len(gone) == limit)

    def remember(self, name: str, value: str) -> None:
        """Keep a small text under a name."""
        self._content.texts[name] = value


def _blocks(row: _Row, now: float) -> bool:
    return row.state in (State.CLAIMED, State.HELD) or (row.state is State.DELAYED and row.due_at > now)


def _matches(row: _Row, what: Replay) -> bool:
    event = row.event
    return (
        (what.since is None or event.received_at >= what.since)
        and (what.until is None or event.received_at <= what.until)
        and what.event_id in (None, event.stored.id)
        and what.topic in (None, event.stored.topic)
        and what.plugin in (None, row.plugin)
    )


def _claim(row: _Row) -> Claim:
    stored = row.event.stored
    return Claim(
        delivery_id=row.id,
        token=row.token,
        plugin=row.plugin,
        event_id=stored.id,
        topic=stored.topic,
        payload=stored.payload,
        keys=row.keys,
        attempt=row.attempts + 1,
        replayed=row.replayed,
        received_at=row.event.received_at,
    )


def _dead_letter(row: _Row) -> DeadLetter:
    stored = row.event.stored
    return DeadLetter(
        delivery_id=row.id,
        plugin=row.plugin,
        event_id=stored.id,
        topic=stored.topic,
        payload=stored.payload,
        attempts=row.attempts,
        error=row.error,
        error_id=row.error_id,
        held=row.state is State.HELD,
        received_at=row.event.received_at,
        parked_at=row.settled_at,
    )


def _backlog(plugin: str, rows: list[_Row]) -> PluginBacklog:
    counts = {state: sum(row.state is state for row in rows) for state in State}
    oldest = min((row.event.received_at for row in rows if row.state < State.HELD), default=None)
    return PluginBacklog(
        plugin=plugin,
        ready=counts[State.READY],
        claimed=counts[State.CLAIMED],
        delayed=counts[State.DELAYED],
        held=counts[State.HELD],
        parked=counts[State.PARKED],
        oldest_at=oldest,
    )
