"""Calls to a listener that must not hurt the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

import structlog

_P = ParamSpec("_P")
_log = structlog.stdlib.get_logger("ftrackd.delivery")


def notify(method: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
    """Call a listener's method; an error of its is logged and contained."""
    try:
        method(*args, **kwargs)
    except Exception:  # noqa: BLE001 - the listener is somebody else's code; its faults must not stop deliveries
        _log.exception("delivery listener failed", method=getattr(method, "__qualname__", repr(method)))
