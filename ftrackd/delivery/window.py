"""What one plugin has claimed: which of it runs, and what may run next."""

from __future__ import annotations

from collections import deque

from ftrackd.delivery.journal import Claim


class Window:
    """The claimed deliveries of one plugin, in order.

    Claims are made in batches, so that disk and database are asked once for many deliveries; from here they
    start one by one, at most ``concurrency`` at a time, and never two that share a key. Not thread-safe.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._waiting: deque[Claim] = deque()
        self._running: dict[int, Claim] = {}

    @property
    def waiting(self) -> int:
        """How many claimed deliveries have not started."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many run."""
        return len(self._running)

    @property
    def free(self) -> int:
        """How many could start at once if they were claimed now; none while others wait before them."""
        return 0 if self._waiting else max(0, self.concurrency - len(self._running))

    def add(self, claims: list[Claim]) -> None:
        """Append claims, older first."""
        self._waiting.extend(claims)

    def start(self) -> list[Claim]:
        """Take what may start now and count it as running."""
        started: list[Claim] = []
        if self.concurrency == 1:
            if self._waiting and not self._running:
                started.append(self._waiting.popleft())
        elif self._waiting and len(self._running) < self.concurrency:
            started = self._disjoint()
        for claim in started:
            self._running[claim.delivery_id] = claim
        return started

    def _disjoint(self) -> list[Claim]:
        busy = {key for claim in self._running.values() for key in claim.keys}
        room = self.concurrency - len(self._running)
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

    def finish(self, delivery_id: int, token: int) -> Claim | None:
        """Take a delivery out of the running ones; None when it does not run under this token."""
        claim = self._running.get(delivery_id)
        if claim is None or claim.token != token:
            return None
        return self._running.pop(delivery_id)

    def abandon(self) -> list[Claim]:
        """Take out everything that has not started."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def interrupt(self) -> list[Claim]:
        """Take out everything that runs."""
        running = list(self._running.values())
        self._running.clear()
        return running
