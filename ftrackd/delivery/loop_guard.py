"""Recognises a plugin that triggers itself with its own commits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_WINDOW_S: Final = 60.0
_LONGEST_DELAY_S: Final = 60.0


def actor_names(event: Mapping[str, Any]) -> set[str]:
    """Every name and id by which an event says who caused it: ``source.user`` and ``data.user``. Odd shapes
    give fewer.
    """
    names: set[str] = set()
    for holder in (event.get("source"), event.get("data")):
        user = holder.get("user") if isinstance(holder, Mapping) else None
        if isinstance(user, Mapping):
            names |= {
                value for key in ("username", "id", "userid") if isinstance(value := user.get(key), str)
            }
    return names


@dataclass(slots=True)
class _Trail:
    """One plugin and one entity: when the plugin last handled it, and the events it then seems to have
    caused.
    """

    handled_at: float
    caused: deque[float] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class Loop:
    """A plugin that triggers itself: ``count`` events for the entity within a minute."""

    plugin: str
    entity_id: str
    count: int
    delay_s: float


class LoopGuard:
    """Counts, for each plugin and entity, the events that its own commits seem to have caused.

    That is an event whose actor is the daemon's own user, about an entity which the plugin handled within
    the last minute. More of them in a minute than the limit are a loop: each further one is delayed, twice
    as long for each that comes, a minute at the most, so that the loop turns slowly until somebody mends
    it. Two plugins that trigger each other are recognised in the same way. Not thread-safe; all times are
    seconds of one clock.

    Args:
        own_names: names and ids of the daemon's user.
        limit: events a minute that are still no loop.
    """

    def __init__(self, own_names: Sequence[str], limit: int) -> None:
        self._own_names = frozenset(own_names)
        self._limit = limit
        self._trails: dict[tuple[str, str], _Trail] = {}
        self._swept_at = 0.0

    def handling(self, plugin: str, keys: Iterable[str], now: float) -> None:
        """A plugin begins to handle events about these entities, or has handled them."""
        for key in keys:
            trail = self._trails.get((plugin, key))
            if trail is None:
                self._trails[plugin, key] = _Trail(now)
            else:
                trail.handled_at = now
        if now - self._swept_at > _WINDOW_S:
            self._sweep(now)

    def caused_by_us(self, event: Mapping[str, Any]) -> bool:
        """Whether the event's actor is the daemon's own user."""
        return bool(self._own_names) and not self._own_names.isdisjoint(actor_names(event))

    def delay(self, plugin: str, keys: Sequence[str], now: float) -> Loop | None:
        """Count an event caused by the daemon's user; a Loop when it has to be delayed."""
        worst: Loop | None = None
        for key in keys:
            trail = self._trails.get((plugin, key))
            if trail is None or now - trail.handled_at > _WINDOW_S:
                continue
            caused = trail.caused
            caused.append(now)
            while caused and caused[0] <= now - _WINDOW_S:
                caused.popleft()
            excess = len(caused) - self._limit
            if excess > 0 and (worst is None or len(caused) > worst.count):
                delay_s = min(_LONGEST_DELAY_S, 0.5 * 2.0 ** min(excess, 10))
                worst = Loop(plugin, key, len(caused), delay_s)
        return worst

    def loops(self, now: float) -> list[Loop]:
        """The loops that turn now, for a status page."""
        return [
            Loop(plugin, key, len(trail.caused), 0.0)
            for (plugin, key), trail in self._trails.items()
            if len(trail.caused) > self._limit and now - trail.caused[-1] <= _WINDOW_S
        ]

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        self._trails = {
            place: trail for place, trail in self._trails.items() if now - trail.handled_at <= _WINDOW_S * 2
        }
