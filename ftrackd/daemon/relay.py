"""Between the one hub connection and the plugins: whose event is it, and who said this?

Incoming events go, by the plugins' subscriptions, to delivery; replies go straight back to the plugin
that asked. What plugins publish goes out unchanged.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import structlog

from ftrackd.api.event.index import SubscriptionIndex
from ftrackd.delivery import Recipient
from ftrackd.hosting import PluginSubscription

log = structlog.stdlib.get_logger("ftrackd.daemon.relay")

REPLY_TOPIC = "ftrack.meta.reply"
LOCAL_TOPICS = ("ftrack.api.session.", "ftrack.storage-scenario.activate")
"""Topics that a Session publishes to itself; the server never sends them, so it need not know who listens."""

Receive = Callable[[bytes, Mapping[str, Any], Sequence[Recipient]], None]
SubscriptionKey = tuple[str, str]
"""Plugin and subscriber id."""
Matches = list[tuple[SubscriptionKey, int]]
"""What matches an event, with its priority number."""


class Hub(Protocol):
    """What the relay needs of the event hub."""

    def subscribe(
        self, subscription: str, callback: Callable[[Any], Any], subscriber: Any = None, priority: int = 100
    ) -> Any: ...

    def unsubscribe(self, subscriber_identifier: str) -> None: ...


class HubRelay:
    """Routes between hub and plugins. Safe to use from any thread.

    ``can_wait`` says of a topic whether its events are kept for a plugin that is not there.
    """

    def __init__(
        self,
        hub: Hub,
        receive: Receive,
        reply: Callable[[str, bytes], None],
        can_wait: Callable[[str], bool],
    ) -> None:
        self._hub = hub
        self._receive = receive
        self._reply = reply
        self._can_wait = can_wait
        self._index = SubscriptionIndex()
        self._announced: dict[SubscriptionKey, tuple[str, PluginSubscription]] = {}  # guarded by _lock
        self._lock = threading.Lock()
        self._is_open = True
        self._late: frozenset[str] = frozenset()
        # The matches of the latest event and who they are: most events go where the one before went.
        self._latest: tuple[Matches, list[Recipient]] = ([], [])

    def expect(self, plugins: Iterable[str]) -> None:
        """Keep every event for these plugins, too: they are still starting, and what they will subscribe to
        is not known yet. Each hands on to its callbacks only what they match.
        """
        self._late = frozenset(plugins)

    def close_intake(self) -> None:
        """Take no more events in; replies still reach the plugins that wait for them."""
        self._is_open = False

    def incoming(self, raw: bytes, event: Mapping[str, Any]) -> None:
        """Route one event; ``raw`` is its JSON as it came."""
        if event.get("topic") == REPLY_TOPIC:
            for plugin in {key[0] for key, _ in self._matches(event)}:
                self._reply(plugin, raw)
        elif self._is_open and (recipients := self.recipients(event)):
            self._receive(raw, event, recipients)

    def recipients(self, event: Mapping[str, Any]) -> Sequence[Recipient]:
        """Return the plugins whose subscriptions match, each with its lowest priority number, and those that
        are still starting, for an event that can wait for them.
        """
        matches = self._matches(event)
        known_matches, recipients = self._latest
        if matches != known_matches:
            recipients = recipients_of(matches)
            self._latest = matches, recipients
        if self._late and self._can_wait(str(event.get("topic"))):
            known = {recipient.plugin for recipient in recipients}
            return [*recipients, *(Recipient(plugin) for plugin in sorted(self._late - known))]
        return recipients

    def subscribed(self, plugin: str, subscription: PluginSubscription) -> None:
        """A plugin subscribed: match for it, and tell the server."""
        key = (plugin, subscription.id)
        self._index.add(key, subscription.expression, subscription.metadata, subscription.priority)
        if any(topic in subscription.expression for topic in LOCAL_TOPICS):
            return
        with self._lock:
            known = self._announced.get(key)
            if known is not None and known[1] == subscription:
                return
            announced_id = known[0] if known else self._free_id(plugin, subscription.id)
            self._announced[key] = (announced_id, subscription)
        if known is None:
            self._announce(announced_id, subscription)
            return
        # No event may be missed between the old one and the new one, which has the same id.
        interim_id = uuid.uuid4().hex
        self._announce(interim_id, subscription)
        self._hub.unsubscribe(announced_id)
        self._announce(announced_id, subscription)
        self._hub.unsubscribe(interim_id)

    def _announce(self, announced_id: str, subscription: PluginSubscription) -> None:
        # The hub announces it again after each reconnect. Its callback never runs: the tap takes all events.
        self._hub.subscribe(
            subscription.expression,
            _never_called,
            {**subscription.metadata, "id": announced_id},
            subscription.priority,
        )

    def unsubscribed(self, plugin: str, subscriber_id: str) -> None:
        """A plugin gave a subscription up, or its process ended."""
        key = (plugin, subscriber_id)
        self._index.remove(key)
        with self._lock:
            known = self._announced.pop(key, None)
        if known is not None:
            self._hub.unsubscribe(known[0])

    def _free_id(self, plugin: str, subscriber_id: str) -> str:
        # Plugins choose ids in processes of their own; on our one connection an id can be announced once.
        is_taken = any(announced == subscriber_id for announced, _ in self._announced.values())
        return f"{subscriber_id}@{plugin}" if is_taken else subscriber_id

    def _matches(self, event: Mapping[str, Any]) -> Matches:
        return cast("Matches", self._index.match(event))


def recipients_of(matches: Matches) -> list[Recipient]:
    """Return one recipient for each plugin among the matches, which come best priority first."""
    best: dict[str, int] = {}
    for (plugin, _), priority in matches:
        if plugin not in best:
            best[plugin] = priority
    return [Recipient(plugin, priority) for plugin, priority in best.items()]


def _never_called(event: Any) -> None:
    raise AssertionError("the daemon's hub is tapped; no callback of it runs")
