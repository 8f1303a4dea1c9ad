"""What creating an entity of a type needs to know, worked out once for each type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ftrackd.sandbox.schema import NO_DEFAULT, EntityType, Scalar, ValueType
from ftrackd.sandbox.schema.declaration import UID
from ftrackd.sandbox.store.values import store_scalar

#: Types that one installation can have at a time, with room for a few changes of the schema.
_KEPT: Final = 2048
#: Filled with the acting user when not given.
_AUTHORS: Final = frozenset(["created_by_id", "user_id"])
#: Tables whose ``user_id`` is an assignment and not an author.
_NOT_AUTHORED: Final = frozenset(
    ["manager", "membership", "user_security_role", "user_application_state", "user_session", "user_view"]
)
#: Filled with the time of the transaction when not given.
_MOMENTS: Final = frozenset(["created_at", "date", "start", "thread_activity", "creation_time"])
_NEUTRAL: Final[dict[ValueType, Any]] = {
    ValueType.BOOLEAN: False,
    ValueType.NUMBER: 0.0,
    ValueType.INTEGER: 0,
    ValueType.STRING: "",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """See the fields; columns are those of the type's table."""

    columns: tuple[str, ...]
    key_columns: tuple[str, ...]
    #: Attribute name, and the columns of its schema default with their values.
    defaults: tuple[tuple[str, dict[str, Any]], ...]
    authors: tuple[str, ...]
    moments: tuple[str, ...]
    #: Required columns and what stands there when nothing was given; ``None`` for those a client must give.
    required: tuple[tuple[str, str, Any], ...]
    #: Legacy key and column of what an announcement tells.
    announced: tuple[tuple[str, str], ...]


@lru_cache(maxsize=_KEPT)
def plan(kind: EntityType) -> Plan:
    """The plan of *kind*."""
    scalars = [attribute for attribute in kind.attributes.values() if isinstance(attribute, Scalar)]
    return Plan(
        columns=tuple(column.name for column in kind.table.c),
        key_columns=tuple(kind.scalar(name).column for name in kind.primary_key),
        defaults=tuple(
            (attribute.name, store_scalar(kind.name, attribute, attribute.default))
            for attribute in scalars
            if attribute.default is not NO_DEFAULT and attribute.default != UID
        ),
        authors=tuple(
            attribute.column
            for attribute in scalars
            if attribute.name in _AUTHORS
            and not (attribute.name == "user_id" and kind.table_name in _NOT_AUTHORED)
        ),
        moments=tuple(
            attribute.column
            for attribute in scalars
            if attribute.name in _MOMENTS and attribute.value_type is ValueType.DATETIME
        ),
        required=tuple(
            (attribute.name, attribute.column, _substitute(kind, attribute))
            for attribute in scalars
            if attribute.is_required
        ),
        announced=tuple((attribute.legacy_key, shown_column(attribute)) for attribute in scalars),
    )


def shown_column(attribute: Scalar) -> str:
    """The column whose value stands for *attribute* in ``changes``."""
    return attribute.variable.text if attribute.variable is not None else attribute.column


#: Marks a required date-time: it becomes the time of the transaction.
NOW: Final = object()


def _substitute(kind: EntityType, attribute: Scalar) -> Any:
    if attribute.foreign_key is not None or attribute.name in kind.primary_key:
        return None
    if attribute.value_type is ValueType.DATETIME:
        return NOW
    if attribute.name == "is_active":
        return True
    return _NEUTRAL.get(attribute.value_type)
