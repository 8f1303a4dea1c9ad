"""Dates as plugins expect them: arrow objects."""

from __future__ import annotations

import datetime
from typing import Any


def from_server(text: str) -> Any:
    """Return the :class:`arrow.Arrow` for an ISO 8601 `text`; UTC when it names no offset."""
    import arrow  # 60 ms of imports, for the first date only

    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        # Forms that only arrow knows; its own error is the right one for the rest.
        return arrow.get(text)
    return arrow.Arrow.fromdatetime(moment, moment.tzinfo or datetime.UTC)
