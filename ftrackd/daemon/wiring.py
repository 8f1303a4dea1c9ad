"""Where hosting, delivery and the hub meet: each hears of the others through here only."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import structlog

from ftrackd.api.exception import EventHubError
from ftrackd.daemon.hooks import Hooks
from ftrackd.daemon.lifecycle import Lifecycle
from ftrackd.daemon.relay import HubRelay
from ftrackd.daemon.tail import EventTail
from ftrackd.delivery import Delivery, DeliveryListener, Handover, Health, Lane, Recipient
from ftrackd.delivery.ports import Status
from ftrackd.hosting import (
    Acknowledge,
    HostedOutcome,
    PluginStatus,
    PluginSubscription,
)

log = structlog.stdlib.get_logger("ftrackd.daemon")

_FAILED_STATES = frozenset({"failed", "disabled", "refused", "restarting"})
_OWN_TOPICS = ("ftrack.meta.reply", "ftrack.storage-scenario.", "ftrack.connect.verify-startup")
"""Topics that every Session subscribes to by itself; what the plugin wants is more interesting."""


def shown_subscriptions(status: PluginStatus) -> list[str]:
    """Return the expressions that the plugin itself subscribed to."""
    expressions = [subscription.expression for subscription in status.subscriptions]
    return [text for text in expressions if not any(topic in text for topic in _OWN_TOPICS)]


def reason_of(error: str) -> str:
    """Return the line that says what happened: a traceback ends with it, other reports begin with it."""
    lines = error.strip().splitlines() or [""]
    return lines[-1] if lines[0].startswith("Traceback ") else lines[0]


class Wiring(DeliveryListener):
    """Passes what one room says to the others, and tells hooks, tail and log.

    It is the host's listener, the engine's runner and the engine's listener. ``host``, ``delivery`` and
    ``relay`` are set before anything starts.
    """

    host: Any
    delivery: Delivery
    relay: HubRelay

    def __init__(self, hub: Any, lifecycle: Lifecycle, hooks: Hooks, tail: EventTail) -> None:
        self._hub = hub
        self._lifecycle = lifecycle
        self._hooks = hooks
        self._tail = tail
        self._lock = threading.Lock()
        self._states: dict[str, tuple[str, int, str]] = {}  # guarded by _lock
        self.changed = threading.Event()
        """Set whenever a plugin's state or the hub's state changes."""

    # From the hub, through the relay.

    def receive(self, raw: bytes, event: Mapping[str, Any], recipients: Sequence[Recipient]) -> None:
        """An event came from the hub for these plugins."""
        self.take_in(raw, event, recipients, replayed=False)

    def take_in(
        self, raw: bytes, event: Mapping[str, Any], recipients: Sequence[Recipient], *, replayed: bool
    ) -> None:
        """Hand an event to delivery; catch-up calls this too."""
        plugins = [recipient.plugin for recipient in recipients]
        lane = self.delivery.receive(raw, event, recipients, replayed=replayed)
        if lane is Lane.NONE:
            return
        self._tail.add("received", topic=event.get("topic"), id=event.get("id"), plugins=plugins)
        self._hooks.call("event_received", event=event, plugins=plugins, replayed=replayed)

    # The host's listener.

    def plugin_subscribed(self, plugin: str, subscription: PluginSubscription) -> None:
        """Match and announce the subscription."""
        self.relay.subscribed(plugin, subscription)

    def plugin_unsubscribed(self, plugin: str, subscriber_id: str) -> None:
        """Forget the subscription."""
        self.relay.unsubscribed(plugin, subscriber_id)

    def plugin_published(self, plugin: str, raw: bytes, acknowledge: Acknowledge) -> None:
        """Send what a plugin publishes, unchanged."""

        def on_ack(arguments: list[Any]) -> None:
            answer = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
            acknowledge(bool(answer.get("success")), str(answer.get("message", "")))

        try:
            self._hub.send_raw(raw, on_ack)
        except EventHubError as error:
            log.warning("publish refused", plugin=plugin, reason=str(error))
            acknowledge(False, str(error))

    def plugin_ready(self, plugin: str, concurrency: int) -> None:
        """Let deliveries flow to the plugin."""
        self.delivery.plugin_ready(plugin, concurrency)

    def plugin_gone(self, plugin: str, reason: str) -> None:
        """Keep deliveries back until the plugin is ready again."""
        tell = log.info if self._lifecycle.is_running else log.debug
        tell("plugin takes no events", plugin=plugin, reason=reason)
        self.delivery.plugin_gone(plugin)

    def deliveries_done(self, plugin: str, outcomes: Sequence[HostedOutcome]) -> None:
        """Settle deliveries with the engine, then tell everybody who listens."""
        self.delivery.finished(plugin, *outcomes)
        attempts = [outcome for outcome in outcomes if outcome.status != "unbegun"]
        if not attempts:
            return
        if self._tail.is_read:
            for outcome in attempts:
                self._tail.add(
                    outcome.status,
                    plugin=plugin,
                    topic=outcome.topic,
                    id=outcome.event_id,
                    seconds=round(outcome.seconds, 4),
                    error_id=outcome.error_id,
                )
        self._hooks.call("deliveries_done", plugin=plugin, outcomes=attempts)
        for outcome in attempts:
            if outcome.status != "returned":
                self._tell_failure(plugin, outcome)

    def _tell_failure(self, plugin: str, outcome: HostedOutcome) -> None:
        error = outcome.error or ""
        log.warning(
            "callback failed",
            plugin=plugin,
            status=outcome.status,
            event_id=outcome.event_id,
            topic=outcome.topic,
            error_id=outcome.error_id,
            # What a callback raised is in the log with its traceback already, from the plugin's process.
            error=reason_of(error) if outcome.status == "raised" else error,
        )

    def state_changed(self, status: PluginStatus) -> None:
        """Tell hooks and log when a plugin's state, version or error is another one."""
        now = (status.state, status.generation, status.error or status.reason)
        with self._lock:
            before = self._states.get(status.name)
            self._states[status.name] = now
        if before != now:
            self._tell(status, before)
        self.changed.set()

    def _tell(self, status: PluginStatus, before: tuple[str, int, str] | None) -> None:
        document = asdict(status)
        if status.state in _FAILED_STATES or (status.error and status.state != "stopped"):
            log.error(
                "plugin failed", plugin=status.name, state=status.state, reason=status.error or status.reason
            )
            self._hooks.call("plugin_failed", plugin=status.name, status=document)
        elif status.state == "running" and (
            before is None or before[:2] != (status.state, status.generation)
        ):
            log.info(
                "plugin loaded",
                plugin=status.name,
                pid=status.pid,
                subscriptions=shown_subscriptions(status),
            )
            self._hooks.call("plugin_loaded", plugin=status.name, status=document)
        elif status.state == "stopped":
            self._hooks.call("plugin_ended", plugin=status.name, status=document)

    # The engine's runner and listener.

    def run(self, plugin: str, deliveries: Sequence[Handover]) -> None:
        """Pass deliveries to the plugin's process."""
        self.host.deliver(plugin, *deliveries)

    def recall(self, plugin: str) -> None:
        """Let the plugin's process begin nothing more of what it was passed."""
        self.host.recall(plugin)

    def health_changed(self, health: Health) -> None:
        """Show that durable events are not safe, or are again."""
        if health.degraded:
            log.error(
                "journal cannot be written", reason=health.degraded, waiting=health.waiting, lost=health.lost
            )
            self._lifecycle.degrade("journal", health.degraded)
        else:
            log.info("journal works again", lost=health.lost)
            self._lifecycle.lift("journal")

    def retrying(self, plugin: str, event_id: str, attempts: int, delay_s: float, error: str) -> None:
        """Show a retry."""
        self._tail.add("retry", plugin=plugin, id=event_id, attempts=attempts, delay_s=round(delay_s, 2))
        log.warning(
            "delivery will be retried",
            plugin=plugin,
            event_id=event_id,
            attempts=attempts,
            delay_s=round(delay_s, 2),
            reason=reason_of(error),
        )

    def parked(self, plugin: str, event_id: str, delivery_id: int, error: str) -> None:
        """Show a dead letter."""
        self._tail.add("parked", plugin=plugin, id=event_id, letter=delivery_id)
        log.error(
            "delivery parked",
            plugin=plugin,
            event_id=event_id,
            letter=delivery_id,
            reason=reason_of(error),
            remedy=f"ftrackd dead show {delivery_id}",
        )

    def interactive_ended(
        self, plugin: str, event: bytes, status: Status | Literal["expired"], error_id: str | None
    ) -> None:
        """Answer an action that no process of its plugin was there for; the host answers all others."""
        if status == "expired":
            error_id = uuid.uuid4().hex[:8]
            log.warning(
                "interactive event expired before its plugin could run it", plugin=plugin, error_id=error_id
            )
            self.host.answer_launch(plugin, event, error_id)

    def looping(self, plugin: str, entity_id: str, count: int, delay_s: float) -> None:
        """Name a plugin that seems to trigger itself; scripts of the same user look the same from here."""
        log.warning(
            "plugin seems to trigger itself: our own user keeps changing what it handles; slowed down",
            plugin=plugin,
            entity=entity_id,
            events_a_minute=count,
            delay_s=delay_s,
        )

    def paused(self, plugin: str, delay_s: float) -> None:
        """Say that a plugin's events wait for something outside to work again."""
        log.warning(
            "plugin's events wait, attempts keep failing for a passing reason", plugin=plugin, delay_s=delay_s
        )
