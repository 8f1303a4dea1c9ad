"""Writes an answer so that an entity carries its data where it occurs first.

The official Python client takes what an entity's first occurrence in an answer says and passes over all
later ones, and it walks an answer in the order in which the schema lists attributes. So the first occurrence,
in that order, holds everything that was asked of the entity anywhere in the query; later ones are bare
references (type and primary key). Rows of the answer are always written out, for callers that do not merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from ftrackd.sandbox.schema.model import Schema

Entity: TypeAlias = dict[str, Any]

TYPE_KEY: Final = "__entity_type__"
#: Entities that refer to each other in a chain (links between tasks) would nest without end; this many levels
#: below the deepest path of the query, the rest is left to be asked for.
_FURTHER_LEVELS: Final = 24


class Normaliser:
    """Writes the entities of one answer. Each entity has to be one dictionary, however often it occurs.

    Args:
        schema: For the order of attributes.
        relation_names: Attributes that may hold entities.
        depth: Steps of the longest path in the query.
    """

    def __init__(self, schema: Schema, relation_names: frozenset[str], depth: int) -> None:
        self._schema = schema
        self._relation_names = relation_names
        self._maximum_depth = depth + _FURTHER_LEVELS
        self._written: set[int] = set()
        #: For entities that were written.
        self._references: dict[int, Entity] = {}
        self._relations: dict[str, tuple[str, ...]] = {}

    def write(self, rows: Sequence[Entity]) -> list[Entity]:
        """Return the rows of the answer."""
        if not self._relation_names:
            return list(rows)
        return [self._write_out(row, 0) for row in rows]

    def _write(self, entity: Entity, depth: int) -> Entity:
        if id(entity) in self._written:
            reference = self._references.get(id(entity))
            if reference is None:
                reference = self._references[id(entity)] = self._refer_to(entity)
            return reference
        return self._refer_to(entity) if depth > self._maximum_depth else self._write_out(entity, depth)

    def _write_out(self, entity: Entity, depth: int) -> Entity:
        self._written.add(id(entity))
        written = entity
        relations = self._relations.get(entity[TYPE_KEY])
        if relations is None:
            relations = self._find_relations(entity[TYPE_KEY])
        for name in relations:
            value = entity.get(name)
            if not value:
                continue
            if isinstance(value, dict) and TYPE_KEY in value:
                value = self._references.get(id(value)) or self._write(value, depth + 1)
            elif isinstance(value, list) and _is_entity(value[0]):
                value = [self._write(member, depth + 1) for member in value]
            else:
                # Another type has a relation of that name; here it is a plain value.
                continue
            if written is entity:
                written = dict(entity)
            written[name] = value
        return written

    def _refer_to(self, entity: Entity) -> Entity:
        names = (TYPE_KEY, *self._schema[entity[TYPE_KEY]].primary_key)
        return {name: entity[name] for name in names}

    def _find_relations(self, type_name: str) -> tuple[str, ...]:
        """Return the relations that entities of the type may have, in the order of the schema."""
        attributes = self._schema[type_name].attributes
        found = tuple(name for name in attributes if name in self._relation_names)
        self._relations[type_name] = found
        return found


def _is_entity(value: Any) -> bool:
    return isinstance(value, dict) and TYPE_KEY in value
