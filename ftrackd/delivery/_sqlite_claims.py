"""Claiming deliveries of the SQLite journal, and settling what was claimed."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path

from ftrackd.api import _json
from ftrackd.delivery import _sqlite_statements as sql
from ftrackd.delivery._sqlite_known import Known
from ftrackd.delivery._sqlite_leases import Lease
from ftrackd.delivery._sqlite_recent import Row
from ftrackd.delivery._sqlite_schema import decode_keys, event_checksum
from ftrackd.delivery._sqlite_upcoming import Unclaimed
from ftrackd.delivery.clock import JournalClock
from ftrackd.delivery.errors import JournalCorruptError
from ftrackd.delivery.journal import Claim, Reclaimed
from ftrackd.delivery.ordering import Candidate, choose


class SqliteClaims:
    """Claims and settles within one transaction.

    Args:
        connection: the one that writes.
        clock: the journal's.
        now: the transaction's time.
        path: the file, for errors.
        known: what need not be read.
        events: rows of events that this transaction stored, by number; those that it reads are added.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: JournalClock,
        now: float,
        path: Path,
        known: Known,
        events: dict[int, Row],
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._now = now
        self._path = path
        self._known = known
        self._leases = known.leases
        self._upcoming = known.upcoming
        self._events = events

    def claim(self, plugin: str, owner: str, limit: int, ready: int, lease_s: float) -> list[Claim]:
        """Lease the oldest deliveries of a plugin that may run, in their order."""
        rows = self._claimable(plugin, owner, limit, ready)
        return self._lease(rows, plugin, owner, self._now + lease_s) if rows else []

    def _claimable(self, plugin: str, owner: str, limit: int, ready: int) -> list[Unclaimed]:
        if self._leases.has_others(plugin, owner) or self._is_any_delayed_or_held(plugin):
            chosen = choose(self._candidates(plugin, owner), limit, ready)
            self._upcoming.forget(plugin)
            return self._read(sql.CHOSEN, (_json.dumps(chosen).decode(),))
        return self._oldest(plugin, limit, ready)

    def _is_any_delayed_or_held(self, plugin: str) -> bool:
        if self._upcoming.is_hindered(plugin):
            found = self._connection.execute(sql.DELAYED_OR_HELD, (plugin,)).fetchone()
            self._upcoming.hindered(plugin, hindered=found is not None)
        return self._upcoming.is_hindered(plugin)

    def _oldest(self, plugin: str, limit: int, ready: int) -> list[Unclaimed]:
        """The oldest that are ready, when nothing stands in their way and keys do not matter."""
        rows = self._upcoming.first(plugin, limit)
        if rows is None:
            self._read_ahead(plugin, limit)
            rows = self._upcoming.first(plugin, limit) or []
        if any(row[2] for row in rows):
            chosen = choose((Candidate(row[0], (), tried=row[2] > 0) for row in rows), limit, ready)
            rows = rows[: len(chosen)]
        if rows:
            self._upcoming.drop(plugin, len(rows))
            self._leases.advance(plugin, rows[-1][0])
        return rows

    def _read_ahead(self, plugin: str, limit: int) -> None:
        frontier, claimed = self._leases.frontier(plugin), self._leases.of(plugin)
        count = max(limit, self._upcoming.read_ahead) + sum(one > frontier for one in claimed)
        parameters = (plugin, frontier, count)
        rows = self._ready_at_once(parameters)
        if rows is None:
            rows = self._read(sql.READY, parameters)
        unclaimed = [row for row in rows if row[0] not in claimed]
        self._upcoming.read(plugin, unclaimed, complete=len(rows) < count)

    def _ready_at_once(self, parameters: tuple[str, int, int]) -> list[Unclaimed] | None:
        """The rows of sql.READY, read in few steps; None when their keys are no text."""
        (text,) = self._connection.execute(sql.READY_AT_ONCE, parameters).fetchone()
        try:
            rows = [
                (one, seq, attempts, decode_keys(bytes.fromhex(keys).decode()) if keys else (), replayed)
                for one, seq, attempts, keys, replayed in sorted(_json.loads(text))
            ]
        except UnicodeDecodeError:
            return None
        return self._sound(rows)

    def _read(self, statement: str, parameters: Sequence[object]) -> list[Unclaimed]:
        """The rows of sql.READY or sql.CHOSEN."""
        found = self._connection.execute(statement, parameters).fetchall()
        return self._sound(
            [
                (one, seq, attempts, decode_keys(keys), replayed)
                for one, seq, attempts, keys, replayed in found
            ]
        )

    def _sound(self, rows: list[Unclaimed]) -> list[Unclaimed]:
        """The same rows.

        Raises:
            JournalCorruptError: when one has values of another type.
        """
        numbers = [(seq, attempts, replayed) for _, seq, attempts, _, replayed in rows]
        if not {*map(type, chain.from_iterable(numbers))} <= {int}:
            raise JournalCorruptError(
                f"The journal {self._path} is damaged: a delivery has values of another type.", self._path
            )
        return rows

    def _candidates(self, plugin: str, owner: str) -> Iterator[Candidate]:
        claimed, now = self._leases.of(plugin), self._now
        ready = self._connection.execute(sql.READY_KEYS, (plugin,))
        waiting = self._connection.execute(sql.WAITING, (plugin,)).fetchall()
        for delivery_id, keys, state, due_at, attempts in heapq.merge(ready, waiting):
            held = claimed.get(delivery_id)
            if held is None:
                blocks = state == 3 or (state == 2 and due_at > now)
                yield Candidate(delivery_id, decode_keys(keys), blocks, attempts > 0)
            elif held[1].owner != owner:
                yield Candidate(delivery_id, decode_keys(keys), blocks=True)

    def _lease(self, rows: Sequence[Unclaimed], plugin: str, owner: str, until: float) -> list[Claim]:
        ids, seqs, attempts, keys, replayed = zip(*rows, strict=True)
        events = self._events_of(seqs)
        event_ids, topics, payloads, times, _, _ = zip(*events, strict=True)
        first = self._known.tokens + 1
        tokens = range(first, first + len(rows))
        self._known.tokens += len(rows)
        self._leases.add(plugin, dict(zip(ids, tokens, strict=True)), Lease(owner, until))
        # Column by column, because a line of Python for each delivery takes several times as long.
        columns = (
            ids,
            tokens,
            repeat(plugin),
            event_ids,
            topics,
            payloads,
            keys,
            [count + 1 for count in attempts],
            map(bool, replayed),
            times,
        )
        return list(map(Claim._make, zip(*columns, strict=False)))

    def _events_of(self, seqs: Sequence[int]) -> list[Row]:
        """The rows of these events.

        Raises:
            JournalCorruptError: when one is missing or not what was stored.
        """
        events = self._events
        missing: list[int] = []
        for seq in set(seqs).difference(events):
            known = self._known.recent.get(seq)
            if known is not None:
                events[seq] = known
            else:
                missing.append(seq)
        if missing:
            self._read_events(missing)
        return [events[seq] for seq in seqs]

    def _read_events(self, missing: Sequence[int]) -> None:
        found = self._connection.execute(sql.EVENTS, (_json.dumps(missing).decode(),)).fetchall()
        for seq, event_id, topic, payload, received_at, replayed, checksum in found:
            if event_checksum(event_id, topic, payload, received_at, replayed) != checksum:
                raise JournalCorruptError(
                    f"The journal {self._path} is damaged: event {event_id} is not what was stored.",
                    self._path,
                )
            self._events[seq] = (event_id, topic, payload, received_at, replayed, checksum)
        if len(found) < len(missing):
            raise JournalCorruptError(
                f"The journal {self._path} is damaged: a delivery has no event.", self._path
            )

    def is_ready(self, plugin: str) -> bool:
        """Whether a delivery of the plugin is ready or due, be it that something stands in its way."""
        has_any = self._upcoming.has_any(plugin)
        if has_any is None:
            claimed = self._leases.of(plugin)
            has_any = self._is_any(sql.READY_IDS, plugin, self._leases.frontier(plugin), len(claimed) + 1)
        return has_any or (self._upcoming.is_hindered(plugin) and self._is_any_due(plugin))

    def _is_any_due(self, plugin: str) -> bool:
        return self._is_any(sql.DUE_IDS, plugin, self._now, len(self._leases.of(plugin)) + 1)

    def _is_any(self, statement: str, plugin: str, after: float, count: int) -> bool:
        """Whether a statement that gives ids gives one that nobody has claimed."""
        claimed = self._leases.of(plugin)
        found = self._connection.execute(statement, (plugin, after, count)).fetchall()
        return any(one not in claimed for (one,) in found)

    def next_due_s(self, plugin: str) -> float | None:
        """Seconds until the next delayed delivery of the plugin is due; None when none is to come."""
        if not self._upcoming.is_hindered(plugin):
            return None
        row = self._connection.execute(sql.NEXT_DUE, (plugin, self._now)).fetchone()
        return None if row[0] is None else float(row[0] - self._now)

    def extend(self, owner: str, lease_s: float) -> int:
        """Lease everything this owner still has for this long from now on; returns how many."""
        return self._leases.extend(owner, self._now + lease_s)

    def reclaim(self, max_attempts: int, hold: bool) -> list[Reclaimed]:
        """End the claims whose lease ran out: one attempt more, then ready again, or parked at
        ``max_attempts``.
        """
        values = {"max_attempts": max_attempts, "parked": 3 if hold else 4, "now": self._now}
        reclaimed: list[Reclaimed] = []
        for delivery_id, plugin in self._leases.take_expired(self._now):
            for seq, attempts, state in self._connection.execute(sql.RECLAIM, {"id": delivery_id, **values}):
                self._known.offered(plugin, delivery_id)
                self._upcoming.hindered(plugin)
                event_id = self._event_id(seq)
                reclaimed.append(Reclaimed(delivery_id, plugin, event_id, attempts, parked=state != 0))
        return reclaimed

    def _event_id(self, seq: int) -> str:
        row = self._connection.execute("SELECT id FROM event WHERE seq = ?", (seq,)).fetchone()
        return str(row[0]) if row else ""

    def close(self, claims: Sequence[Claim]) -> list[Claim]:
        """Finish deliveries for ever; returns those whose lease was lost, which it leaves alone."""
        own, lost = self._leases.take_all(claims)
        if own and not self._close([claim.delivery_id for claim in own]):
            # A damaged journal was replaced, and some of these could not be saved.
            ids = _json.dumps([claim.delivery_id for claim in own]).decode()
            closed = {one for (one,) in self._connection.execute(sql.CLOSED, (ids,)).fetchall()}
            lost += [claim for claim in own if claim.delivery_id not in closed]
        return lost

    def _close(self, delivery_ids: Sequence[int]) -> bool:
        """Whether all of them could be closed."""
        values = {"ids": _json.dumps(delivery_ids).decode(), "now": self._clock.wall()}
        closed = self._connection.execute(sql.CLOSE_READY, values).rowcount
        if closed < len(delivery_ids):
            closed += self._connection.execute(sql.CLOSE_DELAYED, values).rowcount
        return closed == len(delivery_ids)

    def retry(self, delivery_id: int, token: int, delay_s: float, error: str) -> bool:
        """Count an attempt and offer the delivery again after the delay; False when the lease was lost."""
        return self._settle(sql.RETRY, delivery_id, token, due_at=self._now + delay_s, error=error)

    def park(self, delivery_id: int, token: int, error: str, error_id: str | None, hold: bool) -> bool:
        """Count an attempt and make it a dead letter; ``hold``: its entities wait. False when the lease was
        lost.
        """
        now = self._clock.wall()
        state = 3 if hold else 4
        return self._settle(
            sql.PARK, delivery_id, token, state=state, error=error, error_id=error_id, now=now
        )

    def release(self, delivery_id: int, token: int) -> bool:
        """Give a delivery back that did not run; no attempt is counted. False when the lease was lost."""
        return self._settle(sql.RELEASE, delivery_id, token)

    def _settle(self, statement: str, delivery_id: int, token: int, **values: object) -> bool:
        plugin = self._leases.plugin_of(delivery_id)
        if plugin is None or not self._leases.take(plugin, delivery_id, token):
            return False
        self._known.offered(plugin, delivery_id)
        self._upcoming.hindered(plugin)
        return self._connection.execute(statement, {"id": delivery_id, **values}).rowcount == 1
