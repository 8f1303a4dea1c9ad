"""Jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftrackd.api.entity.base import Entity


class Job(Entity):
    """Work that a user can follow in the web interface."""

    def __init__(
        self, session: Any, data: Mapping[str, Any] | None = None, reconstructing: bool = False
    ) -> None:
        """Make a job; ValueError for a type other than ``api_job``, the only one for clients."""
        if not reconstructing and (data or {}).get("type") not in {"api_job", None}:
            raise ValueError('Invalid Job type "{}". Must be "api_job".'.format((data or {})["type"]))
        super().__init__(session, data=data, reconstructing=reconstructing)
