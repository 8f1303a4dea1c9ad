"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable


def full_jitter(
    attempts: int, base_s: float, cap_s: float, uniform: Callable[[float, float], float] = random.uniform
) -> float:
    """Seconds to wait after this many attempts failed.

    The limit doubles with each attempt up to the cap; the wait is drawn evenly below it, so that
    deliveries which failed together do not come back together. At least a tenth of the limit is waited.

    Args:
        attempts: failed so far, at least 1.
        base_s: limit after the first.
        cap_s: highest limit.
        uniform: draws a number between two others.
    """
    doublings = min(max(attempts, 1) - 1, 62)
    limit = min(cap_s, base_s * 2.0**doublings)
    return max(limit * 0.1, uniform(0.0, limit))
