"""The deliveries that a plugin process has: on their way through its lanes, in order."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ftrackd.api import _json
from ftrackd.hosting.model import HostedDelivery


@dataclass(slots=True)
class Flight:
    """A delivery on its way through a plugin process. Times are ``time.monotonic()``.

    ``lane``: the flights of its plugin and lane, in the order in which they begin.
    """

    plugin: str
    delivery: HostedDelivery
    lane: dict[int, Flight]
    began_at: float | None = None
    is_reported: bool = False
    is_condemned: bool = False


class Flights:
    """All flights of one process; whoever uses it holds the process's lock.

    *concurrency*: how many event deliveries of each plugin run side by side.
    """

    def __init__(self, concurrency: Mapping[str, int]) -> None:
        self._concurrency = concurrency
        self._by_id: dict[int, Flight] = {}
        self._lanes: dict[tuple[str, str], dict[int, Flight]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, plugin: str, lane_name: str, deliveries: Iterable[HostedDelivery]) -> None:
        """Add deliveries at the end of a lane of *plugin*."""
        lane = self._lanes.setdefault((plugin, lane_name), {})
        for delivery in deliveries:
            flight = Flight(plugin, delivery, lane)
            lane[delivery.delivery_id] = self._by_id[delivery.delivery_id] = flight
        self._set_beginnings(plugin, lane_name, lane)

    def land(self, delivery_ids: Sequence[int]) -> list[Flight | None]:
        """Return the flights that ended, and let the next ones of their lanes begin."""
        flights = [self._by_id.pop(delivery_id, None) for delivery_id in delivery_ids]
        for flight in flights:
            if flight is not None:
                del flight.lane[flight.delivery.delivery_id]
        for key, lane in self._lanes.items():
            self._set_beginnings(*key, lane)
        return flights

    def take_all(self) -> list[Flight]:
        """Return all flights, which end with the process."""
        flights = list(self._by_id.values())
        self._by_id.clear()
        self._lanes.clear()
        return flights

    def begun(self) -> list[Flight]:
        """Return the flights whose callbacks run."""
        return [flight for flight in self._by_id.values() if flight.began_at is not None]

    def until(self, plugin: str, delivery_id: int, token: int) -> list[int]:
        """Return the ids in *plugin*'s event lane up to this attempt; none when it is not there."""
        lane = self._lanes.get((plugin, "event"), {})
        last = lane.get(delivery_id)
        if last is None or last.delivery.token != token:
            return []
        return [*itertools.takewhile(lambda other: other != delivery_id, lane), delivery_id]

    def _set_beginnings(self, plugin: str, name: str, lane: dict[int, Flight]) -> None:
        """Note which flights of a lane run: the first ones, as many as it has threads."""
        places = self._concurrency.get(plugin, 1) if name == "event" else 1
        for flight in itertools.islice(lane.values(), places):
            if flight.began_at is None:
                flight.began_at = time.monotonic()


def topic_of(flight: Flight) -> str:
    """Return the topic of the event in flight; read from its JSON when it is not known."""
    if flight.delivery.topic:
        return flight.delivery.topic
    try:
        return str(_json.loads(flight.delivery.payload).get("topic", ""))
    except (ValueError, AttributeError):
        return "unreadable"
