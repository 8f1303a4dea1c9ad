"""A structure on disk made of component ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftrackd.api.structure.base import Structure, unsupported_entity

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity


class IdStructure(Structure):
    """Spreads components over folders by the first characters of their id.

    No folder grows to millions of entries. With the id ``12345678-...`` and the file type ``.ext``:

    ====================== ===============================================
    file                   ``<prefix>/1/2/3/4/5678-....ext``
    sequence               ``<prefix>/1/2/3/4/5678-.../file.%04d.ext``
    frame of a sequence    ``<prefix>/1/2/3/4/5678-.../file.0042.ext``
    container              ``<prefix>/1/2/3/4/5678-...``
    member of a container  ``<prefix>/1/2/3/4/5678-.../<member id>.ext``
    ====================== ===============================================
    """

    def get_resource_identifier(self, entity: Entity, context: Mapping[str, Any] | None = None) -> str:
        """Return the identifier of a component; raises ``NotImplementedError`` for other entities."""
        return self.path_separator.join(self._get_parts(entity)).strip(self.path_separator)

    def _get_parts(self, entity: Entity) -> list[str]:
        match entity.entity_type:
            case "FileComponent":
                return self._get_file_parts(entity)
            case "SequenceComponent":
                name = f"file.{self._get_sequence_expression(entity)}{entity['file_type'] or ''}"
                return [*self._get_id_parts(entity), name]
            case "ContainerComponent":
                return self._get_id_parts(entity)
        raise unsupported_entity(self, entity)

    def _get_file_parts(self, entity: Entity) -> list[str]:
        file_type = entity["file_type"] or ""
        container = entity["container"]
        if not container:
            *folders, name = self._get_id_parts(entity)
            return [*folders, name + file_type]
        if container.entity_type == "SequenceComponent":
            # A frame's name is its number.
            return [*self._get_id_parts(container), f"file.{entity['name']}{file_type}"]
        return [*self._get_id_parts(container), entity["id"] + file_type]

    def _get_id_parts(self, entity: Entity) -> list[str]:
        identifier = str(entity["id"])
        return [*([self.prefix] if self.prefix else []), *identifier[:4], identifier[4:]]
