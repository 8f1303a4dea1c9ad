"""Events on their way to the journal, and the deliveries that are made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ftrackd.delivery.journal import NewDeliveries, NewEvent
from ftrackd.delivery.loop_guard import Loop, LoopGuard
from ftrackd.delivery.ordering import entity_keys, storable
from ftrackd.delivery.ports import Recipient

if TYPE_CHECKING:
    from ftrackd.settings import DeliverySettings, PluginSettings


def event_id_of(raw: bytes, event: Mapping[str, Any]) -> str:
    """The event's id; for an event without one, a text that the same bytes always get."""
    event_id = event.get("id")
    return storable(event_id) if isinstance(event_id, str) and event_id else hashlib.sha256(raw).hexdigest()


class Intake(NamedTuple):
    """A durable event that was received, the plugins that had subscribed then, its deliveries to them, and
    the loops that were recognised with it.
    """

    event: NewEvent
    plugins: tuple[str, ...]
    deliveries: Sequence[NewDeliveries]
    loops: Sequence[Loop] = ()


class IntakePlanner:
    """Turns an event into its deliveries: their order, their coalescing and their delay.

    Args:
        settings: limits of this room.
        plugins: settings of single plugins, by name.
    """

    def __init__(self, settings: DeliverySettings, plugins: Mapping[str, PluginSettings]) -> None:
        self._order_by = settings.order_by
        self._coalesce_windows = {
            name: plugin.coalesce_window_s for name, plugin in plugins.items() if plugin.coalesce_window_s
        }

    def plan(
        self,
        raw: bytes,
        event: Mapping[str, Any],
        recipients: Sequence[Recipient],
        guard: LoopGuard,
        now: float,
        *,
        replayed: bool = False,
    ) -> Intake:
        """An event as the journal takes it; a plugin that matched with several callbacks gets one delivery.

        An event of the daemon's own user is counted by the loop guard, with ``now`` in the guard's seconds.
        """
        keys = entity_keys(event, self._order_by)
        entities = keys if self._order_by == "entity" else entity_keys(event, "entity")
        own = bool(entities) and not replayed and guard.caused_by_us(event)
        topic = storable(str(event["topic"]))
        new = NewEvent(event_id_of(raw, event), topic, raw, replayed)
        plugins = tuple(dict.fromkeys([recipient.plugin for recipient in recipients]))
        if not own and self._coalesce_windows.keys().isdisjoint(plugins):
            return Intake(new, plugins, [NewDeliveries(plugins, keys)])
        alike: dict[tuple[float, str | None], list[str]] = {}
        loops: list[Loop] = []
        for plugin in plugins:
            delay_s = 0.0
            loop = guard.delay(plugin, entities, now) if own else None
            if loop is not None:
                loops.append(loop)
                delay_s = loop.delay_s
            coalesce_key = None
            window_s = self._coalesce_windows.get(plugin)
            if window_s and entities:
                coalesce_key = "\n".join((topic, *sorted(entities)))
                delay_s = max(delay_s, window_s)
            alike.setdefault((delay_s, coalesce_key), []).append(plugin)
        deliveries = [NewDeliveries(tuple(names), keys, *how) for how, names in alike.items()]
        return Intake(new, plugins, deliveries, loops)
