"""The subscriber: a callback together with what it wants and who it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftrackd.api.event.base import Event
from ftrackd.api.event.subscription import Subscription

#: What a subscriber's callback looks like; a result that is not None is sent as a reply.
Callback = Callable[[Event], Any]


class Subscriber:
    """A callback with its subscription, its metadata (at least an ``id``) and its priority (lower first)."""

    def __init__(
        self, subscription: str | Subscription, callback: Callback, metadata: dict[str, Any], priority: int
    ) -> None:
        """Raise :class:`ftrackd.api.exception.ParseError` when *subscription* is not an expression."""
        self.subscription = (
            subscription if isinstance(subscription, Subscription) else Subscription(subscription)
        )
        self.callback = callback
        self.metadata = metadata
        self.priority = priority

    def __str__(self) -> str:
        return f'<{type(self).__name__} metadata={self.metadata} subscription="{self.subscription}">'

    def interested_in(self, event: Any) -> bool:
        """Return whether the subscription includes *event*; the event's target is not considered."""
        return self.subscription.includes(event)
