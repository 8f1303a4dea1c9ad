"""Memory of the main process."""

from __future__ import annotations

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8  # malloc.h of glibc; see mallopt(3)


def share_one_heap() -> bool:
    """Have all threads allocate from one heap; return whether the C library can be told.

    glibc gives threads heaps of their own, so that they need not wait for each other; Python's threads do
    anyway. What one of them frees the others cannot use, and the daemon of a busy machine grows for hours.
    """
    try:
        tell = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False  # another C library
    return bool(tell(_M_ARENA_MAX, 1))
