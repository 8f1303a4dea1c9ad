"""Opening, locking and checking the file of the SQLite journal."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

from ftrackd.delivery._sqlite_errors import translated, user_name
from ftrackd.delivery._sqlite_salvage import (
    SalvageReport,
    check_content,
    inspect_wal,
    require_whole_wal,
    salvage,
    set_aside,
)
from ftrackd.delivery._sqlite_schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, UPGRADES, add_functions
from ftrackd.delivery.errors import (
    JournalCorruptError,
    JournalError,
    JournalLockedError,
    JournalUnavailableError,
    JournalVersionError,
)

_REMEDY: Final = "or name another place with delivery.journal"


def lock(path: Path) -> int:
    """Lock the journal for this process; the lock goes with the process, however it ends.

    Returns:
        The descriptor that holds the lock.

    Raises:
        JournalUnavailableError: the folder is missing or not writable.
        JournalLockedError: another process has it.
    """
    if not path.parent.is_dir():
        raise JournalUnavailableError(
            f"The journal's folder {path.parent} does not exist; create it, {_REMEDY}.", path
        )
    lock_path = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalUnavailableError(
            f"The journal's folder {path.parent} is not writable for {user_name()} ({error.strerror}); "
            f"mend that, {_REMEDY}.",
            path,
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise JournalLockedError(
            f"The journal {path} is used by another ftrackd (process {holder or 'unknown'}); "
            f"stop that one, {_REMEDY}.",
            path,
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return descriptor


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the settings that every one has; locks are the caller's."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=5.0, cached_statements=256
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # the journal chooses when
        connection.execute("PRAGMA cache_size = -16000")
        # What undoes a single statement; in a file it would cost as much as the statement.
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        add_functions(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def content_size_bytes(connection: sqlite3.Connection) -> int:
    """What the content takes: pages in use times their size."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def open_writer(path: Path, check_up_to_bytes: int) -> tuple[sqlite3.Connection, SalvageReport | None]:
    """The connection that writes, to a sound journal of this version; a damaged one is set aside and
    salvaged.

    Raises:
        JournalVersionError: a newer ftrackd wrote it; nothing is changed.
        JournalUnavailableError: it may not be written.
        JournalError: it is somebody else's database.
    """
    if path.exists() and not os.access(path, os.W_OK | os.R_OK):
        raise JournalUnavailableError(
            f"The journal {path} may not be read and written by {user_name()}; mend its mode, {_REMEDY}.",
            path,
        )
    try:
        return _open_sound(path, check_up_to_bytes), None
    except JournalCorruptError as error:
        reason = str(error)
    return replace_damaged(path, reason, check_up_to_bytes)


def replace_damaged(
    path: Path, reason: str, check_up_to_bytes: int
) -> tuple[sqlite3.Connection, SalvageReport]:
    """Set a damaged journal aside and open a new one with what could be saved."""
    report = set_aside(path, reason)
    connection = _open_sound(path, check_up_to_bytes)
    try:
        return connection, salvage(report, connection)
    except BaseException:
        connection.close()
        raise


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one that has its name later; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def write_anew(path: Path, source: sqlite3.Connection) -> None:
    """Write what an open connection still reads of a journal that was removed back to its place.

    What somebody else put there is set aside.

    Raises:
        JournalUnavailableError: the folder does not allow it; `source` is as it was.
    """
    rescued = path.with_name(path.name + ".rescued")
    try:
        rescued.unlink(missing_ok=True)
        target = sqlite3.connect(rescued, isolation_level=None)
        try:
            source.backup(target)
        finally:
            target.close()
        rescued.chmod(0o600)
        if path.exists():
            set_aside(path, "it was put in the place of a journal in use")
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        rescued.replace(path)
    except OSError as error:
        raise JournalUnavailableError(
            f"The journal {path} was removed and cannot be written anew ({error.strerror}); "
            f"its folder must be writable for {user_name()}.",
            path,
        ) from error


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    connection = connect(path)
    connection.execute("PRAGMA cache_size = -2000")  # it counts and lists now and then
    connection.execute("PRAGMA query_only = ON")
    return connection


def _open_sound(path: Path, check_up_to_bytes: int) -> sqlite3.Connection:
    wal = inspect_wal(path)
    with translated(path):
        connection = connect(path)
        try:
            _prepare(connection, path)
            require_whole_wal(wal, connection, path)
            _upgrade(connection)
            if content_size_bytes(connection) <= check_up_to_bytes:
                check_content(connection, path)
        except BaseException:
            # Closing the last connection would write the log into the file: a damaged one is kept as it was
            # found.
            connection.close()
            raise
    return connection


def _upgrade(connection: sqlite3.Connection) -> None:
    """Take over the journal of an earlier version."""
    for version in range(connection.execute("PRAGMA user_version").fetchone()[0], SCHEMA_VERSION):
        connection.executescript(
            f"BEGIN IMMEDIATE; {UPGRADES[version]} PRAGMA user_version = {version + 1}; COMMIT;"
        )


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables in a new file; refuse one that is not ours or is from a later version."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if version == 0 and application == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchall():
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
        os.chmod(path, 0o600)
        return
    if application != APPLICATION_ID:
        raise JournalError(
            f"{path} is a database, but not a journal of ftrackd; it is left as it is. Remove it, {_REMEDY}.",
            path,
        )
    if version > SCHEMA_VERSION:
        raise JournalVersionError(
            f"The journal {path} was written by a newer ftrackd (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); it is left as it is. Run that version, {_REMEDY}.",
            path,
        )
    connection.execute("PRAGMA journal_mode = WAL")
