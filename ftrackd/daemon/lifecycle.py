"""The states of the main process, without threads or clocks.

``boot → connecting → live ⇄ degraded → draining → stopped``. Live means: plugins registered, hub
connected and subscribed, nothing wrong. Each thing that is wrong is a named degradation; the daemon is
live again when the last one is lifted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum

from ftrackd.daemon.errors import DaemonError


class State(StrEnum):
    """Where the main process is in its life."""

    BOOT = "boot"
    CONNECTING = "connecting"
    LIVE = "live"
    DEGRADED = "degraded"
    DRAINING = "draining"
    STOPPED = "stopped"


_ALLOWED = {
    State.BOOT: {State.CONNECTING, State.DRAINING, State.STOPPED},
    State.CONNECTING: {State.LIVE, State.DEGRADED, State.DRAINING, State.STOPPED},
    State.LIVE: {State.DEGRADED, State.DRAINING, State.STOPPED},
    State.DEGRADED: {State.LIVE, State.DRAINING, State.STOPPED},
    State.DRAINING: {State.STOPPED},
    State.STOPPED: set(),
}

Listener = Callable[[State, dict[str, str]], None]


class Lifecycle:
    """The state with its degradations; safe to use from any thread.

    ``listener`` is called with the new state and the degradations (name to sentence) after each change,
    outside the lock, in the thread that caused the change.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self._state = State.BOOT  # guarded by _lock
        self._degradations: dict[str, str] = {}  # guarded by _lock

    @property
    def state(self) -> State:
        """The present state."""
        return self._state

    @property
    def degradations(self) -> dict[str, str]:
        """What is wrong now: name to sentence."""
        with self._lock:
            return dict(self._degradations)

    @property
    def is_running(self) -> bool:
        """Whether events are (or will be) taken in."""
        return self._state not in (State.DRAINING, State.STOPPED)

    def connecting(self) -> None:
        """Boot is over; plugins start and the hub connects."""
        self._move(State.CONNECTING)

    def ready(self) -> None:
        """Plugins are registered, the hub is connected and subscribed."""
        with self._lock:
            target = State.DEGRADED if self._degradations else State.LIVE
        self._move(target)

    def degrade(self, name: str, reason: str) -> None:
        """Record that something is wrong under ``name``; repeated calls replace the reason."""
        with self._lock:
            changed = self._degradations.get(name) != reason
            self._degradations[name] = reason
            was_live = self._state is State.LIVE
        if was_live:
            self._move(State.DEGRADED)
        elif changed:
            self._tell()

    def lift(self, name: str) -> None:
        """What was wrong under ``name`` is well again."""
        with self._lock:
            if self._degradations.pop(name, None) is None:
                return
            recovered = self._state is State.DEGRADED and not self._degradations
        if recovered:
            self._move(State.LIVE)
        else:
            self._tell()

    def draining(self) -> None:
        """No more events are taken in; running ones finish."""
        self._move(State.DRAINING)

    def stopped(self) -> None:
        """Nothing runs any more."""
        self._move(State.STOPPED)

    def _move(self, target: State) -> None:
        with self._lock:
            if target is self._state:
                return
            if target not in _ALLOWED[self._state]:
                if self._state in (State.DRAINING, State.STOPPED):
                    return  # a late report of a part that does not know yet that we stop
                raise DaemonError(f"the daemon cannot go from {self._state} to {target}")
            self._state = target
        self._tell()

    def _tell(self) -> None:
        self._listener(self._state, self.degradations)
