"""Which connections an event goes to.

A pure table of subscriptions: no sockets, no clock. Subscriptions are indexed by the topics that their
expression fixes, so an event meets only the subscriptions that could want it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ftrackd.sandbox.events import expression

SUBSCRIBE_TOPIC: Final = "ftrack.meta.subscribe"
UNSUBSCRIBE_TOPIC: Final = "ftrack.meta.unsubscribe"

_parse = lru_cache(maxsize=4096)(expression.parse)


class SubscriptionError(ValueError):
    """A subscription, its subscriber or an event's target cannot be used; clients are told the text."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscriber of one connection: the metadata that targets match, and its expression."""

    connection: str
    subscriber: Mapping[str, Any]
    expression: expression.Expression

    @property
    def key(self) -> tuple[str, str]:
        """The connection and the subscriber's id, which name a subscription."""
        return self.connection, self.subscriber["id"]


class Router:
    """The subscriptions of all connections."""

    def __init__(self) -> None:
        """Start without subscriptions."""
        self._by_connection: dict[str, dict[str, Subscription]] = {}
        self._by_topic: dict[str, dict[tuple[str, str], Subscription]] = {}
        self._unindexed: dict[tuple[str, str], Subscription] = {}

    def __len__(self) -> int:
        """Return the number of subscriptions."""
        return sum(len(subscriptions) for subscriptions in self._by_connection.values())

    def subscribe(self, connection: str, subscriber: Any, text: Any) -> None:
        """Add the subscription *text* of *subscriber*; the same subscriber id again replaces the earlier one.

        Clients send all subscriptions again when they reconnect, and the JavaScript client sends its reply
        subscription twice, so a repetition is no mistake. Raise :class:`SubscriptionError` when the
        subscriber has no id or the expression cannot be parsed.
        """
        identifier = _subscriber_id(subscriber)
        if not isinstance(text, str):
            raise SubscriptionError("The subscription expression is missing.")
        try:
            parsed = _parse(text)
        except expression.ExpressionError as error:
            raise SubscriptionError(f"Cannot parse the subscription {text!r}: {error}") from error
        self.unsubscribe(connection, subscriber)
        subscription = Subscription(connection, subscriber, parsed)
        self._by_connection.setdefault(connection, {})[identifier] = subscription
        for table in self._tables(subscription):
            table[subscription.key] = subscription

    def unsubscribe(self, connection: str, subscriber: Any) -> bool:
        """Forget the subscription of *subscriber*; return whether there was one."""
        identifier = _subscriber_id(subscriber)
        subscription = self._by_connection.get(connection, {}).pop(identifier, None)
        if subscription is None:
            return False
        self._remove(subscription)
        return True

    def disconnect(self, connection: str) -> None:
        """Forget every subscription of *connection*."""
        for subscription in self._by_connection.pop(connection, {}).values():
            self._remove(subscription)

    def recipients(self, event: Mapping[str, Any]) -> list[str]:
        """Return the connections that *event* goes to, each once however many of its subscriptions match.

        Raise :class:`SubscriptionError` when the event's target cannot be parsed.
        """
        target = _parse_target(event.get("target"))
        found: dict[str, None] = {}
        candidates = (self._by_topic.get(event["topic"], {}), self._unindexed)
        for subscription in (candidate for table in candidates for candidate in table.values()):
            if subscription.connection in found or not subscription.expression.matches(event):
                continue
            if target is None or target.matches(subscription.subscriber):
                found[subscription.connection] = None
        return list(found)

    def _tables(self, subscription: Subscription) -> list[dict[tuple[str, str], Subscription]]:
        topics = subscription.expression.topics
        if topics is None:
            return [self._unindexed]
        return [self._by_topic.setdefault(topic, {}) for topic in topics]

    def _remove(self, subscription: Subscription) -> None:
        for table in self._tables(subscription):
            table.pop(subscription.key, None)
        for topic in subscription.expression.topics or ():
            if not self._by_topic.get(topic, True):
                del self._by_topic[topic]


def _subscriber_id(subscriber: Any) -> str:
    """Return the id in the metadata of a *subscriber*."""
    identifier = subscriber.get("id") if isinstance(subscriber, dict) else None
    if not isinstance(identifier, str) or not identifier:
        raise SubscriptionError("The subscriber has no id.")
    return identifier


def _parse_target(target: Any) -> expression.Expression | None:
    """Return the parsed *target* of an event; None stands for everybody."""
    if target is None or (isinstance(target, str) and not target.strip()):
        return None
    if not isinstance(target, str):
        raise SubscriptionError("The target is not an expression.")
    try:
        return _parse(target)
    except expression.ExpressionError as error:
        raise SubscriptionError(f"Cannot parse the target {target!r}: {error}") from error
