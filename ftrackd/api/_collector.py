"""Python's collector of reference cycles, and when it is in the way."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager


class CollectorPaused(AbstractContextManager[None]):
    """Within, no garbage is looked for.

    For the moment in which an answer becomes objects: nothing of them is garbage, but Python looks through
    all that there are again and again while they are made, which is half of the time with 50,000 rows.
    Threads may be within at the same time; a collector that somebody else switched off stays off.
    """

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            gc.enable()
