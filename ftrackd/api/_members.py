"""What a collection holds, and what it held before each of its changes."""

from __future__ import annotations

import threading
from typing import Any, Final

#: How many changes are kept beyond two for each member, before a new history begins.
_SHORT_HISTORY: Final = 64

# One for all: it is held for moments, and collections are many.
_lock = threading.Lock()


class Members:
    """A list that copies share: each change keeps what undoes it.

    Every recorded operation has a copy of the collection that it changed. Were these lists of their own,
    adding members one by one would take time and memory in the square of their number.
    """

    __slots__ = ("_undo", "now")

    def __init__(self, members: list[Any]) -> None:
        #: The members as they are; changed by :meth:`splice` only.
        self.now = members
        self._undo: list[tuple[int, int, list[Any]]] = []

    @property
    def state(self) -> int:
        """The number of the present state, for :meth:`at`."""
        return len(self._undo)

    @property
    def has_long_history(self) -> bool:
        """Whether the changes outgrew the members, so that a new history is worth its copy."""
        return len(self._undo) > 2 * len(self.now) + _SHORT_HISTORY

    def splice(self, start: int, stop: int, members: list[Any]) -> None:
        """Put `members` in the place of those from `start` up to `stop`."""
        with _lock:
            self._undo.append((start, start + len(members), self.now[start:stop]))
            self.now[start:stop] = members

    def at(self, state: int) -> list[Any]:
        """Return the members as they were at `state`, in a new list."""
        with _lock:
            members = list(self.now)
            for start, stop, before in reversed(self._undo[state:]):
                members[start:stop] = before
        return members
