"""How values become JSON for the server."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ftrackd.api import _payload, attribute, collection
from ftrackd.api.entity.base import Entity
from ftrackd.api.symbol import NOT_SET

if TYPE_CHECKING:
    from ftrackd.api._session_state import SessionState

STRATEGIES: Final = frozenset({"all", "set_only", "modified_only", "persisted_only"})


def replacement(session: SessionState, strategy: str, value: Any) -> Any:
    """Return what stands for `value`, which JSON does not know; TypeError when nothing does.

    `strategy` is one of :data:`STRATEGIES` and says which attributes of an entity are written.
    """
    if isinstance(value, Entity):
        return _entity(session, strategy, value)
    if isinstance(value, collection.Collection):
        return [session.entity_reference(entity) for entity in value]
    if isinstance(value, collection.MappedCollectionProxy):
        return [session.entity_reference(entity) for entity in value.collection]
    if isinstance(value, _payload.OperationPayload):
        return dict(value)
    # arrow's dates are no datetimes, and are not imported before the first of them is needed.
    if isinstance(value, (datetime.datetime, datetime.date)) or type(value).__name__ == "Arrow":
        return {"__type__": "datetime", "value": value.isoformat()}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be written as JSON.")


def _entity(session: SessionState, strategy: str, entity: Entity) -> dict[str, Any]:
    data: dict[str, Any] = session.entity_reference(entity)
    with session.auto_populating(True):
        for described in entity.attributes:
            value = _value(strategy, entity, described)
            if value is NOT_SET:
                continue
            if isinstance(value, Entity):
                value = session.entity_reference(value)
            elif isinstance(value, collection.Collection):
                value = [session.entity_reference(member) for member in value]
            elif isinstance(value, collection.MappedCollectionProxy):
                value = [session.entity_reference(member) for member in value.collection]
            data[described.name] = value
    return data


def _value(strategy: str, entity: Entity, described: attribute.Attribute) -> Any:
    if strategy == "all":
        return described.get_value(entity)
    if strategy == "modified_only":
        return described.get_local_value(entity) if described.is_modified(entity) else NOT_SET
    if strategy == "persisted_only":
        return NOT_SET if described.computed else described.get_remote_value(entity)
    value = described.get_local_value(entity)
    return value if value is not NOT_SET else described.get_remote_value(entity)
