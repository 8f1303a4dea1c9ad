"""What plugin processes say, passed on to the listener: subscriptions, publishes, outcomes."""

from __future__ import annotations

import platform
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ftrackd.api import _json
from ftrackd.hosting.flights import Flight, topic_of
from ftrackd.hosting.group import PluginGroup
from ftrackd.hosting.link import Frame
from ftrackd.hosting.model import (
    HostedOutcome,
    HostListener,
    OutcomeStatus,
    PluginSubscription,
    ServerAccess,
)
from ftrackd.hosting.process import HostedProcess

_LAUNCH_TOPIC: Final = "ftrack.action.launch"
_UNBEGUN: Final[Mapping[str, Any]] = {"status": "unbegun"}


class Relay:
    """Translates frames into calls of the listener; runs in the host's loop."""

    def __init__(self, listener: HostListener, server: ServerAccess) -> None:
        self._listener = listener
        self._server = server

    def subscribed(self, group: PluginGroup, process: HostedProcess, frame: Frame) -> None:
        """Note a subscription; the listener hears of it once the process is the group's own."""
        plugin = frame.header["plugin"]
        subscription = PluginSubscription(
            frame.header["metadata"],
            frame.header["expression"],
            frame.header["priority"],
            *frame.header["callback"],
        )
        process.subscriptions.setdefault(plugin, {})[subscription.id] = subscription
        if process is group.current:
            group.announced.setdefault(plugin, {})[subscription.id] = subscription
            self._listener.plugin_subscribed(plugin, subscription)

    def unsubscribed(self, group: PluginGroup, process: HostedProcess, frame: Frame) -> None:
        """Note that a subscription is gone."""
        plugin, identifier = frame.header["plugin"], frame.header["id"]
        process.subscriptions.get(plugin, {}).pop(identifier, None)
        known = group.announced.get(plugin, {})
        if process is group.current and identifier in known:
            del known[identifier]
            self._listener.plugin_unsubscribed(plugin, identifier)

    def announce(self, group: PluginGroup, process: HostedProcess) -> None:
        """Replace the subscriptions of a group by those of its new process, the new ones first."""
        before = group.announced
        group.announced = {plugin: dict(own) for plugin, own in process.subscriptions.items()}
        for plugin, subscriptions in group.announced.items():
            for subscription in subscriptions.values():
                self._listener.plugin_subscribed(plugin, subscription)
        for plugin, subscriptions in before.items():
            for identifier in subscriptions:
                if identifier not in group.announced.get(plugin, {}):
                    self._listener.plugin_unsubscribed(plugin, identifier)
        for frame in process.published:
            self.published(process, frame)
        process.published.clear()

    def take_back(self, group: PluginGroup, plugin: str) -> None:
        """Take back every subscription of a plugin that is gone."""
        for identifier in group.announced.pop(plugin, {}):
            self._listener.plugin_unsubscribed(plugin, identifier)

    def published(self, process: HostedProcess, frame: Frame) -> None:
        """Pass on an event that a plugin publishes."""
        plugin, number = frame.header["plugin"], frame.header["number"]

        def acknowledge(is_accepted: bool, message: str = "") -> None:
            answer: dict[str, Any] = {"success": is_accepted}
            if message:
                answer["message"] = message
            process.send("acknowledge", {"plugin": plugin, "number": number}, _json.dumps([answer]))

        self._listener.plugin_published(plugin, frame.payload, acknowledge)

    def returned(
        self, group: PluginGroup, process: HostedProcess, reports: Sequence[tuple[int, float]]
    ) -> None:
        """Pass on that deliveries returned, given as ids and seconds, and nothing else is to be said."""
        outcomes: dict[str, list[HostedOutcome]] = {}
        flights = process.landed([delivery_id for delivery_id, _ in reports])
        for flight, (delivery_id, seconds) in zip(flights, reports, strict=True):
            if flight is None:
                continue
            delivery = flight.delivery
            outcome = HostedOutcome(  # by place, which takes half as long
                delivery_id,
                delivery.token,
                "returned",
                None,
                False,
                None,
                False,
                seconds,
                delivery.topic,
                delivery.event_id,
            )
            of_plugin = outcomes.get(flight.plugin)
            if of_plugin is None:
                of_plugin = outcomes[flight.plugin] = []
            of_plugin.append(outcome)
        group.restart.succeeded()
        for plugin, of_plugin in outcomes.items():
            group.count(plugin, "returned", len(of_plugin))
            self._listener.deliveries_done(plugin, of_plugin)

    def done(self, group: PluginGroup, process: HostedProcess, frames: Sequence[Frame]) -> None:
        """Pass on the outcomes that a process reports in words."""
        reports = [(frame.header["id"], frame.header) for frame in frames]
        for frame in frames:
            reports += [(unbegun, _UNBEGUN) for unbegun in frame.header.get("unbegun", ())]
        outcomes: dict[str, list[HostedOutcome]] = {}
        flights = process.landed([delivery_id for delivery_id, _ in reports])
        for flight, (_, header) in zip(flights, reports, strict=True):
            if flight is None:
                continue
            status: OutcomeStatus = header["status"]
            if status != "unbegun":
                group.count(flight.plugin, status)
                group.restart.succeeded()
            if "uncommitted" in header:
                group.count(flight.plugin, "uncommitted", header["uncommitted"])
            outcome = _outcome_of(
                flight,
                status,
                header.get("error"),
                header.get("transient", False),
                header.get("error_id"),
                header.get("stopped", False),
                header.get("seconds", 0.0),
            )
            outcomes.setdefault(flight.plugin, []).append(outcome)
        for plugin, of_plugin in outcomes.items():
            self._listener.deliveries_done(plugin, of_plugin)

    def lost(
        self, group: PluginGroup, process: HostedProcess, flights: Sequence[Flight], now: float, reason: str
    ) -> None:
        """Give the outcomes of deliveries whose process ended."""
        outcomes: dict[str, list[HostedOutcome]] = {}
        launches: list[tuple[Flight, str]] = []
        for flight in flights:
            if flight.began_at is None and flight.delivery.lane == "event":
                outcome = _outcome_of(flight, "unbegun")
            else:
                outcome = self._lost_one(group, process, flight, now, reason)
                if topic_of(flight) == _LAUNCH_TOPIC:
                    launches.append((flight, outcome.error_id or ""))
            outcomes.setdefault(flight.plugin, []).append(outcome)
        for plugin, of_plugin in outcomes.items():
            self._listener.deliveries_done(plugin, of_plugin)
        for flight, error_id in launches:
            self.answer_launch(flight.plugin, flight.delivery.payload, error_id)

    def _lost_one(
        self, group: PluginGroup, process: HostedProcess, flight: Flight, now: float, reason: str
    ) -> HostedOutcome:
        is_culprit = flight.delivery.delivery_id in process.timed_out
        status: OutcomeStatus = "timed_out" if is_culprit else "died"
        group.count(flight.plugin, status)
        stack = (process.exit.stack if process.exit else "") or group.stacks.get(flight.plugin, "")
        if flight.began_at is None:
            text = f"its process ended before it could begin: {reason}"
        else:
            text = f"{reason}\n{stack}".rstrip()
        return _outcome_of(
            flight,
            status,
            text,
            error_id=uuid.uuid4().hex[:8],
            seconds=now - flight.began_at if flight.began_at is not None else 0.0,
        )

    def answer_launch(self, plugin: str, raw: bytes, error_id: str) -> None:
        """Tell whoever launched an action that it failed; its own process cannot."""
        event = _json.loads(raw)
        if event.get("topic") != _LAUNCH_TOPIC:
            return
        asker = (event.get("source") or {}).get("id")
        if not asker:
            return
        reply = {
            "topic": "ftrack.meta.reply",
            "id": uuid.uuid4().hex,
            "data": {
                "success": False,
                "message": f"The action failed. Tell your administrator this number: {error_id}",
            },
            "sent": None,
            "source": {
                "id": uuid.uuid4().hex,
                "user": {"username": self._server.api_user},
                "host": platform.node(),
            },
            "target": f'id="{asker}"',
            "inReplyToEvent": event.get("id"),
        }
        self._listener.plugin_published(plugin, _json.dumps(reply), lambda *_: None)


def _outcome_of(
    flight: Flight,
    status: OutcomeStatus,
    error: str | None = None,
    transient: bool = False,
    error_id: str | None = None,
    stopped: bool = False,
    seconds: float = 0.0,
) -> HostedOutcome:
    delivery = flight.delivery
    return HostedOutcome(
        delivery.delivery_id,
        delivery.token,
        status,
        error,
        transient,
        error_id,
        stopped,
        seconds,
        delivery.topic,
        delivery.event_id,
    )
