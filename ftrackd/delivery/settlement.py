"""What is to be written about a delivery that was claimed."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from ftrackd.delivery.journal import Claim, JournalTransaction


class Verdict(enum.Enum):
    """What becomes of a claim."""

    CLOSE = enum.auto()
    RETRY = enum.auto()
    PARK = enum.auto()
    RELEASE = enum.auto()


class Settlement(NamedTuple):
    """One claim and what becomes of it; ``hold`` for PARK, ``delay_s`` for RETRY."""

    claim: Claim
    verdict: Verdict
    delay_s: float = 0.0
    error: str = ""
    error_id: str | None = None
    hold: bool = False

    def without_text(self, reason: str) -> Settlement | None:
        """The same without the text that may be why it cannot be stored; None when it has none."""
        text = f"An error whose text could not be stored: {reason}"
        return self._replace(error=text) if self.error and self.error != text else None

    def apply(self, transaction: JournalTransaction) -> bool:
        """Write it alone; False when the lease was lost meanwhile, and nothing was written."""
        delivery_id, token = self.claim.delivery_id, self.claim.token
        if self.verdict is Verdict.CLOSE:
            return not transaction.close([self.claim])
        if self.verdict is Verdict.RETRY:
            return transaction.retry(delivery_id, token, self.delay_s, self.error)
        if self.verdict is Verdict.PARK:
            return transaction.park(delivery_id, token, self.error, self.error_id, self.hold)
        return transaction.release(delivery_id, token)


def apply_all(settlements: Sequence[Settlement], transaction: JournalTransaction) -> list[Settlement]:
    """Write them, those that close all at once; returns the ones whose lease was lost meanwhile."""
    closing = [settled.claim for settled in settlements if settled.verdict is Verdict.CLOSE]
    lost = [Settlement(claim, Verdict.CLOSE) for claim in transaction.close(closing)] if closing else []
    if len(closing) < len(settlements):
        others = (settled for settled in settlements if settled.verdict is not Verdict.CLOSE)
        lost += [settled for settled in others if not settled.apply(transaction)]
    return lost
