"""Changes of the SQLite journal."""

from __future__ import annotations

import heapq
import itertools
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ftrackd.api import _json
from ftrackd.delivery import _sqlite_rows
from ftrackd.delivery import _sqlite_statements as sql
from ftrackd.delivery._sqlite_append import SqliteAppend
from ftrackd.delivery._sqlite_file import content_size_bytes
from ftrackd.delivery._sqlite_recent import RecentEvents, Row
from ftrackd.delivery._sqlite_schema import claim_checksums, decode_keys, event_checksum
from ftrackd.delivery.clock import JournalClock
from ftrackd.delivery.errors import JournalCorruptError
from ftrackd.delivery.journal import (
    Appended,
    Claim,
    NewDelivery,
    NewEvent,
    Pruned,
    Reclaimed,
    Replay,
    Replayed,
)
from ftrackd.delivery.ordering import Candidate, choose

# No wait is longer than this after a restart: a clock that was corrected backwards would otherwise make a
# retry wait for the difference.
LONGEST_DELAY_S: Final = 3600.0


class SqliteTransaction:
    """One open transaction of :class:`SqliteJournal`; see :class:`JournalTransaction` for its promises."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: JournalClock,
        tokens: int,
        path: Path,
        recent: RecentEvents,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._path = path
        # One time for all of it: what is not due when it claims is still to come when it asks for that.
        self._now = clock.now()
        self._tokens_before = tokens
        self.tokens = tokens
        self._recent = recent
        self._appending = SqliteAppend(connection, clock, self._now)
        self.events = self._appending.events  # stored in this transaction, or read and found sound

    def finish(self) -> None:
        """Write what is kept once for each transaction."""
        if self.tokens != self._tokens_before:
            self.remember("token", str(self.tokens))

    def recover(self) -> None:
        """End every lease and bound every wait."""
        self._connection.execute("UPDATE delivery SET lease_until = 0 WHERE state = 1")
        self._connection.execute(sql.CLAMP, {"limit": self._now + LONGEST_DELAY_S})

    def recall_tokens(self) -> None:
        """Go on with tokens where an earlier process ended."""
        row = self._connection.execute("SELECT value FROM memory WHERE name = 'token'").fetchone()
        self._tokens_before = self.tokens = int(row[0]) if row else 0

    def append(self, event: NewEvent, deliveries: Sequence[NewDelivery]) -> Appended:
        """Store an event with its deliveries; an event whose id is stored already changes nothing."""
        return self.append_all([(event, deliveries)])[0]

    def append_all(self, received: Sequence[tuple[NewEvent, Sequence[NewDelivery]]]) -> list[Appended]:
        """Store several events with their deliveries, in this order, as :meth:`append` does with one."""
        return self._appending.append(received)

    def claim(self, plugin: str, owner: str, limit: int, ready: int, lease_s: float) -> list[Claim]:
        """Lease the oldest deliveries of a plugin that may run, in their order."""
        if limit <= 0:
            return []
        try:
            rows = self._claimable(plugin, owner, limit, ready)
            return self._lease(rows, plugin, owner, self._now + lease_s) if rows else []
        except (struct.error, TypeError) as error:
            raise JournalCorruptError(
                f"The journal {self._path} is damaged: a delivery has values of another type.", self._path
            ) from error

    def _claimable(self, plugin: str, owner: str, limit: int, ready: int) -> list[Row]:
        if self._anything_waits(plugin, owner):
            chosen = choose(self._candidates(plugin, owner, self._now), limit, ready)
            return self._connection.execute(sql.CHOSEN, (_json.dumps(chosen).decode(),)).fetchall()
        return self._oldest(plugin, limit, ready)

    def _anything_waits(self, plugin: str, owner: str) -> bool:
        """Whether something may stand in the way of what is ready: waits, is held, or is leased to others."""
        row = self._connection.execute(sql.ANYTHING_WAITS, {"plugin": plugin, "owner": owner}).fetchone()
        return row is not None

    def _oldest(self, plugin: str, limit: int, ready: int) -> list[Row]:
        """The oldest that are ready, when nothing stands in their way and keys do not matter."""
        rows = self._oldest_at_once(plugin, limit)
        if rows is None:
            rows = self._connection.execute(sql.READY, (plugin, limit)).fetchall()
        if any(row[2] for row in rows):
            chosen = choose((Candidate(row[0], (), tried=row[2] > 0) for row in rows), limit, ready)
            return rows[: len(chosen)]
        return rows

    def _oldest_at_once(self, plugin: str, limit: int) -> list[Row] | None:
        """The same as rows of sql.READY, read in few steps; None when something about them is unusual."""
        (text,) = self._connection.execute(sql.READY_AT_ONCE, (plugin, limit)).fetchone()
        rows: list[Row] = []
        for delivery_id, seq, attempts, was_delayed, keys, replayed in sorted(_json.loads(text)):
            if was_delayed:
                return None
            try:
                keys = bytes.fromhex(keys).decode() if keys else ""
            except UnicodeDecodeError:
                return None
            rows.append((delivery_id, seq, attempts, 0.0, keys, replayed))
        return rows

    def _read_events(self, seqs: Iterable[int]) -> None:
        """Have these events at hand.

        Raises:
            JournalCorruptError: when one is missing or not what was stored.
        """
        wanted = {seq for seq in seqs if seq not in self.events}
        for seq in wanted:
            known = self._recent.get(seq)
            if known is not None:
                self.events[seq] = known
        missing = [seq for seq in wanted if seq not in self.events]
        if not missing:
            return
        found = self._connection.execute(sql.EVENTS, (_json.dumps(missing).decode(),)).fetchall()
        for seq, event_id, topic, payload, received_at, replayed, checksum in found:
            if event_checksum(event_id, topic, payload, received_at, replayed) != checksum:
                raise JournalCorruptError(
                    f"The journal {self._path} is damaged: event {event_id} is not what was stored.",
                    self._path,
                )
            self.events[seq] = (event_id, topic, payload, received_at, replayed, checksum)
        if len(found) < len(missing):
            raise JournalCorruptError(
                f"The journal {self._path} is damaged: a delivery has no event.", self._path
            )

    def _lease(self, rows: Sequence[Row], plugin: str, owner: str, lease_until: float) -> list[Claim]:
        self._read_events(row[1] for row in rows)
        claims, changes = self._leased(rows, plugin)
        for portion in _sqlite_rows.portions(changes):
            self._connection.execute(
                _sqlite_rows.claim(len(portion)),
                (owner, lease_until, *itertools.chain.from_iterable(portion)),
            )
        return claims

    def _leased(self, rows: Sequence[Row], plugin: str) -> tuple[list[Claim], list[tuple[int, int, int]]]:
        """Claims, and the id, token and checksum of each row's change."""
        claims: list[Claim] = []
        changes: list[tuple[int, int, int]] = []
        for delivery_id, seq, attempts, due_at, keys, replayed in rows:
            event_id, topic, payload, received_at, _, _ = self.events[seq]
            self.tokens += 1
            token = self.tokens
            leased, closed = claim_checksums(
                delivery_id, seq, plugin, attempts, due_at, token, keys, replayed
            )
            claims.append(
                Claim(
                    delivery_id,
                    token,
                    plugin,
                    event_id,
                    topic,
                    payload,
                    decode_keys(keys),
                    attempts + 1,
                    bool(replayed),
                    received_at,
                    closed,
                )
            )
            changes.append((delivery_id, token, leased))
        return claims, changes

    def _candidates(self, plugin: str, owner: str, now: float) -> Iterator[Candidate]:
        ready = self._connection.execute(
            "SELECT id, keys, 0, attempts > 0 FROM delivery"
            " WHERE plugin = ? AND state < 4 AND unlikely(state = 0) ORDER BY id",
            (plugin,),
        )
        others = self._connection.execute(
            "SELECT id, keys, state <> 2 OR due_at > :now, attempts > 0 FROM delivery"
            " WHERE plugin = :plugin AND state < 4 AND state > 0"
            " AND NOT (state = 1 AND owner = :owner) ORDER BY id",
            {"plugin": plugin, "now": now, "owner": owner},
        ).fetchall()
        for delivery_id, keys, blocks, tried in heapq.merge(ready, others, key=lambda row: row[0]):
            yield Candidate(delivery_id, decode_keys(keys), bool(blocks), bool(tried))

    def is_ready(self, plugin: str) -> bool:
        """Whether a delivery of the plugin is ready or due, be it that something stands in its way."""
        row = self._connection.execute(
            """SELECT 1 WHERE EXISTS (
                   SELECT 1 FROM delivery WHERE plugin = :plugin AND state < 4 AND unlikely(state = 0))
               OR EXISTS (
                   SELECT 1 FROM delivery WHERE plugin = :plugin AND state < 4 AND unlikely(state = 2)
                   AND due_at <= :now)""",
            {"plugin": plugin, "now": self._now},
        ).fetchone()
        return row is not None

    def next_due_s(self, plugin: str) -> float | None:
        """Seconds until the next delayed delivery of the plugin is due; None when none is to come."""
        now = self._now
        row = self._connection.execute(
            "SELECT min(due_at) FROM delivery"
            " WHERE plugin = ? AND state < 4 AND unlikely(state = 2) AND due_at > ?",
            (plugin, now),
        ).fetchone()
        return None if row[0] is None else float(row[0] - now)

    def extend(self, owner: str, lease_s: float) -> int:
        """Lease everything this owner still has for this long from now on; returns how many."""
        return self._connection.execute(
            "UPDATE delivery SET lease_until = ? WHERE state = 1 AND owner = ?",
            (self._now + lease_s, owner),
        ).rowcount

    def reclaim(self, max_attempts: int, hold: bool) -> list[Reclaimed]:
        """End the claims whose lease ran out: one attempt more, then ready again, or parked at
        ``max_attempts``.
        """
        rows = self._connection.execute(
            sql.RECLAIM, {"max_attempts": max_attempts, "parked": 3 if hold else 4, "now": self._now}
        ).fetchall()
        return [
            Reclaimed(delivery_id, plugin, self._event_id(seq), attempts, parked=state != 0)
            for delivery_id, plugin, seq, attempts, state in sorted(rows)
        ]

    def _event_id(self, seq: int) -> str:
        row = self._connection.execute("SELECT id FROM event WHERE seq = ?", (seq,)).fetchone()
        return str(row[0]) if row else ""

    def close(self, claims: Sequence[Claim]) -> list[Claim]:
        """Finish deliveries for ever; returns those whose lease was lost, which it leaves alone."""
        self._connection.execute("SAVEPOINT closing")
        lost: list[Claim] = []
        if self._close(claims) != len(claims):
            # Rare, and only one by one it is known which.
            self._connection.execute("ROLLBACK TO closing")
            lost = [claim for claim in claims if not self._close([claim])]
        self._connection.execute("RELEASE closing")
        return lost

    def _close(self, claims: Sequence[Claim]) -> int:
        now = self._clock.wall()
        done = [(claim.delivery_id, claim.token, claim.seal) for claim in claims]
        return sum(
            self._connection.execute(
                _sqlite_rows.close(len(portion)), (now, *itertools.chain.from_iterable(portion))
            ).rowcount
            for portion in _sqlite_rows.portions(done)
        )

    def retry(self, delivery_id: int, token: int, delay_s: float, error: str) -> bool:
        """Count an attempt and offer the delivery again after the delay; False when the lease was lost."""
        return self._settle(sql.RETRY, delivery_id, token, due_at=self._now + delay_s, error=error)

    def park(self, delivery_id: int, token: int, error: str, error_id: str | None, hold: bool) -> bool:
        """Count an attempt and make it a dead letter; ``hold``: its entities wait. False when the lease was
        lost.
        """
        state = 3 if hold else 4
        now = self._clock.wall()
        return self._settle(
            sql.PARK, delivery_id, token, state=state, error=error, error_id=error_id, now=now
        )

    def release(self, delivery_id: int, token: int) -> bool:
        """Give a delivery back that did not run; no attempt is counted. False when the lease was lost."""
        return self._settle(sql.RELEASE, delivery_id, token)

    def _settle(self, statement: str, delivery_id: int, token: int, **values: object) -> bool:
        return (
            self._connection.execute(statement, {"id": delivery_id, "token": token, **values}).rowcount == 1
        )

    def revive(self, delivery_ids: Sequence[int]) -> int:
        """Offer dead letters again with their attempts forgotten; returns how many there were."""
        return sum(
            self._connection.execute(sql.REVIVE, (delivery_id,)).rowcount for delivery_id in delivery_ids
        )

    def drop(self, delivery_ids: Sequence[int]) -> int:
        """Close dead letters for good; returns how many there were."""
        return sum(
            self._connection.execute(sql.DROP, (delivery_id,)).rowcount for delivery_id in delivery_ids
        )

    def forget(self, plugin: str) -> int:
        """Close every delivery of a plugin that is neither claimed nor closed; returns how many."""
        return self._connection.execute(sql.FORGET, {"now": self._clock.wall(), "plugin": plugin}).rowcount

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
                self._appending.insert(seq, NewDelivery(plugin, decode_keys(keys)), replayed=1)
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
