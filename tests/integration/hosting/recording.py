"""A listener that writes down what it hears, and a host on plugins that a test writes."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ftrackd.hosting import (
    Bootstrap,
    HostedOutcome,
    PluginStatus,
    PluginSubscription,
    ServerAccess,
)
from ftrackd.hosting.host import Host
from ftrackd.settings import GroupSettings, HostingSettings, PluginSettings
from tests.unit.hosting.delivered import Delivered

SERVER = ServerAccess("http://127.0.0.1:9", "tester", SecretStr("not-a-real-key"))


def _schema(name: str, *attributes: str) -> dict[str, Any]:
    return {
        "id": name,
        "type": "object",
        "properties": {attribute: {"type": "string"} for attribute in ("id", *attributes)},
        "immutable": ["id"],
        "primary_key": ["id"],
        "required": ["id"],
        "default_projections": ["id"],
    }


# Just enough for a Session to start without a server.
BOOTSTRAP = Bootstrap(
    {"version": "4.13.8", "schema_hash": "x"},
    [
        _schema("Location", "name", "label", "description"),
        _schema("Task", "name"),
        _schema("User", "username"),
    ],
)


class RecordingListener:
    """What the daemon would be: keeps everything, and lets a test wait for it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.subscriptions: dict[str, dict[str, PluginSubscription]] = {}
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.ready: list[tuple[str, int]] = []
        self.gone: list[tuple[str, str]] = []
        self.outcomes: list[tuple[str, HostedOutcome]] = []
        self.states: list[PluginStatus] = []

    def plugin_subscribed(self, plugin: str, subscription: PluginSubscription) -> None:
        with self.changed:
            self.subscriptions.setdefault(plugin, {})[subscription.id] = subscription
            self.changed.notify_all()

    def plugin_unsubscribed(self, plugin: str, subscriber_id: str) -> None:
        with self.changed:
            del self.subscriptions[plugin][subscriber_id]
            self.changed.notify_all()

    def plugin_published(self, plugin: str, raw: bytes, acknowledge: Callable[[bool, str], None]) -> None:
        with self.changed:
            self.published.append((plugin, json.loads(raw)))
            self.changed.notify_all()
        acknowledge(True, "")

    def plugin_ready(self, plugin: str, concurrency: int) -> None:
        with self.changed:
            self.ready.append((plugin, concurrency))
            self.changed.notify_all()

    def plugin_gone(self, plugin: str, reason: str) -> None:
        with self.changed:
            self.gone.append((plugin, reason))
            self.changed.notify_all()

    def deliveries_done(self, plugin: str, outcomes: Sequence[HostedOutcome]) -> None:
        with self.changed:
            self.outcomes += [(plugin, outcome) for outcome in outcomes]
            self.changed.notify_all()

    def state_changed(self, status: PluginStatus) -> None:
        with self.changed:
            self.states.append(status)
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 30.0, what: str = "") -> Any:
        """Wait until *condition* is true and return its value; fail with all that was heard."""
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while not (value := condition()):
                rest = deadline - time.monotonic()
                if rest <= 0:
                    raise AssertionError(f"waited {timeout_s} s for {what or condition}; {self.describe()}")
                # Conditions may also look at files and processes, so look again now and then.
                self.changed.wait(min(rest, 0.05))
            return value

    def expressions(self, plugin: str) -> set[str]:
        """The topics and conditions that *plugin* is subscribed to."""
        return {subscription.expression for subscription in self.subscriptions.get(plugin, {}).values()}

    def outcome(self, delivery_id: int) -> HostedOutcome | None:
        """The outcome of a delivery, if it ended."""
        return next((outcome for _, outcome in self.outcomes if outcome.delivery_id == delivery_id), None)

    def describe(self) -> str:
        """What was heard, for a failing test."""
        last = {status.name: (status.state, status.reason, status.error) for status in self.states}
        return f"outcomes {self.outcomes[-3:]}, gone {self.gone[-3:]}, states {last}"


class RunningHost:
    """A started host with its listener."""

    def __init__(self, host: Host, listener: RecordingListener, folder: Path) -> None:
        self.host = host
        self.listener = listener
        self.folder = folder
        self._number = 0

    def wait_ready(self, *plugins: str, timeout_s: float = 30.0) -> None:
        """Wait until each of *plugins* takes deliveries."""
        wanted = set(plugins)
        self.listener.wait_for(
            lambda: wanted <= {plugin for plugin, _ in self.listener.ready},
            timeout_s,
            f"{plugins} to be ready",
        )

    def status(self, plugin: str) -> PluginStatus:
        """The status of *plugin*."""
        return next(status for status in self.host.statuses() if status.name == plugin)

    def wait_status(
        self, plugin: str, condition: Callable[[PluginStatus], Any], timeout_s: float = 30.0
    ) -> PluginStatus:
        """Wait until the status of *plugin* fulfils *condition* and return it."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.status(plugin)
            if condition(status):
                return status
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout_s} s; {status}; {self.listener.describe()}")
            time.sleep(0.02)

    def send(self, plugin: str, topic: str = "test.event", lane: str = "event", **data: Any) -> int:
        """Deliver an event and return the delivery's id."""
        delivery = self._delivery(topic, lane, data)
        self.host.deliver(plugin, delivery)
        return delivery.delivery_id

    def send_in_turn(self, plugin: str, *all_data: Mapping[str, Any]) -> list[int]:
        """Deliver events at once, to be run in turn; return the deliveries' ids."""
        deliveries = [self._delivery("test.event", "event", data) for data in all_data]
        self.host.deliver(plugin, *deliveries)
        return [delivery.delivery_id for delivery in deliveries]

    def _delivery(self, topic: str, lane: str, data: Mapping[str, Any]) -> Delivered:
        self._number += 1
        event = {
            "topic": topic,
            "id": f"e{self._number}",
            "data": data,
            "sent": None,
            "source": {"id": "asker", "user": {"username": "somebody"}},
            "target": "",
            "inReplyToEvent": None,
        }
        raw = json.dumps(event).encode()
        return Delivered(self._number, 100 + self._number, lane, raw)

    def statuses(self, identifiers: Sequence[int]) -> list[str | None]:
        """How deliveries ended, ``None`` for those that have not."""
        outcomes = map(self.listener.outcome, identifiers)
        return [outcome.status if outcome is not None else None for outcome in outcomes]

    def wait_statuses(self, identifiers: Sequence[int], *expected: str) -> None:
        """Wait until all of the deliveries ended, each as *expected*."""
        self.listener.wait_for(lambda: None not in self.statuses(identifiers), what="all to end")
        assert self.statuses(identifiers) == list(expected)

    def run(
        self, plugin: str, topic: str = "test.event", timeout_s: float = 30.0, **data: Any
    ) -> HostedOutcome:
        """Deliver an event and return its outcome."""
        identifier = self.send(plugin, topic, **data)
        outcome: HostedOutcome = self.listener.wait_for(
            lambda: self.listener.outcome(identifier), timeout_s, f"the outcome of {topic}"
        )
        return outcome

    def replies(self) -> list[dict[str, Any]]:
        """What plugins replied, oldest first."""
        return [
            event["data"] for _, event in self.listener.published if event["topic"] == "ftrack.meta.reply"
        ]

    def publish_data(self, topic: str) -> list[dict[str, Any]]:
        """The data of events about *topic* that plugins published."""
        return [event["data"] for _, event in self.listener.published if event["topic"] == topic]


@contextlib.contextmanager
def running_host(
    folder: Path | Sequence[Path],
    *,
    plugins: Mapping[str, PluginSettings] | None = None,
    groups: Sequence[GroupSettings] = (),
    server: ServerAccess = SERVER,
    bootstrap: Bootstrap = BOOTSTRAP,
    **settings: Any,
) -> Iterator[RunningHost]:
    """Run a host on the plugins in *folder* for the length of the block."""
    paths = [folder] if isinstance(folder, Path) else list(folder)
    hosting = HostingSettings(
        **{
            "plugin_paths": paths,
            "watch": False,
            "allow_unsafe_paths": True,
            "start_timeout_s": 10.0,
            "restart_delay_s": 0.05,
            **settings,
        }
    )
    listener = RecordingListener()
    host = Host(hosting, plugins or {}, groups, listener, server, bootstrap)
    host.start()
    try:
        yield RunningHost(host, listener, paths[0])
    finally:
        host.stop(5.0)
