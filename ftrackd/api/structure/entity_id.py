"""The structure of flat storages: the id says it all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftrackd.api.structure.base import Structure

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity


class EntityIdStructure(Structure):
    """Uses the id of the entity."""

    def get_resource_identifier(self, entity: Entity, context: Mapping[str, Any] | None = None) -> str:
        """Return the id of *entity*."""
        return str(entity["id"])
