"""Pauses a plugin's event lane while nothing it does succeeds."""

from __future__ import annotations

import random
from collections.abc import Callable

from ftrackd.delivery.backoff import full_jitter


class Brake:
    """Tells an outage from a bad event.

    A server that is down makes every delivery fail. Without a pause, a whole backlog would use up its
    attempts within a minute and end as dead letters. So after a few transient failures in a row the lane
    pauses, longer each time, and goes on with one delivery; the first success ends it.

    ``until``: when the pause ends, 0 when there is none.

    Args:
        base_s: first pause; it doubles, with jitter.
        cap_s: longest pause.
        uniform: draws a number between two others.
    """

    FAILURES_IN_A_ROW = 3

    def __init__(
        self, base_s: float, cap_s: float, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._uniform = uniform
        self._failures = 0
        self.until = 0.0

    def succeeded(self) -> None:
        """A delivery ended in any way but a transient failure."""
        self._failures = 0
        self.until = 0.0

    def failed(self, now: float) -> float | None:
        """A delivery failed for a transient reason; seconds of the pause that begins, None when there is
        none.
        """
        self._failures += 1
        excess = self._failures - self.FAILURES_IN_A_ROW
        if excess < 0:
            return None
        pause_s = full_jitter(excess + 1, self._base_s, self._cap_s, self._uniform)
        self.until = now + pause_s
        return pause_s

    def remaining_s(self, now: float) -> float:
        """Seconds that the pause still lasts; 0 when there is none."""
        return max(0.0, self.until - now)

    @property
    def probing(self) -> bool:
        """Whether the next delivery is a probe, to be sent alone."""
        return self._failures >= self.FAILURES_IN_A_ROW
