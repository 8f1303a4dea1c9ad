"""Questions about an entity that do not touch the server."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ftrackd.api import operation as _operation
from ftrackd.api.symbol import CREATED, DELETED, MODIFIED, NOT_SET, Symbol

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity


def identity(entity: Entity) -> tuple[str, list[str]]:
    """Return what identifies `entity`: its type and the text of its primary key values.

    Two entities with the same identity are the same entity. KeyError when a primary key value is not set.
    """
    return entity.entity_type, list(entity._primary_values())


def primary_key(entity: Entity) -> OrderedDict[str, str]:
    """Return the primary key attributes of `entity` with the text of their values, in the order of the
    schema.

    KeyError when one of them has no value.
    """
    return OrderedDict(zip(entity.primary_key_attributes, entity._primary_values(), strict=True))


def state(entity: Entity) -> Symbol:
    """Return the state of `entity`: NOT_SET (nothing recorded), CREATED, MODIFIED or DELETED.

    It follows from the operations recorded in the current unit of work.
    """
    operations = entity.session.recorded_operations
    if not len(operations):
        return NOT_SET
    return _folded(operations.of(address(entity)))


def states(entities: Iterable[Entity]) -> list[Symbol]:
    """Return the state of each of `entities`, in their order."""
    return [state(entity) for entity in entities]


def address(entity: Entity) -> _operation.Address:
    """Return `identity` in the form in which operations name an entity."""
    return entity.entity_type, entity._primary_values()


def _folded(operations: Iterable[Any]) -> Symbol:
    current = NOT_SET
    for recorded in operations:
        if isinstance(recorded, _operation.CreateEntityOperation) and current is NOT_SET:
            current = CREATED
        elif isinstance(recorded, _operation.UpdateEntityOperation) and current is NOT_SET:
            current = MODIFIED
        elif isinstance(recorded, _operation.DeleteEntityOperation):
            current = DELETED
    return current
