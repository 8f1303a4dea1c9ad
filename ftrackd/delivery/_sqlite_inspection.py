"""Checking a large SQLite journal while it is in use."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import structlog

from ftrackd.delivery._sqlite_errors import translated
from ftrackd.delivery._sqlite_file import connect_reader
from ftrackd.delivery._sqlite_salvage import check_pages, check_rows
from ftrackd.delivery.errors import JournalCorruptError, JournalError

_log = structlog.stdlib.get_logger("ftrackd.delivery.inspection")
_ROWS_AT_ONCE: Final = 1000
_PAUSE_S: Final = 0.02


class Inspection:
    """Reads a whole journal once, at a calm pace, beside the daemon's work.

    ``damage`` is what it found, None while that is nothing.

    Args:
        path: the journal's file.
    """

    def __init__(self, path: Path) -> None:
        self.damage: str | None = None
        self._path = path
        self._stopping = threading.Event()
        self._connection = connect_reader(path)
        self._thread = threading.Thread(target=self._run, name="ftrackd-journal-inspection", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, finished or not."""
        self._stopping.set()
        self._connection.interrupt()
        self._thread.join()
        self._connection.close()

    def join(self) -> None:
        """Wait until it has read everything."""
        self._thread.join()

    def _run(self) -> None:
        try:
            with translated(self._path):
                self._read_everything()
        except JournalCorruptError as error:
            self.damage = str(error)
        except JournalError as error:
            if not self._stopping.is_set():
                _log.warning("journal could not be checked", reason=str(error))

    def _read_everything(self) -> None:
        check_pages(self._connection, self._path)
        for table in ("delivery", "event"):
            last = self._connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0  # noqa: S608
            for first in range(0, last + 1, _ROWS_AT_ONCE):
                if self._stopping.wait(_PAUSE_S):
                    return
                check_rows(self._connection, self._path, table, first, first + _ROWS_AT_ONCE)
        _log.info("journal checked and found sound", file=str(self._path))
