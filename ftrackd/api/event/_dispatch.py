"""Who is subscribed, and calling them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ftrackd.api.event.base import Event
from ftrackd.api.event.index import SubscriptionIndex
from ftrackd.api.event.subscriber import Subscriber
from ftrackd.api.exception import NotFoundError, NotUniqueError

_logger = logging.getLogger("ftrack_api.event.hub.EventHub")


class CallbackResult(NamedTuple):
    """What one callback returned."""

    subscriber: Subscriber
    value: Any


class CallbackFailure(NamedTuple):
    """What one callback raised; or why its result could not be sent as a reply."""

    subscriber: Subscriber
    exception: Exception


@dataclass(slots=True)
class DispatchOutcome:
    """What came of calling the callbacks that an event matches."""

    results: list[CallbackResult] = field(default_factory=list)
    failures: list[CallbackFailure] = field(default_factory=list)
    #: Whether a callback stopped the event.
    stopped: bool = False

    @property
    def values(self) -> list[Any]:
        """Return the results alone, None included, in the order of the calls."""
        return [result.value for result in self.results]


class Dispatcher:
    """The subscribers of one hub. Thread-safe; callbacks run without its lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._index = SubscriptionIndex()
        self._subscribers: dict[Any, Subscriber] = {}

    def renew_locks(self) -> None:
        """Have locks that nobody holds: in a forked process, no thread is left that could release them."""
        self._lock = threading.RLock()
        self._index.renew_lock()

    def subscribers(self) -> list[Subscriber]:
        """Return all subscribers in the order in which they came."""
        with self._lock:
            return list(self._subscribers.values())

    def find(self, identifier: Any) -> Subscriber | None:
        """Return the subscriber whose metadata has this ``id``."""
        return self._subscribers.get(identifier)

    def add(self, subscriber: Subscriber) -> None:
        """Add `subscriber`. Raises NotUniqueError when there is one with its ``id`` already."""
        identifier = subscriber.metadata["id"]
        with self._lock:
            if identifier in self._subscribers:
                raise NotUniqueError(f"Subscriber with identifier {identifier!r} already exists.")
            self._index.add(
                identifier, str(subscriber.subscription), subscriber.metadata, subscriber.priority
            )
            self._subscribers[identifier] = subscriber

    def remove(self, identifier: Any) -> Subscriber:
        """Remove and return a subscriber. Raises NotFoundError when there is none."""
        with self._lock:
            subscriber = self._subscribers.pop(identifier, None)
            if subscriber is None:
                raise NotFoundError(f"Cannot find subscriber with identifier {identifier!r}.")
            self._index.remove(identifier)
            return subscriber

    def call(self, event: Event, reply: Callable[[Subscriber, Any], None] | None) -> DispatchOutcome:
        """Call everybody whom `event` concerns, lowest priority first, until somebody stops it.

        `reply` is given each result that is not None as soon as it is there. What a callback raises is logged
        and reported; the next one is called.
        """
        outcome = DispatchOutcome()
        for identifier, _ in self._index.match(event):
            subscriber = self._subscribers.get(identifier)
            if subscriber is None:
                continue  # unsubscribed by a callback before it
            if event.is_stopped():
                break
            try:
                value = subscriber.callback(event)
                outcome.results.append(CallbackResult(subscriber, value))
                if value is not None and reply is not None:
                    reply(subscriber, value)
            except Exception as error:  # contains a plugin's callback
                outcome.failures.append(CallbackFailure(subscriber, error))
                _logger.exception("Callback of %s failed for an event about %r.", subscriber, event["topic"])
        outcome.stopped = event.is_stopped()
        return outcome
