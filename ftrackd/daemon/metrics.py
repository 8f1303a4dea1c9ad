"""Prometheus metrics, written on the daemon's hooks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ftrackd.daemon.hooks import hookimpl
from ftrackd.daemon.lifecycle import State
from ftrackd.hosting import HostedOutcome

_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_BOUNDS: Final = (*map(str, _SECONDS), "+Inf")


class DeliveryMetrics(Collector):
    """Attempts at deliveries: how many, and how long they took.

    Counted in plain numbers by one thread, the host's: the counters of the library take a lock for each
    delivery and are slower than all else that is done about one.
    """

    def __init__(self) -> None:
        self._attempts: dict[tuple[str, str], int] = {}
        self._durations: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def add(self, plugin: str, outcomes: Sequence[HostedOutcome]) -> None:
        """Count attempts."""
        durations = self._durations.get(plugin)
        if durations is None:
            durations = self._durations[plugin] = [0] * len(_BOUNDS)
            self._seconds[plugin] = 0.0
        statuses = [outcome.status for outcome in outcomes]
        for status in set(statuses):
            key = plugin, status
            self._attempts[key] = self._attempts.get(key, 0) + statuses.count(status)
        seconds = [outcome.seconds for outcome in outcomes]
        self._seconds[plugin] += sum(seconds)
        for one in seconds:
            durations[bisect_left(_SECONDS, one)] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield what a scrape shows."""
        attempts = CounterMetricFamily(
            "ftrackd_deliveries", "Attempts at a delivery", labels=["plugin", "status"]
        )
        for key, count in list(self._attempts.items()):
            attempts.add_metric(key, count)
        yield attempts
        seconds = HistogramMetricFamily(
            "ftrackd_delivery_seconds", "Duration of callbacks", labels=["plugin"]
        )
        for plugin, durations in list(self._durations.items()):
            buckets = zip(_BOUNDS, accumulate(durations), strict=True)
            seconds.add_metric([plugin], list(buckets), self._seconds[plugin])
        yield seconds


class Metrics:
    """Counts what happens; ``render`` gives the text that a Prometheus server scrapes.

    ``gauges`` maps names to functions that are asked at each scrape (queue lengths, seconds since the
    last packet).
    """

    def __init__(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._state = Gauge("ftrackd_state", "1 for the state the daemon is in", ["state"], registry=registry)
        self._received = Counter(
            "ftrackd_events_received",
            "Events from the hub with a plugin to go to",
            ["topic"],
            registry=registry,
        )
        # Finding a labelled counter takes longer than counting.
        self._received_about: dict[str, Counter] = {}
        self._deliveries = DeliveryMetrics()
        registry.register(self._deliveries)
        self._plugins = Counter(
            "ftrackd_plugin_changes",
            "Plugins loaded, failed and ended",
            ["plugin", "change"],
            registry=registry,
        )
        for name, (text, ask) in gauges.items():
            Gauge(name, text, registry=registry).set_function(ask)

    def render(self) -> str:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry).decode()

    @hookimpl
    def state_changed(self, state: State) -> None:
        """Remember the state."""
        for other in State:
            self._state.labels(other).set(other is state)

    @hookimpl
    def event_received(self, event: Mapping[str, Any]) -> None:
        """Count by topic; custom topics share one label so that a typing error cannot fill the memory."""
        topic = str(event.get("topic", ""))
        shown = topic if topic.startswith("ftrack.") else "other"
        counter = self._received_about.get(shown)
        if counter is None:
            counter = self._received_about[shown] = self._received.labels(shown)
        counter.inc()

    @hookimpl
    def deliveries_done(self, plugin: str, outcomes: Sequence[HostedOutcome]) -> None:
        """Count and time."""
        self._deliveries.add(plugin, outcomes)

    @hookimpl
    def plugin_loaded(self, plugin: str) -> None:
        """Count loads."""
        self._plugins.labels(plugin, "loaded").inc()

    @hookimpl
    def plugin_failed(self, plugin: str) -> None:
        """Count failures."""
        self._plugins.labels(plugin, "failed").inc()

    @hookimpl
    def plugin_ended(self, plugin: str) -> None:
        """Count ends."""
        self._plugins.labels(plugin, "ended").inc()
