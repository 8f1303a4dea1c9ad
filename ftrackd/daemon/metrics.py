"""Prometheus metrics, written on the daemon's hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ftrackd.daemon.hooks import hookimpl
from ftrackd.daemon.lifecycle import State

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


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
        self._deliveries = Counter(
            "ftrackd_deliveries", "Attempts at a delivery", ["plugin", "status"], registry=registry
        )
        self._seconds = Histogram(
            "ftrackd_delivery_seconds",
            "Duration of callbacks",
            ["plugin"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._plugins = Counter(
            "ftrackd_plugin_changes",
            "Plugins loaded, failed and ended",
            ["plugin", "change"],
            registry=registry,
        )
        # Finding the labelled counters takes longer than counting.
        self._of_plugin: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
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
        self._received.labels(topic if topic.startswith("ftrack.") else "other").inc()

    @hookimpl
    def delivery_done(self, plugin: str, outcome: Mapping[str, Any]) -> None:
        """Count and time."""
        status = outcome["status"]
        found = self._of_plugin.get((plugin, status))
        if found is None:
            found = self._deliveries.labels(plugin, status), self._seconds.labels(plugin)
            self._of_plugin[plugin, status] = found
        count, seconds = found
        count.inc()
        seconds.observe(outcome["seconds"])

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
