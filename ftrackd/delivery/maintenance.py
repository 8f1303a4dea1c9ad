"""What has to be done from time to time: leases and pruning."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog

from ftrackd.delivery.journal import JournalTransaction, Reclaimed

if TYPE_CHECKING:
    from ftrackd.settings import DeliverySettings

_log = structlog.stdlib.get_logger("ftrackd.delivery")
_PRUNE_EVERY_S: Final = 60.0
_PRUNE_IDLE_S: Final = 300.0  # nothing to remove, perhaps because all of a large journal is unfinished
_PRUNE_AT_ONCE: Final = 500
_PRUNE_AGAIN_S: Final = 0.05
_KEPT_S: Final = 900.0  # an event may come a second time, by another way, for about so long
_DAY_S: Final = 86_400.0


class Maintenance:
    """Extends this owner's leases, reclaims lost ones and prunes; inside the writer's transactions.

    Args:
        settings: limits of this room.
        owner: whose leases are extended.
    """

    def __init__(self, settings: DeliverySettings, owner: str) -> None:
        self._settings = settings
        self._owner = owner
        self._leases_at = 0.0
        self._prune_at = 0.0

    @property
    def next_at(self) -> float:
        """When something is due, in seconds of the monotonic clock."""
        return min(self._leases_at, self._prune_at)

    def perform(self, transaction: JournalTransaction, now: float) -> list[Reclaimed]:
        """Do what is due; returns the deliveries whose lease was lost."""
        reclaimed: list[Reclaimed] = []
        if now >= self._leases_at:
            # First ours, then the lost ones: a machine that slept must not take its own running deliveries
            # for lost.
            transaction.extend(self._owner, self._settings.lease_s)
            reclaimed = transaction.reclaim(self._settings.max_attempts, self._settings.on_park == "hold")
            self._leases_at = now + self._settings.lease_s / 3
        if now >= self._prune_at:
            self._prune_at = now + self._prune(transaction)
        return reclaimed

    def _prune(self, transaction: JournalTransaction) -> float:
        """Remove some of what is too old; return the seconds until the next time."""
        now = time.time()
        pruned = transaction.prune(
            older_than=now - self._settings.retention_days * _DAY_S,
            dead_older_than=now - self._settings.dead_letter_days * _DAY_S,
            size_limit_bytes=self._settings.size_limit_mb * 1024 * 1024,
            limit=_PRUNE_AT_ONCE,
            keep_since=now - max(_KEPT_S, 10 * self._settings.catch_up_overlap_s),
        )
        if pruned.dead:
            _log.warning("old dead letters removed", count=pruned.dead)
        if pruned.more:
            return _PRUNE_AGAIN_S
        return _PRUNE_EVERY_S if pruned.events else _PRUNE_IDLE_S
