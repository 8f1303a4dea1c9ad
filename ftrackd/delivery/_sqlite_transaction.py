"""Changes of the SQLite journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ftrackd.api import _json
from ftrackd.delivery import _sqlite_statements as sql
from ftrackd.delivery._sqlite_append import SqliteAppend
from ftrackd.delivery._sqlite_claims import SqliteClaims
from ftrackd.delivery._sqlite_file import content_size_bytes
from ftrackd.delivery._sqlite_known import Known
from ftrackd.delivery._sqlite_schema import decode_keys
from ftrackd.delivery.clock import JournalClock
from ftrackd.delivery.journal import (
    Appended,
    Claim,
    NewDeliveries,
    NewEvent,
    Pruned,
    Reclaimed,
    Replay,
    Replayed,
)

# No wait is longer than this after a restart: a clock that was corrected backwards would otherwise make a
# retry wait for the difference.
LONGEST_DELAY_S: Final = 3600.0

TOKENS_OF_ONE_OPENING: Final = 1 << 32
"""A process that opens the journal begins above all tokens of those before it, without writing each."""


class SqliteTransaction:
    """One open transaction of :class:`SqliteJournal`; see :class:`JournalTransaction` for its promises."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: JournalClock,
        path: Path,
        known: Known,
    ) -> None:
        self._connection = connection
        self._clock = clock
        # One time for all of it: what is not due when it claims is still to come when it asks for that.
        self._now = clock.now()
        self._known = known
        self._appending = SqliteAppend(connection, clock, self._now, known)
        self.events = self._appending.events  # stored in this transaction, or read and found sound
        self._claims = SqliteClaims(connection, clock, self._now, path, known, self.events)

    def finish(self) -> None:
        """Write what is kept once for each transaction."""
        self._known.leases.store(self._connection)

    def recover(self) -> None:
        """Take over the leases of an earlier process, which have ended, and bound every wait."""
        self._known.leases.load(self._connection)
        self._connection.execute(sql.CLAMP, {"limit": self._now + LONGEST_DELAY_S})
        row = self._connection.execute("SELECT value FROM memory WHERE name = 'openings'").fetchone()
        openings = int(row[0]) + 1 if row and row[0].isdigit() else 1
        self.remember("openings", str(openings))
        self._known.tokens = openings * TOKENS_OF_ONE_OPENING

    def keep_leases(self) -> None:
        """Write the leases to a file that took the place of a damaged one."""
        self._known.leases.store_everything(self._connection)

    def append(self, event: NewEvent, deliveries: Sequence[NewDeliveries]) -> Appended:
        """Store an event with its deliveries; an event whose id is stored already changes nothing."""
        return self.append_all([(event, deliveries)])[0]

    def append_all(self, received: Sequence[tuple[NewEvent, Sequence[NewDeliveries]]]) -> list[Appended]:
        """Store several events with their deliveries, in this order, as :meth:`append` does with one."""
        return self._appending.append(received)

    def claim(self, plugin: str, owner: str, limit: int, ready: int, lease_s: float) -> list[Claim]:
        """Lease the oldest deliveries of a plugin that may run, in their order."""
        return self._claims.claim(plugin, owner, limit, ready, lease_s) if limit > 0 else []

    def is_ready(self, plugin: str) -> bool:
        """Whether a delivery of the plugin is ready or due, be it that something stands in its way."""
        return self._claims.is_ready(plugin)

    def next_due_s(self, plugin: str) -> float | None:
        """Seconds until the next delayed delivery of the plugin is due; None when none is to come."""
        return self._claims.next_due_s(plugin)

    def extend(self, owner: str, lease_s: float) -> int:
        """Lease everything this owner still has for this long from now on; returns how many."""
        return self._claims.extend(owner, lease_s)

    def reclaim(self, max_attempts: int, hold: bool) -> list[Reclaimed]:
        """End the claims whose lease ran out: one attempt more, then ready again, or parked at
        ``max_attempts``.
        """
        return self._claims.reclaim(max_attempts, hold)

    def close(self, claims: Sequence[Claim]) -> list[Claim]:
        """Finish deliveries for ever; returns those whose lease was lost, which it leaves alone."""
        return self._claims.close(claims)

    def retry(self, delivery_id: int, token: int, delay_s: float, error: str) -> bool:
        """Count an attempt and offer the delivery again after the delay; False when the lease was lost."""
        return self._claims.retry(delivery_id, token, delay_s, error)

    def park(self, delivery_id: int, token: int, error: str, error_id: str | None, hold: bool) -> bool:
        """Count an attempt and make it a dead letter; ``hold``: its entities wait. False when the lease was
        lost.
        """
        return self._claims.park(delivery_id, token, error, error_id, hold)

    def release(self, delivery_id: int, token: int) -> bool:
        """Give a delivery back that did not run; no attempt is counted. False when the lease was lost."""
        return self._claims.release(delivery_id, token)

    def revive(self, delivery_ids: Sequence[int]) -> int:
        """Offer dead letters again with their attempts forgotten; returns how many there were."""
        count = 0
        for delivery_id in delivery_ids:
            for (plugin,) in self._connection.execute(sql.REVIVE, (delivery_id,)).fetchall():
                self._known.offered(plugin, delivery_id)
                count += 1
        return count

    def drop(self, delivery_ids: Sequence[int]) -> int:
        """Close dead letters for good; returns how many there were."""
        return sum(
            self._connection.execute(sql.DROP, (delivery_id,)).rowcount for delivery_id in delivery_ids
        )

    def forget(self, plugin: str) -> int:
        """Close every delivery of a plugin that is neither claimed nor closed; returns how many."""
        claimed = _json.dumps(list(self._known.leases.of(plugin))).decode()
        self._known.upcoming.forget(plugin)
        return self._connection.execute(
            sql.FORGET, {"now": self._clock.wall(), "plugin": plugin, "claimed": claimed}
        ).rowcount

    def replay(self, what: Replay, limit: int, dry_run: bool) -> list[Replayed]:
        """Make new deliveries, marked replayed, of stored events; with ``dry_run`` only say which."""
        rows = self._connection.execute(
            """SELECT DISTINCT event.seq, event.id, topic, received_at, plugin, keys
               FROM event JOIN delivery ON delivery.event_seq = event.seq
               WHERE (:since IS NULL OR received_at >= :since) AND (:until IS NULL OR received_at <= :until)
                 AND (:event_id IS NULL OR event.id = :event_id) AND (:topic IS NULL OR topic = :topic)
                 AND (:plugin IS NULL OR plugin = :plugin)
               GROUP BY event.seq, plugin ORDER BY event.seq, delivery.id LIMIT :limit""",
            {
                "since": what.since,
                "until": what.until,
                "event_id": what.event_id,
                "topic": what.topic,
                "plugin": what.plugin,
                "limit": limit,
            },
        ).fetchall()
        if not dry_run:
            for seq, _, _, _, plugin, keys in rows:
                new = NewDeliveries((plugin,), decode_keys(keys))
                self._appending.insert(seq, plugin, new, replayed=1)
        return [Replayed(plugin, event_id, topic, at) for _, event_id, topic, at, plugin, _ in rows]

    def prune(
        self, older_than: float, dead_older_than: float, size_limit_bytes: int, limit: int, keep_since: float
    ) -> Pruned:
        """Remove up to ``limit`` of the oldest events without an unfinished delivery."""
        is_over = content_size_bytes(self._connection) > size_limit_bytes
        # By time, not by number, though both are the same order: its index ends the search where events are
        # young.
        rows = self._connection.execute(
            """SELECT seq FROM event WHERE received_at < :before
                 AND NOT EXISTS (SELECT 1 FROM delivery WHERE event_seq = seq AND (
                     state < 4 OR (state = 4 AND received_at >= :dead_older_than)))
               ORDER BY received_at, seq LIMIT :limit""",
            {
                "before": keep_since if is_over else min(older_than, keep_since),
                "dead_older_than": dead_older_than,
                "limit": limit,
            },
        ).fetchall()
        deliveries = dead = 0
        for (seq,) in rows:
            gone = self._connection.execute(
                "DELETE FROM delivery WHERE event_seq = ? RETURNING state", (seq,)
            ).fetchall()
            deliveries += len(gone)
            dead += sum(state == 4 for (state,) in gone)
        self._connection.executemany("DELETE FROM event WHERE seq = ?", rows)
        if rows:
            self._connection.execute("PRAGMA incremental_vacuum(256)").fetchall()
        return Pruned(events=len(rows), deliveries=deliveries, dead=dead, more=len(rows) == limit)

    def remember(self, name: str, value: str) -> None:
        """Keep a small text under a name."""
        self._connection.execute(
            "INSERT INTO memory VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )
