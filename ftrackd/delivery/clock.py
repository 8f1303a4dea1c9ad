"""The clock of an embedded journal."""

from __future__ import annotations

import time
from collections.abc import Callable


class JournalClock:
    """Seconds since 1970 that a change of the system's clock does not move.

    It reads the system's clock once and goes on by the monotonic one, so leases and back-off are neither
    cut short nor stretched when the machine's time is corrected while the daemon runs. ``wall`` stays the
    system's time, for what people read.

    Args:
        wall: seconds since 1970 now.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.wall = wall
        self._monotonic = monotonic
        self._offset_s = wall() - monotonic()

    def now(self) -> float:
        """Seconds since 1970 for leases and delays."""
        return self._offset_s + self._monotonic()
