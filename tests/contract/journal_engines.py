"""Every engine of the journal, as the contract suite sees it. A further engine is one more class in
ENGINES.
"""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from ftrackd.delivery import MemoryJournal, SqliteJournal
from ftrackd.delivery.clock import JournalClock
from ftrackd.delivery.journal import Journal


class FakeTime:
    """A time that only moves when a test says so; ``wall_offset_s`` is what somebody does to the system's
    clock.
    """

    def __init__(self) -> None:
        self.seconds = 1_000_000.0
        self.wall_offset_s = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return self.seconds + self.wall_offset_s

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Engine:
    """Opens a journal of one kind; ``reopen`` is what a restart of its process does to it."""

    def __init__(self, folder: Path, time: FakeTime) -> None:
        self.time = time
        self.folder = folder
        self.journal = self.open()

    def clock(self) -> JournalClock:
        return JournalClock(self.time.wall, self.time.monotonic)

    def open(self) -> Journal:
        raise NotImplementedError

    def reopen(self) -> Journal:
        raise NotImplementedError

    def close(self) -> None:
        self.journal.close()


class MemoryEngine(Engine):
    def open(self) -> Journal:
        return MemoryJournal(self.clock())

    def reopen(self) -> Journal:
        """Memory does not outlive its process: what a restart changes is that leases run out."""
        self.time.advance(10_000.0)
        return self.journal


class SqliteEngine(Engine):
    options: ClassVar[dict[str, int]] = {}

    def open(self) -> Journal:
        return SqliteJournal(self.folder / "journal.sqlite", self.clock(), **self.options)

    def reopen(self) -> Journal:
        self.journal.close()
        self.journal = self.open()
        return self.journal


class ShortSightedSqliteEngine(SqliteEngine):
    """Reads ahead so little that backlogs of a few deliveries are long ones."""

    options: ClassVar[dict[str, int]] = {"read_ahead": 2}


ENGINES: dict[str, Callable[[Path, FakeTime], Engine]] = {
    "memory": MemoryEngine,
    "sqlite": SqliteEngine,
    "sqlite-short-sighted": ShortSightedSqliteEngine,
}
