"""Storing events and their deliveries in the SQLite journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Final

from ftrackd.delivery import _sqlite_rows
from ftrackd.delivery._sqlite_recent import Row
from ftrackd.delivery._sqlite_schema import delivery_checksum, encode_keys, event_checksum
from ftrackd.delivery._sqlite_statements import GIVE_WAY
from ftrackd.delivery.clock import JournalClock
from ftrackd.delivery.journal import Appended, NewDelivery, NewEvent

_INSERT_DELIVERY: Final = """
INSERT INTO delivery
    (id, event_seq, plugin, state, attempts, due_at, token, keys, replayed, checksum, coalesce_key)
VALUES (?, ?, ?, ?, 0, ?, 0, ?, ?, ?, ?)
"""


class SqliteAppend:
    """Stores events within one transaction. ``events`` are the rows of those that it stored, by number."""

    def __init__(self, connection: sqlite3.Connection, clock: JournalClock, now: float) -> None:
        self._connection = connection
        self._clock = clock
        self._now = now
        self._last_event = _LastNumber(connection, "event")
        self._last_delivery = _LastNumber(connection, "delivery")
        self._event_rows: list[Row] = []  # not inserted yet, like the next
        self._ready_rows: list[Row] = []
        self.events: dict[int, Row] = {}

    def append(self, received: Sequence[tuple[NewEvent, Sequence[NewDelivery]]]) -> list[Appended]:
        """Store events with their deliveries; one whose id is stored already changes nothing."""
        known = self._known([event.id for event, _ in received])
        appended: list[Appended] = []
        for event, deliveries in received:
            seq = known.get(event.id)
            if seq is not None:
                appended.append(Appended(seq, stored=False))
                continue
            seq = known[event.id] = self._add_event(event)
            if _are_alike(deliveries):
                self._add_ready(seq, deliveries, int(event.replayed))
                appended.append(Appended(seq, stored=True))
                continue
            self._insert_added()  # one that coalesces looks at what is stored
            gone: list[str] = []
            for delivery in deliveries:
                gone += [delivery.plugin] * self.insert(seq, delivery, int(event.replayed))
            appended.append(Appended(seq, stored=True, coalesced=tuple(gone)))
        self._insert_added()
        return appended

    def _known(self, event_ids: Sequence[str]) -> dict[str, int]:
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

    def _add_ready(self, seq: int, deliveries: Sequence[NewDelivery], replayed: int) -> None:
        if not deliveries:
            return
        keys = encode_keys(deliveries[0].keys)
        for delivery in deliveries:
            plugin, one = delivery.plugin, self._last_delivery.next()
            checksum = delivery_checksum(one, seq, plugin, 0, 0, 0.0, 0, keys, replayed)
            self._ready_rows.append((one, seq, plugin, keys, replayed, checksum))

    def _insert_added(self) -> None:
        for statement, rows in (
            (_sqlite_rows.insert_events, self._event_rows),
            (_sqlite_rows.insert_ready, self._ready_rows),
        ):
            for portion in _sqlite_rows.portions(rows):
                self._connection.execute(statement(len(portion)), list(chain.from_iterable(portion)))
            rows.clear()

    def insert(self, seq: int, delivery: NewDelivery, replayed: int) -> int:
        """Insert a delivery of a stored event; return how many give way to it."""
        now = self._now
        due_at = now + delivery.due_in_s if delivery.due_in_s > 0 else 0.0
        gone = 0
        if delivery.coalesce_key is not None:
            rows = self._connection.execute(
                GIVE_WAY, {"now": now, "plugin": delivery.plugin, "key": delivery.coalesce_key}
            ).fetchall()
            gone = len(rows)
            # The first event of a burst sets the time, so that an endless burst is still delivered once in
            # each window.
            due_at = min((row[0] for row in rows), default=due_at)
        delivery_id, state, keys = self._last_delivery.next(), 2 if due_at else 0, encode_keys(delivery.keys)
        checksum = delivery_checksum(delivery_id, seq, delivery.plugin, state, 0, due_at, 0, keys, replayed)
        self._connection.execute(
            _INSERT_DELIVERY,
            (
                delivery_id,
                seq,
                delivery.plugin,
                state,
                due_at,
                keys,
                replayed,
                checksum,
                delivery.coalesce_key,
            ),
        )
        return gone


class _LastNumber:
    """Numbers of a table that were never used; chosen here because rows are inserted many at a time, and
    their checksums cover them.
    """

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        self._connection = connection
        self._table = table
        self._last: int | None = None

    def next(self) -> int:
        """Return the next one."""
        if self._last is None:
            row = self._connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = ?", (self._table,)
            ).fetchone()
            self._last = row[0] if row else 0
        self._last += 1
        return self._last


def _are_alike(deliveries: Sequence[NewDelivery]) -> bool:
    """Whether they may all run at once, and differ in their plugins alone."""
    return all(
        delivery.due_in_s <= 0 and delivery.coalesce_key is None and delivery.keys == deliveries[0].keys
        for delivery in deliveries
    )
