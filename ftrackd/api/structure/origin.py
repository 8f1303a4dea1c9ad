"""The structure that leaves data where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftrackd.api.structure.base import Structure

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity


class OriginStructure(Structure):
    """Uses the identifier that the data has at its source."""

    def get_resource_identifier(self, entity: Entity, context: Mapping[str, Any] | None = None) -> str:
        """Return the ``source_resource_identifier`` of *context*; raises ``ValueError`` when it has none."""
        source: str | None = (context or {}).get("source_resource_identifier")
        if source is None:
            raise ValueError(
                f"The origin structure needs context['source_resource_identifier'] to identify {entity}."
            )
        return source
