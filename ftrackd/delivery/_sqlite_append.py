"""Storing events and their deliveries in the SQLite journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Final

from ftrackd.delivery import _sqlite_rows
from ftrackd.delivery._sqlite_known import Known
from ftrackd.delivery._sqlite_recent import Row
from ftrackd.delivery._sqlite_schema import (
    delivery_checksum,
    encode_keys,
    event_checksum,
    ready_checksums,
)
from ftrackd.delivery._sqlite_statements import GIVE_WAY, MAY_GIVE_WAY
from ftrackd.delivery.clock import JournalClock
from ftrackd.delivery.journal import Appended, NewDeliveries, NewEvent

_INSERT_DELIVERY: Final = """
INSERT INTO delivery
    (id, event_seq, plugin, state, attempts, due_at, keys, replayed, checksum, coalesce_key)
VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?)
"""


class SqliteAppend:
    """Stores events within one transaction. ``events`` are the rows of those that it stored, by number."""

    def __init__(self, connection: sqlite3.Connection, clock: JournalClock, now: float, known: Known) -> None:
        self._connection = connection
        self._clock = clock
        self._now = now
        self._known = known
        self._last_event = _LastNumber(connection, "event")
        self._last_delivery = _LastNumber(connection, "delivery")
        self._event_rows: list[Row] = []  # not inserted yet, like the next
        self._ready_rows: list[Row] = []
        self.events: dict[int, Row] = {}

    def append(self, received: Sequence[tuple[NewEvent, Sequence[NewDeliveries]]]) -> list[Appended]:
        """Store events with their deliveries; one whose id is stored already changes nothing."""
        stored = self._stored([event.id for event, _ in received])
        appended: list[Appended] = []
        for event, deliveries in received:
            seq = stored.get(event.id)
            if seq is not None:
                appended.append(Appended(seq, stored=False))
                continue
            seq = stored[event.id] = self._add_event(event)
            gone: list[str] = []
            for new in deliveries:
                if new.due_in_s > 0 or new.coalesce_key is not None:
                    for plugin in new.plugins:
                        gone += [plugin] * self.insert(seq, plugin, new, int(event.replayed))
                else:
                    self._add_ready(seq, new.plugins, new.keys, int(event.replayed))
            appended.append(Appended(seq, stored=True, coalesced=tuple(gone)))
        self._insert_added()
        return appended

    def _stored(self, event_ids: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for portion in _sqlite_rows.portions(event_ids):
            found.update(
                self._connection.execute(_sqlite_rows.known_events(len(portion)), portion).fetchall()
            )
        return found

    def _add_event(self, event: NewEvent) -> int:
        received_at = self._clock.wall()
        replayed = int(event.replayed)
        checksum = event_checksum(event.id, event.topic, event.payload, received_at, replayed)
        row = (event.id, event.topic, event.payload, received_at, replayed, checksum)
        seq = self._last_event.next()
        self.events[seq] = row
        self._event_rows.append((seq, *row))
        return seq

    def _add_ready(self, seq: int, plugins: tuple[str, ...], keys: tuple[str, ...], replayed: int) -> None:
        text = encode_keys(keys)
        first = self._last_delivery.next(len(plugins))
        checksums = ready_checksums(first, seq, plugins, text, replayed)
        self._ready_rows += zip(
            range(first, first + len(plugins)),
            repeat(seq),
            plugins,
            repeat(text),
            repeat(replayed),
            checksums,
            strict=False,
        )
        self._known.upcoming.append(first, seq, plugins, keys, replayed)

    def _insert_added(self) -> None:
        for statement, rows in (
            (_sqlite_rows.insert_events, self._event_rows),
            (_sqlite_rows.insert_ready, self._ready_rows),
        ):
            for portion in _sqlite_rows.portions(rows):
                self._connection.execute(statement(len(portion)), list(chain.from_iterable(portion)))
            rows.clear()

    def insert(self, seq: int, plugin: str, new: NewDeliveries, replayed: int) -> int:
        """Insert a plugin's delivery of an event; return how many give way to it."""
        now = self._now
        due_at = now + new.due_in_s if new.due_in_s > 0 else 0.0
        gone = 0
        if new.coalesce_key is not None:
            dues = self._give_way(plugin, new.coalesce_key)
            gone = len(dues)
            # The first event of a burst sets the time, so that an endless burst is still delivered once in
            # each window.
            due_at = min(dues, default=due_at)
        state, keys, one = 2 if due_at else 0, encode_keys(new.keys), self._last_delivery.next()
        if due_at:
            self._known.upcoming.hindered(plugin)
        else:
            self._known.upcoming.append(one, seq, (plugin,), new.keys, replayed)
        checksum = delivery_checksum(one, seq, plugin, state, 0, due_at, keys, replayed)
        self._connection.execute(
            _INSERT_DELIVERY,
            (one, seq, plugin, state, due_at, keys, replayed, checksum, new.coalesce_key),
        )
        return gone

    def _give_way(self, plugin: str, coalesce_key: str) -> list[float]:
        """Close what nobody has claimed of a plugin with this key; return when each was due."""
        dues: list[float] = []
        claimed = self._known.leases.of(plugin)
        for one, due_at in self._connection.execute(MAY_GIVE_WAY, (plugin, coalesce_key)).fetchall():
            if one not in claimed:
                self._known.upcoming.forget(plugin)
                self._connection.execute(GIVE_WAY, {"id": one, "now": self._now})
                dues.append(due_at)
        return dues


class _LastNumber:
    """Numbers of a table that were never used; chosen here because rows are inserted many at a time, and
    their checksums cover them.
    """

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        self._connection = connection
        self._table = table
        self._last: int | None = None

    def next(self, count: int = 1) -> int:
        """Return the first of the next so many."""
        if self._last is None:
            row = self._connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = ?", (self._table,)
            ).fetchone()
            self._last = row[0] if row else 0
        first, self._last = self._last + 1, self._last + count
        return first
