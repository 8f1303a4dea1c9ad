"""What is to be written about deliveries that were claimed."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from ftrackd.delivery.journal import Claim, JournalTransaction


class Verdict(enum.Enum):
    """What becomes of a claim whose attempt did not return."""

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
        if self.verdict is Verdict.RETRY:
            return transaction.retry(delivery_id, token, self.delay_s, self.error)
        if self.verdict is Verdict.PARK:
            return transaction.park(delivery_id, token, self.error, self.error_id, self.hold)
        return transaction.release(delivery_id, token)


@dataclass(slots=True)
class Settlements:
    """What is to be written: the claims to close, as a rule nearly all, and what becomes of the others."""

    closing: list[Claim] = field(default_factory=list)
    others: list[Settlement] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.closing) + len(self.others)

    def take(self, limit: int) -> Settlements:
        """Take so many out; the others first, because only they carry texts, which may not be storable."""
        others, self.others = self.others[:limit], self.others[limit:]
        limit -= len(others)
        closing, self.closing = self.closing[:limit], self.closing[limit:]
        return Settlements(closing, others)

    def put_back(self, taken: Settlements) -> None:
        """Put in front what was taken and could not be written."""
        self.closing[:0] = taken.closing
        self.others[:0] = taken.others

    def apply(self, transaction: JournalTransaction) -> list[Claim]:
        """Write them; returns the claims whose lease was lost meanwhile."""
        lost = transaction.close(self.closing) if self.closing else []
        return lost + [settled.claim for settled in self.others if not settled.apply(transaction)]
