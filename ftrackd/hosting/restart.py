"""When to start a plugin again after it failed: pure, fed with outcomes."""

from __future__ import annotations


class RestartPolicy:
    """Counts failures in a row and says how long to wait before the next attempt.

    The delay doubles from *first_delay_s* to *cap_s*. From *disable_after* failures in a row on the circuit
    is open: the plugin is shown as disabled, and tried again only after these growing delays or when its code
    changes.
    """

    def __init__(self, first_delay_s: float, cap_s: float, disable_after: int) -> None:
        self._first_delay_s = first_delay_s
        self._cap_s = cap_s
        self._disable_after = disable_after
        self.failures = 0

    @property
    def is_open(self) -> bool:
        """Whether the plugin failed so often in a row that it is disabled."""
        return self.failures >= self._disable_after

    def failed(self) -> float:
        """Count a failure and return the seconds to wait before the next attempt."""
        self.failures += 1
        return float(min(self._cap_s, self._first_delay_s * 2 ** min(self.failures - 1, 64)))

    def succeeded(self) -> None:
        """Forget the failures: the plugin did its work."""
        self.failures = 0
