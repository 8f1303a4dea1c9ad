"""The embedded journal: one SQLite file, in WAL mode, synced at each commit."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

from ftrackd.delivery import _sqlite_file
from ftrackd.delivery._sqlite_errors import translated
from ftrackd.delivery._sqlite_inspection import Inspection
from ftrackd.delivery._sqlite_known import Known
from ftrackd.delivery._sqlite_leases import CLAIMED
from ftrackd.delivery._sqlite_salvage import CHECK_AT_OPEN_BYTES
from ftrackd.delivery._sqlite_transaction import SqliteTransaction
from ftrackd.delivery._sqlite_upcoming import READ_AHEAD, Upcoming
from ftrackd.delivery.clock import JournalClock
from ftrackd.delivery.errors import (
    JournalCorruptError,
    JournalError,
    JournalRemovedError,
    UnknownDeliveryError,
)
from ftrackd.delivery.failpoints import failpoint
from ftrackd.delivery.journal import DeadLetter, JournalStats, PluginBacklog, State

_DEAD = """
SELECT delivery.id, plugin, event.id, topic, payload, attempts, error, error_id, state, received_at,
       settled_at
FROM delivery JOIN event ON event.seq = delivery.event_seq
WHERE delivery.state IN (3, 4)
"""
_OLDEST_EVENT: Final = """
SELECT min(received_at) FROM event WHERE seq IN (SELECT event_seq FROM delivery WHERE id IN (
    SELECT min(id) FROM delivery WHERE plugin = :plugin AND state < 4 AND unlikely(state = 0) UNION ALL
    SELECT min(id) FROM delivery WHERE plugin = :plugin AND state < 4 AND unlikely(state = 2)))
"""
# One statement, because what is claimed still stands in the table as ready or delayed. To count what is equal
# takes half as long as to group a backlog, whose plugins and states are few.
_COUNTS: Final = f"""
WITH RECURSIVE backlog (plugin) AS (
    SELECT min(plugin) FROM delivery WHERE state < 4
    UNION ALL
    SELECT (SELECT min(delivery.plugin) FROM delivery WHERE delivery.plugin > backlog.plugin AND state < 4)
    FROM backlog WHERE backlog.plugin IS NOT NULL
)
SELECT plugin, column1, (
    SELECT count(*) FROM delivery
    WHERE delivery.plugin = backlog.plugin AND state < 4 AND unlikely(state = column1)
), 0
FROM backlog, (VALUES ({State.READY:d}), ({State.DELAYED:d}), ({State.HELD:d}))
WHERE plugin IS NOT NULL
UNION ALL
SELECT lease.plugin, delivery.state, count(*), 1
FROM lease, {CLAIMED} AS claimed CROSS JOIN delivery ON delivery.id = claimed.value
WHERE +delivery.state < 4 GROUP BY lease.plugin, delivery.state
"""  # noqa: S608
# About 10 MB of log between two checkpoints, each of which syncs the file itself. To write where the log has
# been written before takes a disk less than to let it grow, so it should not become longer than it must.
_CHECKPOINT_EVERY: Final = 10_000
# A commit writes whole pages, nine of them for a single event: as many as so many rows fill.
_ROWS_OF_A_COMMIT: Final = 30


class SqliteJournal:
    """A journal in a file; one process at a time owns it.

    Opening it ends the leases of whoever had it before, because the lock on the file proves that they are
    gone. ``salvage`` tells what opening a damaged file saved, None when it was sound.

    Args:
        path: the file; its folder must exist.
        clock: time of leases and delays.
        checkpoint_every: how long the write-ahead log becomes before it is moved into the file, in changes of
            rows; each commit counts for some more.
        check_at_open_bytes: size up to which the content is checked at once; a larger journal is checked in a
            thread, while it is used.
        read_ahead: how many deliveries of one plugin are read at once.

    Raises:
        JournalError: one of its kinds, when the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        clock: JournalClock | None = None,
        *,
        checkpoint_every: int = _CHECKPOINT_EVERY,
        check_at_open_bytes: int = CHECK_AT_OPEN_BYTES,
        read_ahead: int = READ_AHEAD,
    ) -> None:
        self._checkpoint_every = checkpoint_every
        self._check_at_open_bytes = check_at_open_bytes
        self.path = path
        self._clock = clock or JournalClock()
        self._lock = threading.RLock()  # one transaction at a time
        self._read_lock = threading.Lock()  # guards _reader
        self._closed = False
        self._logged = 0  # since the last checkpoint, in changes of rows
        self._inspection: Inspection | None = None
        self._known = Known(Upcoming(read_ahead))
        self._lock_file = _sqlite_file.lock(path)
        try:
            with translated(path):
                self._writer, self.salvage = _sqlite_file.open_writer(path, check_at_open_bytes)
                self._identity = _sqlite_file.identity(path)
                failpoint("journal.open.before_recovery")
                self._recover()
                failpoint("journal.open.after_recovery")
                self._reader = _sqlite_file.connect_reader(path)
                if self._size_bytes() > self._check_at_open_bytes:
                    self._inspection = Inspection(path)
        except BaseException:
            self._unlock()
            raise

    def _end_inspection(self) -> None:
        if self._inspection is not None:
            self._inspection.stop()
            self._inspection = None

    def _recover(self) -> None:
        """End all leases; bring waits that a corrected clock made absurd back into bounds."""
        with self.transaction() as transaction:
            transaction.recover()

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        """Change something; committed when the block ends, undone when it raises."""
        with self._lock, translated(self.path):
            if self._closed:
                raise JournalError(f"The journal {self.path} is closed.", self.path)
            if self._is_removed():
                raise JournalRemovedError(
                    f"The journal {self.path} was removed or replaced while it was in use.", self.path
                )
            if self._inspection is not None and self._inspection.damage is not None:
                raise JournalCorruptError(self._inspection.damage, self.path)
            before = self._writer.total_changes
            self._writer.execute("BEGIN IMMEDIATE")
            failpoint("journal.begin")
            transaction = SqliteTransaction(self._writer, self._clock, self.path, self._known)
            try:
                yield transaction
                transaction.finish()
                failpoint("journal.before_commit")
                self._writer.execute("COMMIT")
            except BaseException:
                self._known.undo()
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            self._known.keep(transaction.events)
            failpoint("journal.after_commit")
            self._checkpoint(self._writer.total_changes - before)

    def _checkpoint(self, changes: int) -> None:
        """Move the write-ahead log, longer by *changes* of rows, into the file when it is no longer short."""
        if changes:
            self._logged += changes + _ROWS_OF_A_COMMIT
        if self._logged < self._checkpoint_every:
            return
        self._logged = 0
        failpoint("journal.before_checkpoint")
        self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        failpoint("journal.after_checkpoint")

    def recall(self, name: str) -> str | None:
        """The text kept under a name."""
        rows = self._read("SELECT value FROM memory WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def seen(self, event_id: str) -> bool:
        """Whether this event is stored."""
        return bool(self._read("SELECT 1 FROM event WHERE id = ?", (event_id,)))

    def dead_letters(self, plugin: str | None = None, limit: int = 1000) -> list[DeadLetter]:
        """Parked deliveries, newest first."""
        if plugin is None:
            rows = self._read(f"{_DEAD} ORDER BY delivery.id DESC LIMIT ?", (limit,))
        else:
            rows = self._read(f"{_DEAD} AND plugin = ? ORDER BY delivery.id DESC LIMIT ?", (plugin, limit))
        return [_dead_letter(row) for row in rows]

    def dead_ids(self, plugin: str | None = None) -> list[int]:
        """The ids of all parked deliveries, oldest first."""
        rows = self._read("SELECT id, plugin FROM delivery WHERE state IN (3, 4) ORDER BY id")
        return [cast("int", delivery_id) for delivery_id, of in rows if plugin in (None, of)]

    def dead_letter(self, delivery_id: int) -> DeadLetter:
        """One parked delivery.

        Raises:
            UnknownDeliveryError: when no dead letter has this id.
        """
        rows = self._read(f"{_DEAD} AND delivery.id = ?", (delivery_id,))
        if not rows:
            raise UnknownDeliveryError(
                f"No dead letter has the id {delivery_id}; 'ftrackd dead list' shows them."
            )
        return _dead_letter(rows[0])

    def payloads(self, topic: str, since: float) -> list[bytes]:
        """The stored events of a topic that were received since then, oldest first."""
        rows = self._read(
            "SELECT payload FROM event WHERE received_at >= ? AND topic = ? ORDER BY seq", (since, topic)
        )
        return [row[0] for row in rows if isinstance(row[0], bytes)]

    def stats(self) -> JournalStats:
        """Counts over the whole journal."""
        counts: dict[str, dict[int, int]] = {}
        for plugin, in_table, number, is_claimed in self._read(_COUNTS):
            of_plugin = counts.setdefault(str(plugin), {})
            state, count = int(str(in_table)), int(str(number))
            if is_claimed:
                of_plugin[State.CLAIMED] = of_plugin.get(State.CLAIMED, 0) + count
                count = -count
            of_plugin[state] = of_plugin.get(state, 0) + count
        for plugin, parked in self._read(
            "SELECT plugin, count(*) FROM delivery WHERE state IN (3, 4) AND state = 4 GROUP BY plugin"
        ):
            counts.setdefault(str(plugin), {})[int(State.PARKED)] = int(str(parked))
        backlogs = tuple(self._backlog(plugin, states) for plugin, states in sorted(counts.items()))
        events = int(str(self._read("SELECT count(*) FROM event")[0][0]))
        return JournalStats(events=events, size_bytes=self._size_bytes(), plugins=backlogs)

    def _backlog(self, plugin: str, states: dict[int, int]) -> PluginBacklog:
        oldest = self._read(_OLDEST_EVENT, {"plugin": plugin})[0][0]
        return PluginBacklog(
            plugin=plugin,
            ready=states.get(State.READY, 0),
            claimed=states.get(State.CLAIMED, 0),
            delayed=states.get(State.DELAYED, 0),
            held=states.get(State.HELD, 0),
            parked=states.get(State.PARKED, 0),
            oldest_at=float(str(oldest)) if oldest is not None else None,
        )

    def _size_bytes(self) -> int:
        with self._read_lock, translated(self.path):
            return _sqlite_file.content_size_bytes(self._reader)

    def _read(
        self, statement: str, parameters: tuple[object, ...] | dict[str, object] = ()
    ) -> list[tuple[object, ...]]:
        with self._read_lock, translated(self.path):
            if self._closed:
                raise JournalError(f"The journal {self.path} is closed.", self.path)
            return self._reader.execute(statement, parameters).fetchall()

    def _is_removed(self) -> bool:
        # What is written to a file without a name is gone with this process, and nobody would notice.
        return _sqlite_file.identity(self.path) != self._identity

    def repair(self, reason: str) -> None:
        """Set the damaged file aside, save what can be read of it, and go on with that; a removed one is
        written anew.
        """
        with self._lock, self._read_lock, translated(self.path):
            self._end_inspection()
            was_removed = self._is_removed()
            if was_removed:
                # Before anything is closed: until it has its name, only our connections can read it.
                _sqlite_file.write_anew(self.path, self._writer)
            self._reader.close()
            self._writer.close()
            self._known.replaced()
            if was_removed:
                self._writer, self.salvage = _sqlite_file.open_writer(self.path, self._check_at_open_bytes)
            else:
                self._writer, self.salvage = _sqlite_file.replace_damaged(
                    self.path, reason, self._check_at_open_bytes
                )
            self._identity = _sqlite_file.identity(self.path)
            self._reader = _sqlite_file.connect_reader(self.path)
            self._lock_again()
            with self.transaction() as transaction:
                transaction.keep_leases()

    def close(self) -> None:
        """Let go of files; what was claimed stays claimed until the journal is opened again."""
        with self._lock, self._read_lock:
            if self._closed:
                return
            self._closed = True
            try:
                with translated(self.path):
                    self._end_inspection()
                    self._reader.close()
                    self._writer.close()
            finally:
                self._unlock()

    def _lock_again(self) -> None:
        """Hold a lock that others see, when the lock's file went with the journal's."""
        lock_path = self.path.with_name(self.path.name + ".lock")
        held = os.fstat(self._lock_file)
        if _sqlite_file.identity(lock_path) != (held.st_dev, held.st_ino):
            lock_file = _sqlite_file.lock(self.path)
            self._unlock()
            self._lock_file = lock_file

    def _unlock(self) -> None:
        fcntl.flock(self._lock_file, fcntl.LOCK_UN)
        os.close(self._lock_file)


def _dead_letter(row: tuple[object, ...]) -> DeadLetter:
    (
        delivery_id,
        plugin,
        event_id,
        topic,
        payload,
        attempts,
        error,
        error_id,
        state,
        received_at,
        parked_at,
    ) = row
    assert isinstance(payload, bytes)
    return DeadLetter(
        delivery_id=int(str(delivery_id)),
        plugin=str(plugin),
        event_id=str(event_id),
        topic=str(topic),
        payload=payload,
        attempts=int(str(attempts)),
        error=str(error or ""),
        error_id=str(error_id) if error_id is not None else None,
        held=state == State.HELD,
        received_at=float(str(received_at)),
        parked_at=float(str(parked_at or 0.0)),
    )
