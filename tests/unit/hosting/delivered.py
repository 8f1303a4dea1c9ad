"""An event for a plugin, as the daemon would pass it to the host."""

from __future__ import annotations

from typing import NamedTuple


class Delivered(NamedTuple):
    """What the host asks of a delivery."""

    delivery_id: int
    token: int = 1
    lane: str = "event"
    payload: bytes = b"{}"
    replayed: bool = False
    attempt: int = 1
    expires_at: float | None = None
    topic: str = ""
    event_id: str = ""
