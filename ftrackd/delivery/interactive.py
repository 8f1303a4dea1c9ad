"""The interactive lane: events that somebody waits for, in memory only."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from ftrackd.delivery.classification import Lane
from ftrackd.delivery.ports import Handover, Recipient

_REMEMBERED_IDS = 4096


@dataclass(slots=True)
class _Open:
    """An event on its way through its tiers; ``outstanding`` maps the delivery ids of the present tier to
    plugins.
    """

    event_id: str
    topic: str
    raw: bytes
    expires_at: float
    tiers: deque[list[str]]
    outstanding: dict[int, str] = field(default_factory=dict)


class InteractiveHandover(NamedTuple):
    """An event of this lane for one plugin."""

    delivery_id: int
    token: int
    event_id: str
    topic: str
    payload: bytes
    expires_at: float | None
    lane: Lane = Lane.INTERACTIVE
    attempt: int = 1
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Missed:
    """An interactive event that expired before a plugin could run it."""

    plugin: str
    raw: bytes
    event_id: str


@dataclass(slots=True)
class Step:
    """What to do after something happened: deliveries to run by plugin, and answers that will not come."""

    run: list[tuple[str, Handover]] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)


class InteractiveLane:
    """Carries each event through the plugins that match it, the lowest priority number first.

    Plugins of one priority get it together; the next tier gets it when every one of the tier before has
    come to an end and none of them stopped the event. A plugin that matches with several callbacks stands
    in the tier of its lowest number, and runs them in its own order. An event that a plugin cannot take
    now, because it is being started or reloaded, waits for it until the event expires. Not thread-safe.

    Args:
        expiry_s: age at which an event is dropped, in the seconds of ``now``.
    """

    def __init__(self, expiry_s: float) -> None:
        self._expiry_s = expiry_s
        self._last_id = 0
        self._ready: set[str] = set()
        self._readiness: Counter[str] = Counter()
        self._open: dict[str, _Open] = {}
        self._by_delivery: dict[int, _Open] = {}
        self._queued: dict[str, dict[int, Handover]] = {}
        self._recent: dict[str, None] = {}

    @property
    def pending(self) -> int:
        """How many events are on their way."""
        return len(self._open)

    @property
    def running(self) -> int:
        """How many deliveries run in plugins."""
        return len(self._by_delivery) - sum(len(queued) for queued in self._queued.values())

    def receive(
        self, event_id: str, topic: str, raw: bytes, recipients: Sequence[Recipient], now: float
    ) -> Step:
        """Take in an event; one whose id was seen lately is ignored."""
        step = Step()
        if event_id in self._recent:
            return step
        self._recent[event_id] = None
        if len(self._recent) > _REMEMBERED_IDS:
            del self._recent[next(iter(self._recent))]
        lowest: dict[str, int] = {}
        for recipient in recipients:
            lowest[recipient.plugin] = min(
                recipient.priority, lowest.get(recipient.plugin, recipient.priority)
            )
        by_priority = sorted(lowest.items(), key=lambda item: (item[1], item[0]))
        tiers = deque(
            [plugin for plugin, _ in tier] for _, tier in groupby(by_priority, key=lambda item: item[1])
        )
        event = _Open(event_id, topic, raw, now + self._expiry_s, tiers)
        self._open[event_id] = event
        self._next_tier(event, step)
        return step

    def _next_tier(self, event: _Open, step: Step) -> None:
        if not event.tiers:
            self._open.pop(event.event_id, None)
            return
        for plugin in event.tiers.popleft():
            self._last_id -= 1
            handover = InteractiveHandover(
                delivery_id=self._last_id,
                token=-self._last_id,
                event_id=event.event_id,
                topic=event.topic,
                payload=event.raw,
                expires_at=event.expires_at,
            )
            event.outstanding[handover.delivery_id] = plugin
            self._by_delivery[handover.delivery_id] = event
            if plugin in self._ready:
                step.run.append((plugin, handover))
            else:
                self._queued.setdefault(plugin, {})[handover.delivery_id] = handover

    def finished(self, delivery_id: int, stopped: bool) -> Step:
        """A plugin came to an end with an event, however it ended."""
        step = Step()
        event = self._take(delivery_id)
        if event is None:
            return step
        if stopped:
            event.tiers.clear()
            self._withdraw(event)
        if not event.outstanding:
            self._next_tier(event, step)
        return step

    def _withdraw(self, event: _Open) -> list[str]:
        """Take an event back from the plugins that have not got it yet; returns them."""
        unstarted = [
            (one, plugin) for one, plugin in event.outstanding.items() if one in self._queued.get(plugin, {})
        ]
        for delivery_id, _ in unstarted:
            self._take(delivery_id)
        return [plugin for _, plugin in unstarted]

    def _take(self, delivery_id: int) -> _Open | None:
        event = self._by_delivery.pop(delivery_id, None)
        if event is None:
            return None
        plugin = event.outstanding.pop(delivery_id)
        queued = self._queued.get(plugin)
        if queued is not None:
            queued.pop(delivery_id, None)
        return event

    def event_of(self, delivery_id: int) -> bytes | None:
        """The event that a delivery carries, while it is on its way."""
        event = self._by_delivery.get(delivery_id)
        return None if event is None else event.raw

    def plugin_ready(self, plugin: str, now: float) -> Step:
        """A plugin takes events from now on; what waited for it and has not expired is run."""
        self._ready.add(plugin)
        self._readiness[plugin] += 1
        step = self.expire(now)
        step.run += [(plugin, handover) for handover in self._queued.pop(plugin, {}).values()]
        return step

    def readiness(self, plugin: str) -> int:
        """How often a plugin has become ready; see :meth:`unreached`."""
        return self._readiness[plugin]

    def unreached(self, plugin: str, handover: Handover, readiness: int) -> Step:
        """A delivery could not be handed over: the plugin is not there, and gets it when it is.

        ``readiness`` is of the moment before that was tried: if the plugin became ready meanwhile, it is
        tried again, because it would not say so again.
        """
        step = Step()
        if self._readiness[plugin] == readiness:
            self._ready.discard(plugin)
        if handover.delivery_id not in self._by_delivery:
            return step
        if plugin in self._ready:
            step.run.append((plugin, handover))
        else:
            self._queued.setdefault(plugin, {})[handover.delivery_id] = handover
        return step

    def plugin_gone(self, plugin: str) -> None:
        """A plugin takes nothing more; what it runs ends by :meth:`finished`."""
        self._ready.discard(plugin)

    def expire(self, now: float) -> Step:
        """Drop events that are too old; what a plugin runs of them goes on, later tiers do not get them."""
        step = Step()
        for event in [event for event in self._open.values() if event.expires_at <= now]:
            del self._open[event.event_id]
            late = self._withdraw(event) + [plugin for tier in event.tiers for plugin in tier]
            for delivery_id in list(event.outstanding):
                self._take(delivery_id)
            step.missed += [Missed(plugin, event.raw, event.event_id) for plugin in late]
        return step

    def next_expiry(self) -> float | None:
        """When :meth:`expire` is to be called; None while nothing is on its way."""
        return min((event.expires_at for event in self._open.values()), default=None)
