"""SQLite's errors in our words."""

from __future__ import annotations

import getpass
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftrackd.delivery.errors import (
    JournalCorruptError,
    JournalError,
    JournalFullError,
    JournalLockedError,
    JournalUnavailableError,
)

_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
_CORRUPT = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ", "SQLITE_FORMAT")
# Damage that SQLite reports as a plain error: our checksum functions only fail over values of another type.
_SIGNS_OF_DAMAGE = ("unsupported file format", "user-defined function raised exception")
_LOCKED = ("SQLITE_BUSY", "SQLITE_LOCKED")
_UNAVAILABLE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH", "SQLITE_IOERR")


def translate(error: sqlite3.Error, path: Path) -> JournalError:
    """The journal's error for one of SQLite's, naming the file and the remedy."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith(_FULL):
        return JournalFullError(
            f"No room to write the journal {path} ({error}); make room on its disk. What was stored is safe.",
            path,
        )
    if name.startswith(_CORRUPT) or any(sign in str(error) for sign in _SIGNS_OF_DAMAGE):
        return JournalCorruptError(f"The journal {path} is damaged: {error}.", path)
    if name.startswith(_LOCKED):
        return JournalLockedError(f"The journal {path} is locked by another process.", path)
    if name.startswith(_UNAVAILABLE):
        return JournalUnavailableError(
            f"The journal {path} cannot be read or written ({error}); it and its folder "
            f"must be writable for {user_name()}.",
            path,
        )
    return JournalError(f"The journal {path} failed: {error}.", path)


def user_name() -> str:
    """Who this process runs as, for messages."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "this user"


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error
