"""How a plugin process tells the main one what became of its deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ftrackd.hosting.link import Link
from ftrackd.hosting.tally import Tally

_LONGEST_WAIT_S: Final = 0.001


class Reports:
    """Reports of one lane, in order; all methods raise :class:`OSError` when the main process is gone."""

    def __init__(self, link: Link, plugin: str) -> None:
        self._link = link
        self._plugin = plugin

    def returned(self, delivery_id: int, token: int, seconds: float, now: float) -> None:
        """Report that a delivery returned at *now* (``time.monotonic()``) and nothing else is to be said."""
        self._link.send_returned([(delivery_id, seconds)])

    def ended(self, delivery_id: int, outcome: Mapping[str, Any]) -> None:
        """Report what there is to be said of a delivery."""
        self._link.send("done", {"plugin": self._plugin, "id": delivery_id, **outcome})

    def unbegun(self, delivery_ids: Sequence[int]) -> None:
        """Report deliveries whose turn does not come."""
        self._link.send("done", {"plugin": self._plugin, "id": None, "unbegun": delivery_ids})

    def flush(self) -> None:
        """Send what waits: nothing follows at once."""


class GatheredReports(Reports):
    """Reports of a lane with one thread: what returned is sent together with what returns right after it.

    A report for itself costs both processes more than an empty callback does. What waits here stands in the
    *tally*, at *place*, so the main process knows of it also when a callback takes long or ends the process.
    """

    def __init__(self, link: Link, plugin: str, tally: Tally, place: int) -> None:
        super().__init__(link, plugin)
        self._tally = tally
        self._place = place
        self._waiting: list[tuple[int, float]] = []
        self._waiting_since = 0.0

    def returned(self, delivery_id: int, token: int, seconds: float, now: float) -> None:
        """Note that a delivery returned, and report it within a moment unless a callback takes longer."""
        self._tally.note(self._place, delivery_id, token)
        if not self._waiting:
            self._waiting_since = now
        self._waiting.append((delivery_id, seconds))
        if now - self._waiting_since >= _LONGEST_WAIT_S:
            self.flush()

    def ended(self, delivery_id: int, outcome: Mapping[str, Any]) -> None:
        """Report what there is to be said of a delivery, after those before it."""
        self.flush()
        super().ended(delivery_id, outcome)

    def unbegun(self, delivery_ids: Sequence[int]) -> None:
        """Report deliveries whose turn does not come, after those before them."""
        self.flush()
        super().unbegun(delivery_ids)

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._link.send_returned(waiting)
