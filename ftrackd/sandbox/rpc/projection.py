"""Answers that hold what a query asked for and nothing beside it."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from ftrackd.sandbox.query import parse
from ftrackd.sandbox.query.tree import Path
from ftrackd.sandbox.schema.model import Schema

_TYPE: Final = "__entity_type__"
_Names: TypeAlias = dict[str, "_Names"]


def keep_requested(schema: Schema, expression: str, rows: list[dict[str, Any]]) -> None:
    """Take out of *rows*, the answer to *expression*, what its projections do not name.

    Types and primary keys stay: an entity without them is none. So does everything below an attribute that
    was asked for as a whole, and every attribute when nothing was selected.
    """
    names: _Names = {}
    for projection in parse(expression).projections:
        if isinstance(projection, Path):
            below = names
            for step in projection.steps:
                below = below.setdefault(step.name, {})
    if names:
        for row in rows:
            _reduce(schema, row, names)


def _reduce(schema: Schema, entity: dict[str, Any], names: _Names) -> None:
    entity_type = schema.types.get(entity.get(_TYPE, ""))
    if entity_type is None:
        return
    for name in [name for name in entity if name not in names]:
        if name != _TYPE and name not in entity_type.primary_key:
            del entity[name]
    for name, below in names.items():
        value = entity.get(name)
        members = value if isinstance(value, list) else [value]
        for member in members if below else ():
            if isinstance(member, dict):
                _reduce(schema, member, below)
