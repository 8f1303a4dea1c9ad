"""What the process that writes a SQLite journal knows of it without reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ftrackd.delivery._sqlite_leases import Leases
from ftrackd.delivery._sqlite_recent import RecentEvents, Row
from ftrackd.delivery._sqlite_upcoming import Upcoming


@dataclass(slots=True)
class Known:
    """Nobody else writes while this process has the file's lock, so all of it stays true.

    ``tokens``: the highest that was given out.
    """

    upcoming: Upcoming
    leases: Leases = field(default_factory=Leases)
    recent: RecentEvents = field(default_factory=RecentEvents)
    tokens: int = 0

    def keep(self, events: Mapping[int, Row]) -> None:
        """A transaction is committed; it stored or read these events."""
        self.leases.keep()
        self.recent.update(events)

    def undo(self) -> None:
        """A transaction is not."""
        self.leases.undo()
        self.upcoming.clear()

    def offered(self, plugin: str, delivery_id: int) -> None:
        """A delivery that stood behind others, or was claimed, is ready again."""
        self.leases.offered(plugin, delivery_id)
        self.upcoming.forget(plugin)

    def replaced(self) -> None:
        """Another file took the place of a damaged one; what was claimed in that one still is."""
        self.upcoming.clear()
        self.recent.clear()
