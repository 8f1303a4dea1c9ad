"""The connection's rules without a connection: states, back-off, liveness. Time and chance are arguments."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class ConnectionState(enum.StrEnum):
    """What the hub's connection is at; it is also a plain string."""

    #: A handshake is under way, or the hub waits for the next attempt.
    CONNECTING = "connecting"
    #: Connected, and the server is heard in time.
    LIVE = "live"
    #: Connected, but the server has been silent for suspiciously long.
    STALE = "stale"
    #: Not connected and not trying: never connected, disconnected on request, or given up.
    CLOSED = "closed"


class StateChange(NamedTuple):
    """A change of state with its reason in words."""

    previous: ConnectionState
    current: ConnectionState
    reason: str


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """How a lost connection is sought again.

    The n-th wait is random between 0 and ``first_delay_s * 2**n``, at most `delay_cap_s` ("full jitter", so
    that a restarted server isn't hit by everybody at once), and never shorter than `shortest_delay_s`.
    """

    #: Attempts in a row before giving up; None means never.
    attempts: int | None = None
    first_delay_s: float = 0.5
    delay_cap_s: float = 60.0
    shortest_delay_s: float = 0.05
    #: Seconds between attempts when the server refuses the credentials.
    refused_delay_s: float = 60.0
    #: Seconds a connection must have lasted for the back-off to begin anew.
    stable_after_s: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, or None for ever; it is {self.attempts}.")
        if min(self.first_delay_s, self.delay_cap_s) <= 0 or self.shortest_delay_s < 0:
            raise ValueError("Delays must be greater than 0 seconds.")


class Backoff:
    """Counts failures in a row and says how long to wait before the next attempt."""

    def __init__(self, policy: ReconnectPolicy, random: Callable[[], float]) -> None:
        """`random` gives numbers from 0 to 1."""
        self._policy = policy
        self._random = random
        #: Failed attempts since the last one that succeeded.
        self.failures = 0
        self._doublings = 0

    def after_failure_s(self, *, refused: bool = False) -> float | None:
        """Count a failed attempt; return the seconds to wait, None when the attempts are used up."""
        self.failures += 1
        if self._policy.attempts is not None and self.failures >= self._policy.attempts:
            return None
        delay_s = self._next_delay_s()
        return self._policy.refused_delay_s if refused else delay_s

    def after_loss_s(self, lasted_s: float) -> float:
        """Return the seconds to wait after a connection ended that had lasted `lasted_s`."""
        self.failures = 0
        if lasted_s >= self._policy.stable_after_s:
            self._doublings = 0
        return self._next_delay_s()

    def _next_delay_s(self) -> float:
        policy = self._policy
        # 2**30 seconds is beyond every cap, and a float.
        ceiling = min(policy.delay_cap_s, policy.first_delay_s * 2.0 ** min(self._doublings, 30))
        self._doublings += 1
        return max(min(policy.shortest_delay_s, policy.delay_cap_s), self._random() * ceiling)


class Liveness:
    """Judges a connection by how long ago the last packet came."""

    def __init__(self, timeout_s: float | None, now: float) -> None:
        """`timeout_s` is the silence that means the peer is gone; None when silence means nothing."""
        self._timeout_s = timeout_s
        self._last_packet = now

    def packet_received(self, now: float) -> None:
        """Note that a packet came."""
        self._last_packet = now

    def silence_s(self, now: float) -> float:
        """Return the seconds since the last packet."""
        return now - self._last_packet

    def is_stale(self, now: float) -> bool:
        """Return whether half of the time has passed: with a working server that does not happen."""
        return self._timeout_s is not None and self.silence_s(now) >= self._timeout_s / 2

    def is_dead(self, now: float) -> bool:
        """Return whether the peer must be taken for gone."""
        return self._timeout_s is not None and self.silence_s(now) >= self._timeout_s

    def next_check_s(self, now: float) -> float | None:
        """Return the seconds until the next of both can become true, None for never."""
        if self._timeout_s is None:
            return None
        silence = self.silence_s(now)
        due = self._timeout_s / 2 if silence < self._timeout_s / 2 else self._timeout_s
        return max(0.0, due - silence)
