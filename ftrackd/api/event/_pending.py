"""What waits for an answer, and log lines that must not flood: bounded tables with a clock passed in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class ExpiringTable(Generic[_Key, _Value]):
    """Values that are forgotten after a time, or, oldest first, when there are too many. Thread-safe."""

    def __init__(self, limit: int, lifetime_s: float, clock: Callable[[], float]) -> None:
        """Hold at most `limit` values, each for `lifetime_s`."""
        self._limit = limit
        self._lifetime_s = lifetime_s
        self._clock = clock
        # Reentrant, as all locks that a publisher takes: a signal handler may publish or disconnect.
        self._lock = threading.RLock()
        # All live equally long, so insertion order is order of expiry.
        self._entries: dict[_Key, tuple[float, _Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, key: _Key, value: _Value) -> list[_Value]:
        """Keep `value`; return those that had to go for it."""
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = (self._clock() + self._lifetime_s, value)
            evicted = []
            while len(self._entries) > self._limit:
                # A signal handler may have evicted it meanwhile.
                oldest = self._entries.pop(next(iter(self._entries)), None)
                if oldest is not None:
                    evicted.append(oldest[1])
            return evicted

    def get(self, key: _Key) -> _Value | None:
        """Return the value of `key` and keep it."""
        with self._lock:
            entry = self._entries.get(key)
            return None if entry is None else entry[1]

    def pop(self, key: _Key) -> _Value | None:
        """Return the value of `key` and forget it."""
        with self._lock:
            entry = self._entries.pop(key, None)
            return None if entry is None else entry[1]

    def expired(self) -> list[_Value]:
        """Forget and return what is too old."""
        now = self._clock()
        values = []
        with self._lock:
            while self._entries:
                key = next(iter(self._entries))
                if self._entries[key][0] > now:
                    break
                values.append(self._entries.pop(key)[1])
        return values

    def renew(self) -> None:
        """Let the lifetime of all values begin now."""
        with self._lock:
            due = self._clock() + self._lifetime_s
            for key, (_, value) in list(self._entries.items()):
                self._entries[key] = (due, value)

    def clear(self) -> list[_Value]:
        """Forget and return all values."""
        with self._lock:
            values = [value for _, value in self._entries.values()]
            self._entries = {}
            return values

    def values(self) -> list[_Value]:
        """Return all values, oldest first."""
        with self._lock:
            return [value for _, value in self._entries.values()]


class LogLimit:
    """Lets one log line of a kind through per interval, and counts the others."""

    def __init__(self, interval_s: float, clock: Callable[[], float]) -> None:
        """Let a line through every `interval_s`."""
        self._interval_s = interval_s
        self._clock = clock
        self._next: dict[str, tuple[float, int]] = {}

    def admits(self, kind: str) -> tuple[bool, int]:
        """Return whether a line of `kind` may be logged now, and how many were kept back before it."""
        now = self._clock()
        due, kept_back = self._next.get(kind, (now, 0))
        if now < due:
            self._next[kind] = (due, kept_back + 1)
            return False, kept_back + 1
        self._next[kind] = (now + self._interval_s, 0)
        return True, kept_back
