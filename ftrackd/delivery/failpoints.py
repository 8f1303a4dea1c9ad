"""Named points at which a test can end the process as a power cut would.

``FTRACKD_FAILPOINT=name`` kills the process with SIGKILL when it passes the point for the first time,
``name:n`` when it passes it for the n-th time. Unset, a point costs one comparison. The names are listed,
with what is true at each, in ``docs/delivery.md``.
"""

from __future__ import annotations

import os
import signal
from typing import Final

NAMES: Final = frozenset(
    {
        "journal.open.before_recovery",
        "journal.open.after_recovery",
        "journal.begin",
        "journal.before_commit",
        "journal.after_commit",
        "journal.before_checkpoint",
        "journal.after_checkpoint",
        "intake.received",
        "append.before",
        "append.after",
        "claim.after",
        "handover.before",
        "handover.after",
        "outcome.received",
        "settle.before",
        "settle.after",
        "outcome.after",
        "catchup.before_append",
        "catchup.after_append",
    }
)

_armed: str | None = None
_passes_left = 0


def arm(setting: str | None) -> None:
    """Set the point at which this process ends.

    Args:
        setting: ``name`` or ``name:n``; None or empty disarms.

    Raises:
        ValueError: when the name is not one of :data:`NAMES` or n is not a positive number.
    """
    global _armed, _passes_left
    if not setting:
        _armed = None
        return
    name, _, count = setting.partition(":")
    if name not in NAMES:
        raise ValueError(f"FTRACKD_FAILPOINT names {name!r}, which is none of {', '.join(sorted(NAMES))}.")
    passes = int(count or "1")
    if passes < 1:
        raise ValueError(f"FTRACKD_FAILPOINT counts passes from 1, {setting!r} does not.")
    _armed, _passes_left = name, passes


def failpoint(name: str) -> None:
    """End the process here if this point is armed and its time has come."""
    global _passes_left
    if _armed is None or name != _armed:
        return
    _passes_left -= 1
    if _passes_left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get("FTRACKD_FAILPOINT"))
