"""Deliveries as a plugin process has them, and what a callback may know of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from ftrackd.hosting.link import Frame


@dataclass(frozen=True)
class DeliveryFacts:
    """One attempt at handing an event to a plugin.

    ``token`` is larger with every attempt: a system outside can refuse what an earlier, slower attempt still
    writes. ``attempt`` counts from 1. ``is_replayed`` says that the event is an old one, delivered again on
    request or found in the server's log after an absence.
    """

    id: str
    token: int
    attempt: int
    is_replayed: bool


class Arrival(NamedTuple):  # made for each delivery, where a frozen dataclass takes four times as long
    """A delivery whose turn has come; ``expires_at`` is the system's time, ``raw`` its event."""

    delivery_id: int
    token: int
    attempt: int
    is_replayed: bool
    expires_at: float | None
    raw: bytes

    def facts(self) -> DeliveryFacts:
        """Return what a callback may know."""
        return DeliveryFacts(str(self.delivery_id), self.token, self.attempt, self.is_replayed)


current_delivery: ContextVar[Arrival | None] = ContextVar("current_delivery", default=None)


class DeliverySequence:
    """Deliveries to be run in turn, as they came in one frame.

    ``recalls``: how often deliveries had been recalled when it came.
    """

    def __init__(self, frame: Frame, recalls: int) -> None:
        self.lane: str = frame.header["lane"]
        self.is_patient = self.lane == "event"
        self.recalls = recalls
        self._items: Sequence[Sequence[Any]] = frame.header["items"]
        self._payload = frame.payload
        self._begun = 0

    def __iter__(self) -> Iterator[Arrival]:
        """Give each delivery when it is asked for, which is when it begins."""
        begin = 0
        for delivery_id, token, attempt, is_replayed, expires_at, size in self._items:
            end = begin + size
            self._begun += 1
            yield Arrival(delivery_id, token, attempt, is_replayed, expires_at, self._payload[begin:end])
            begin = end

    def left_ids(self) -> list[int]:
        """Return the ids of the deliveries that have not begun."""
        return [item[0] for item in self._items[self._begun :]]
