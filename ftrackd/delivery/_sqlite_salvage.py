"""Damage in a SQLite journal: finding it, setting the file aside, saving what can be read."""

from __future__ import annotations

import datetime
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import structlog

from ftrackd.delivery._sqlite_schema import add_functions, delivery_checksum, event_checksum
from ftrackd.delivery.errors import JournalCorruptError

# Up to this size the whole content is checked before the daemon starts (about a second); a larger journal
# is checked while it runs.
CHECK_AT_OPEN_BYTES: Final = 64 * 1024 * 1024

_WAL_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_EVENT_COLUMNS: Final = "seq, id, topic, payload, received_at, replayed, checksum"
_DELIVERY_COLUMNS: Final = (
    "id, event_seq, plugin, state, attempts, due_at, keys, replayed, checksum,"
    " coalesce_key, error, error_id, settled_at"
)
_CHECKED_COLUMNS: Final = {
    "delivery": "id, event_seq, plugin, state, attempts, due_at, keys, replayed",
    "event": "id, topic, payload, received_at, replayed",
}
# The texts that these statements are made of are constants of this module, here and below.
_COPY_EVENT: Final = (
    f"INSERT INTO event ({_EVENT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608
)
_COPY_DELIVERY: Final = (
    f"INSERT INTO delivery ({_DELIVERY_COLUMNS}) VALUES ({', '.join('?' * 13)}) ON CONFLICT DO NOTHING"  # noqa: S608
)

_log = structlog.stdlib.get_logger("ftrackd.delivery.salvage")


@dataclass(frozen=True, slots=True)
class SalvageReport:
    """What became of a damaged journal.

    ``path`` is the damaged file under its new name, ``events`` and ``deliveries`` what was saved of it,
    ``unreadable`` how many rows were not.
    """

    path: Path
    reason: str
    events: int = 0
    deliveries: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class WalFacts:
    """What a write-ahead log says of itself: ``header_valid``, and after which frame a later one proves the
    commit that ended there (0: none)."""

    header_valid: bool
    proven_frames: int


def inspect_wal(path: Path) -> WalFacts | None:
    """Read the headers of the journal's write-ahead log; None when there is no log with frames.

    SQLite ends its recovery at the first frame whose checksum is wrong, and says nothing: it cannot tell a
    torn write from damage. But each commit is synced before the next begins, so when frames of a later
    commit follow, an earlier one was whole once.
    """
    wal = path.with_name(path.name + "-wal")
    try:
        stream = wal.open("rb")
    except FileNotFoundError:
        return None
    with stream:
        header = stream.read(_WAL_HEADER_BYTES)
        if not header.strip(b"\0"):
            return None
        if len(header) < _WAL_HEADER_BYTES:
            return WalFacts(header_valid=False, proven_frames=0)
        magic, _, page_size = struct.unpack(">3I", header[:12])
        valid = magic & ~1 == 0x377F0682 and _wal_checksum(header[:24], magic & 1) == struct.unpack(
            ">2I", header[24:32]
        )
        if not valid:
            return WalFacts(header_valid=False, proven_frames=0)
        return WalFacts(
            header_valid=True,
            proven_frames=_proven_frames(stream.read, header[16:24], page_size, stream.seek),
        )


def _proven_frames(
    read: Callable[[int], bytes], salts: bytes, page_size: int, seek: Callable[[int, int], int]
) -> int:
    proven = last_commit = frames = 0
    while len(frame := read(_FRAME_HEADER_BYTES)) == _FRAME_HEADER_BYTES and frame[8:16] == salts:
        frames += 1
        proven = last_commit
        if frame[4:8] != b"\0\0\0\0":
            last_commit = frames
        seek(page_size, 1)
    return proven


def _wal_checksum(content: bytes, big_endian: int) -> tuple[int, int]:
    words = struct.unpack(f"{'>' if big_endian else '<'}{len(content) // 4}I", content)
    first = second = 0
    for index in range(0, len(words), 2):
        first = (first + words[index] + second) & 0xFFFFFFFF
        second = (second + words[index + 1] + first) & 0xFFFFFFFF
    return first, second


def require_whole_wal(wal: WalFacts | None, connection: sqlite3.Connection, path: Path) -> None:
    """Compare what the log held with what SQLite recovered of it.

    Raises:
        JournalCorruptError: when commits that were synced are missing.
    """
    if wal is None:
        return
    recovered = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    if not wal.header_valid or recovered < wal.proven_frames:
        raise JournalCorruptError(
            f"The journal {path} is damaged: its write-ahead log held {wal.proven_frames} frames, "
            f"{max(recovered, 0)} can be read.",
            path,
        )


def check_content(connection: sqlite3.Connection, path: Path) -> None:
    """Check pages, indices and the checksum of every row.

    Raises:
        JournalCorruptError: naming the first fault.
    """
    check_pages(connection, path)
    for table in _CHECKED_COLUMNS:
        check_rows(connection, path, table, 0, 2**62)


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Check pages and indices.

    Raises:
        JournalCorruptError: naming the first fault.
    """
    fault = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if fault != "ok":
        raise JournalCorruptError(f"The journal {path} is damaged: {' '.join(str(fault).split())}.", path)


def check_rows(connection: sqlite3.Connection, path: Path, table: str, first: int, last: int) -> None:
    """Check the checksums of a table's rows from number ``first`` up to, but not including, ``last``.

    Raises:
        JournalCorruptError: naming the first row that is not what was stored.
    """
    row = connection.execute(
        f"SELECT rowid FROM {table} WHERE rowid >= ? AND rowid < ?"  # noqa: S608
        f" AND checksum IS NOT {table}_checksum({_CHECKED_COLUMNS[table]}) LIMIT 1",
        (first, last),
    ).fetchone()
    if row is not None:
        raise JournalCorruptError(
            f"The journal {path} is damaged: row {row[0]} of {table} is not what was stored.", path
        )


def set_aside(path: Path, reason: str) -> SalvageReport:
    """Rename the damaged file, its log included, to ``<name>.corrupt-<time>``; nothing is deleted."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        side = path.with_name(path.name + suffix)
        if side.exists():
            side.rename(aside.with_name(aside.name + suffix))
    return SalvageReport(path=aside, reason=reason)


def salvage(report: SalvageReport, target: sqlite3.Connection) -> SalvageReport:
    """Copy every row whose checksum is right from the file set aside into a new journal.

    A delivery whose event is lost is left out.
    """
    source = sqlite3.connect(f"file:{report.path}?mode=ro", uri=True, isolation_level=None)
    source.text_factory = bytes  # damaged text must not stop the reading of sound rows
    add_functions(source)
    events = deliveries = unreadable = 0
    target.execute("BEGIN IMMEDIATE")
    try:
        for row in _rows(source, "event", _EVENT_COLUMNS):
            if row is not None and _insert_event(target, row):
                events += 1
            else:
                unreadable += 1
        for row in _rows(source, "delivery", _DELIVERY_COLUMNS):
            if row is not None and _insert_delivery(target, row):
                deliveries += 1
            else:
                unreadable += 1
        _copy_texts(source, target)
        target.execute("COMMIT")
    except BaseException:
        target.execute("ROLLBACK")
        raise
    finally:
        source.close()
    result = replace(report, events=events, deliveries=deliveries, unreadable=unreadable)
    _log.error(
        "journal was damaged and has been set aside",
        reason=report.reason,
        file=str(report.path),
        events_saved=events,
        deliveries_saved=deliveries,
        rows_unreadable=unreadable,
    )
    return result


def _rows(source: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...] | None]:
    """The rows of a table in order of their number, None for each stretch that cannot be read."""
    try:
        low, high = source.execute(
            f"SELECT min(rowid), max(rowid) FROM {table} NOT INDEXED"  # noqa: S608
        ).fetchone()
    except sqlite3.Error:
        low, high = 1, 2**40
    if low is None:
        return
    stack = [(low, high)]
    while stack:
        first, last = stack.pop()
        position = first - 1
        try:
            for row in source.execute(
                f"SELECT rowid, {columns} FROM {table} NOT INDEXED"  # noqa: S608
                " WHERE rowid BETWEEN ? AND ? ORDER BY rowid",
                (first, last),
            ):
                if not position < row[0] <= last:
                    raise sqlite3.DatabaseError("pages lead back to rows that were read")
                position = row[0]
                yield row[1:]
        except (sqlite3.Error, OverflowError, ValueError):
            # Go on behind the page that cannot be read: its rows lie between the last one read and the first
            # one that can be found again, which halving finds.
            yield None
            start = _next_readable(source, table, position + 1, last)
            if start is not None:
                stack.append((start, last))


def _next_readable(source: sqlite3.Connection, table: str, first: int, last: int) -> int | None:
    """The lowest row number above ``first`` from which a row can be read, None when there is none."""
    step = 1
    while first + step <= last:
        try:
            row = source.execute(
                f"SELECT rowid FROM {table} NOT INDEXED"  # noqa: S608
                " WHERE rowid BETWEEN ? AND ? ORDER BY rowid LIMIT 1",
                (first + step, last),
            ).fetchone()
        except sqlite3.Error:
            row = (0,)
        if row is None:
            return None
        if row[0] >= first + step:
            return int(row[0])
        step *= 2
    return None


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _optional(value: Any) -> str | None:
    return None if value is None else _text(value)


def _insert_event(target: sqlite3.Connection, row: tuple[Any, ...]) -> bool:
    seq, event_id, topic, payload, received_at, replayed, checksum = row
    values = (_text(event_id), _text(topic), payload, received_at, replayed)
    if not isinstance(payload, bytes) or event_checksum(*values) != checksum:
        return False
    return (
        target.execute(
            _COPY_EVENT,
            (seq, *values, checksum),
        ).rowcount
        == 1
    )


def _insert_delivery(target: sqlite3.Connection, row: tuple[Any, ...]) -> bool:
    delivery_id, seq, plugin, state, attempts, due_at, keys, replayed, checksum, *rest = row
    values = (delivery_id, seq, _text(plugin), state, attempts, due_at, _text(keys), replayed)
    if (
        delivery_checksum(*values) != checksum
        or not target.execute("SELECT 1 FROM event WHERE seq = ?", (seq,)).fetchone()
    ):
        return False
    coalesce_key, error, error_id, settled_at = rest
    texts = map(_optional, (coalesce_key, error, error_id))
    target.execute(_COPY_DELIVERY, (*values, checksum, *texts, settled_at))
    return True


def _copy_texts(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """What is remembered, and which deliveries were claimed."""
    for table in ("memory", "lease"):
        try:
            rows = source.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
        except sqlite3.Error:
            rows = []
        target.executemany(
            f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT DO NOTHING",  # noqa: S608
            [(_text(name), _text(value)) for name, value in rows],
        )
