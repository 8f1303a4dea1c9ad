"""What a callback may want to know about the delivery it runs for."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


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


current_delivery: ContextVar[DeliveryFacts | None] = ContextVar("current_delivery", default=None)
