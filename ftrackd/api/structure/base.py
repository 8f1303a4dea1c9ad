"""What every structure offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity


class Structure(ABC):
    """Decides resource identifiers; it touches no storage."""

    def __init__(self, prefix: str = "") -> None:
        """Begin identifiers with *prefix*."""
        self.prefix = prefix
        self.path_separator = "/"
        super().__init__()

    @abstractmethod
    def get_resource_identifier(self, entity: Entity, context: Mapping[str, Any] | None = None) -> str:
        """Return the resource identifier for *entity*, usually a component.

        *context* may hold the ``source_resource_identifier`` that the data has where it comes from.
        """

    def _get_sequence_expression(self, sequence: Entity) -> str:
        """Return the expression for the frame numbers of *sequence*: ``%04d``, or ``%d`` without padding."""
        padding = sequence["padding"]
        return f"%0{padding}d" if padding else "%d"


def unsupported_entity(structure: Structure, entity: Entity) -> NotImplementedError:
    """Return the error for an entity whose type *structure* has no place for.

    The builtin class is what callers of structures catch.
    """
    return NotImplementedError(
        f"{type(structure).__name__} has no resource identifier for {entity.entity_type} entities: {entity}. "
        "Supported are FileComponent, SequenceComponent and ContainerComponent."
    )
