"""An outcome as whoever runs deliveries reports it."""

from typing import NamedTuple

from ftrackd.delivery.ports import Status


class Ended(NamedTuple):
    """How an attempt ended."""

    delivery_id: int
    token: int
    status: Status = "returned"
    error: str | None = None
    error_id: str | None = None
    transient: bool = False
    stopped: bool = False
    seconds: float = 0.0
