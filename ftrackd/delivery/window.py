"""What one plugin has claimed: which of it was handed over, and what may be handed over next."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, Protocol, TypeVar

from ftrackd.delivery.journal import Claim


class _Handed(Protocol):
    """What names an attempt: the claim itself, or its outcome."""

    @property
    def delivery_id(self) -> int: ...
    @property
    def token(self) -> int: ...


_HandedT = TypeVar("_HandedT", bound=_Handed)

HANDED_AHEAD: Final = 64
HANDED_AHEAD_BYTES: Final = 512 * 1024


class Window:
    """The claimed deliveries of one plugin, in order.

    Claims are made in batches, so that disk and database are asked once for many deliveries. With a
    concurrency of 1 they are also handed over in batches, to be run in turn; the next batch when nothing of
    the one before is left. With more, those that share no key are handed over one by one, as many as run
    side by side. Not thread-safe.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._waiting: deque[Claim] = deque()
        self._handed_over: dict[int, Claim] = {}
        self._in_turn = False  # whether only the first of what is handed over runs

    @property
    def waiting(self) -> int:
        """How many claimed deliveries have not been handed over."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many run."""
        return min(1, len(self._handed_over)) if self._in_turn else len(self._handed_over)

    @property
    def ahead(self) -> int:
        """How many were handed over and do not run yet."""
        return len(self._handed_over) - self.running

    @property
    def free(self) -> int:
        """How many could start at once if they were claimed now; none while others wait before them."""
        return 0 if self._waiting else max(0, self.concurrency - len(self._handed_over))

    def add(self, claims: list[Claim]) -> None:
        """Append claims, older first."""
        self._waiting.extend(claims)

    def start(self) -> list[list[Claim]]:
        """Take what may be handed over now: sequences, each to be run in turn."""
        if self.concurrency == 1:
            started = [self._next()] if self._waiting and not self._handed_over else []
        elif self._waiting and len(self._handed_over) < self.concurrency:
            started = [[claim] for claim in self._disjoint()]
        else:
            started = []
        if started:
            self._in_turn = self.concurrency == 1
        for sequence in started:
            self._handed_over.update({claim.delivery_id: claim for claim in sequence})
        return started

    def _next(self) -> list[Claim]:
        count = size = 0
        for claim in islice(self._waiting, HANDED_AHEAD):
            size += len(claim.payload)
            # What was tried before goes alone: it may be what ended its process.
            if count and (claim.attempt > 1 or size > HANDED_AHEAD_BYTES):
                break
            count += 1
            if claim.attempt > 1:
                break
        return [self._waiting.popleft() for _ in range(count)]

    def _disjoint(self) -> list[Claim]:
        busy = {key for claim in self._handed_over.values() for key in claim.keys}
        room = self.concurrency - len(self._handed_over)
        started: list[Claim] = []
        kept: deque[Claim] = deque()
        while self._waiting:
            claim = self._waiting.popleft()
            if len(started) < room and busy.isdisjoint(claim.keys):
                started.append(claim)
            else:
                kept.append(claim)
            # What stays keeps its keys busy too: the next with one of them must not overtake it.
            busy.update(claim.keys)
            if len(started) == room:
                break
        kept.extend(self._waiting)
        self._waiting = kept
        return started

    def first(self) -> Claim | None:
        """The oldest of what was handed over; when it is run in turn, the one that runs."""
        return next(iter(self._handed_over.values()), None)

    def finish(self, delivery_id: int, token: int) -> Claim | None:
        """Take a delivery out of what was handed over; None when it is not there under this token."""
        claim = self._handed_over.get(delivery_id)
        if claim is None or claim.token != token:
            return None
        return self._handed_over.pop(delivery_id)

    def finish_all(self, handed: Sequence[_HandedT]) -> tuple[list[Claim], list[_HandedT]]:
        """Take deliveries out of what was handed over; returns them, and what is not there."""
        claims: list[Claim] = []
        unknown: list[_HandedT] = []
        for one in handed:
            claim = self._handed_over.get(one.delivery_id)
            if claim is None or claim.token != one.token:
                unknown.append(one)
            else:
                del self._handed_over[one.delivery_id]
                claims.append(claim)
        return claims, unknown

    def put_back(self, claims: list[Claim]) -> None:
        """Put in front what was handed over and did not begin, older first."""
        self._waiting.extendleft(reversed(claims))

    def abandon(self) -> list[Claim]:
        """Take out everything that was not handed over."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def interrupt(self) -> tuple[list[Claim], list[Claim]]:
        """Take out everything that was handed over: what runs, and what has not begun."""
        claims, running = list(self._handed_over.values()), self.running
        self._handed_over.clear()
        return claims[:running], claims[running:]
