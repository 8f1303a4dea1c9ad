"""Deliveries of the SQLite journal that can be claimed without reading them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

Unclaimed = tuple[int, int, int, tuple[str, ...], int]
"""A delivery: its id, its event's number, attempts, keys, replayed."""

READ_AHEAD: Final = 512


class Upcoming:
    """The oldest deliveries of each plugin that are ready and that nobody has claimed, in their order.

    What is not known here is in the file. ``read_ahead``: how many of one plugin are read, and kept, at once.
    """

    def __init__(self, read_ahead: int = READ_AHEAD) -> None:
        self.read_ahead = read_ahead
        self._rows: dict[str, list[Unclaimed]] = {}
        self._complete: set[str] = set()  # plugins of which the file has none that is ready and not in here
        self._unhindered: set[str] = set()  # plugins of which none is delayed or held

    def first(self, plugin: str, limit: int) -> list[Unclaimed] | None:
        """The oldest, up to the limit; None when the file must be asked."""
        rows = self._rows.get(plugin, [])
        if len(rows) < limit and plugin not in self._complete:
            return None
        return rows[:limit]

    def has_any(self, plugin: str) -> bool | None:
        """Whether there is one; None when the file must be asked."""
        return True if self._rows.get(plugin) else (False if plugin in self._complete else None)

    def read(self, plugin: str, rows: list[Unclaimed], *, complete: bool) -> None:
        """The file has these; ``complete``: and no more."""
        self._rows[plugin] = rows
        (self._complete.add if complete else self._complete.discard)(plugin)

    def append(
        self, first_id: int, seq: int, plugins: Sequence[str], keys: tuple[str, ...], replayed: int
    ) -> None:
        """Deliveries of an event are ready, behind all others, numbered from the first."""
        for delivery_id, plugin in enumerate(plugins, first_id):
            if plugin not in self._complete:
                continue
            rows = self._rows[plugin]
            if len(rows) < self.read_ahead:
                rows.append((delivery_id, seq, 0, keys, replayed))
            else:
                self._complete.discard(plugin)

    def drop(self, plugin: str, count: int) -> None:
        """The oldest are claimed."""
        del self._rows[plugin][:count]

    def forget(self, plugin: str) -> None:
        """Something else happened to those that are ready."""
        self._rows.pop(plugin, None)
        self._complete.discard(plugin)

    def is_hindered(self, plugin: str) -> bool:
        """Whether deliveries may be delayed or held."""
        return plugin not in self._unhindered

    def hindered(self, plugin: str, *, hindered: bool = True) -> None:
        """Whether a delivery is delayed or held now."""
        (self._unhindered.discard if hindered else self._unhindered.add)(plugin)

    def clear(self) -> None:
        """Know nothing."""
        self._rows.clear()
        self._complete.clear()
        self._unhindered.clear()
