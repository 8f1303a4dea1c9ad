"""How the rows of one answer become the entities of a session: the hot path of every query.

Rows are taken in by the column: all rows of one class, then all values of each of their relations, and so on
down. What is the same for a class is looked up once and not for each of tens of thousands of rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import TYPE_CHECKING, Any

from ftrackd.api._group import CHUNK, Group
from ftrackd.api._layout import Layout

if TYPE_CHECKING:
    from ftrackd.api._session_merge import MergeMethods
    from ftrackd.api.entity.base import Entity

Row = dict[str, Any]


class Absorption:
    """Takes in one answer; the session's lock must be held while it is used.

    Entities that come with one answer are grouped, to be loaded together.
    """

    def __init__(self, session: MergeMethods) -> None:
        self.session = session
        #: Whether there are caches behind the identity map.
        self.is_layered = len(session.cache.caches) > 1
        self._by_class: dict[type[Entity], RowsOfClass] = {}

    def of_class(self, entity_class: type[Entity]) -> RowsOfClass:
        """Return what takes in the rows of `entity_class`."""
        found = self._by_class.get(entity_class)
        if found is None:
            layout = self.session._layouts[entity_class]
            found = self._by_class[entity_class] = RowsOfClass(self, layout)
        return found

    def nested(self, rows: list[Row], entity_type: str | None) -> list[Any]:
        """Return the entities for `rows`, which all name `entity_type`; mappings that name none are decoded.

        UnrecognisedEntityTypeError when the schemas do not know the type.
        """
        session = self.session
        if entity_type is None:
            return [session._decode_value(row) for row in rows]
        return self.of_class(session.types.recognised(entity_type)).absorb(rows)

    def relate(self, rows: list[Row], name: str) -> None:
        """Replace the values of the relation `name` in `rows` by entities of the session."""
        by_type: dict[str | None, list[Row]] = {}
        with_members = []
        for row in rows:
            value = row[name]
            if value.__class__ is dict:
                entity_type = value.get("__entity_type__")
                same_type = by_type.get(entity_type)
                if same_type is None:
                    same_type = by_type[entity_type] = []
                same_type.append(row)
            elif value.__class__ is list:
                with_members.append(row)
            elif value is not None:
                row[name] = self.session.merge(value)
        for entity_type, same_type in by_type.items():
            entities = self.nested([row[name] for row in same_type], entity_type)
            for row, entity in zip(same_type, entities, strict=True):
                row[name] = entity
        if with_members:
            self._relate_members(with_members, name)

    def _relate_members(self, rows: list[Row], name: str) -> None:
        """Replace the members of the collections `name` in `rows` by entities of the session."""
        members = [[{"member": value} for value in row[name]] for row in rows]
        self.relate([member for of_row in members for member in of_row], "member")
        for row, of_row in zip(rows, members, strict=True):
            # The same entity twice would be one too many for a collection.
            row[name] = list({id(member["member"]): member["member"] for member in of_row}.values())


class RowsOfClass:
    """Takes in the rows of one class of entities in one answer."""

    def __init__(self, answer: Absorption, layout: Layout) -> None:
        self._answer = answer
        self._session = answer.session
        self._layout = layout
        self._group = Group(layout.entity_type)

    def absorb(
        self, rows: list[Row], candidates: Iterable[Entity | None] = repeat(None), *, regroup: bool = True
    ) -> list[Entity]:
        """Return the entities of the session for `rows`, with the values of the rows, which become their own.

        `candidates` are the objects to use when there is none yet. With `regroup` the entities are loaded
        together with the others of this answer from now on.
        """
        layout = self._layout
        single_key: Any = layout.single_key
        find = self._session._identity_map.finder(layout.entity_type)
        shape: tuple[str, ...] | None = None
        unknown: list[str] = []
        related: list[Row] | None = None
        by_relations: dict[tuple[str, ...], list[Row]] = {}
        known: list[tuple[Entity, Row]] = []
        entities = []
        for row, candidate in zip(rows, candidates, strict=False):
            # The rows of an answer have few different sets of keys, mostly one.
            if (keys := tuple(row)) != shape:
                shape = keys
                unknown, related = self._learn(keys, by_relations)
            for name in unknown:
                del row[name]
            key = row.get(single_key)
            if key.__class__ is not str:
                key = layout.key_of(row)
            entity = find(key)
            if entity is None:
                entity = self._adopt(key, row, candidate)
            if regroup and entity._group is not self._group:
                self._join(entity, key)
            if related is not None:
                related.append(row)
            if entity._row is not row:
                known.append((entity, row))
            entities.append(entity)
        for relations, having in by_relations.items():
            for name in relations:
                self._answer.relate(having, name)
        self._update(known)
        if self._answer.is_layered:
            self._show_caches(entities)
        return entities

    def _learn(
        self, keys: tuple[str, ...], by_relations: dict[tuple[str, ...], list[Row]]
    ) -> tuple[list[str], list[Row] | None]:
        """Return which of the `keys` of a row the schema does not know, and where to collect rows like it.

        They are collected in `by_relations`, by the relations they have; None when they have none.
        """
        layout = self._layout
        unknown = [name for name in keys if name not in layout.names]
        relations = tuple([name for name in keys if name in layout.relations])
        return unknown, by_relations.setdefault(relations, []) if relations else None

    def _adopt(self, key: Any, row: Row, candidate: Entity | None) -> Entity:
        """Return the entity for a `row` that is not in the identity map, now in it."""
        layout = self._layout
        entity = self._session._from_secondary_cache(layout, key) if self._answer.is_layered else None
        if entity is not None:
            for name in layout.relations & entity._row.keys():
                self._answer.relate([entity._row], name)
        elif candidate is not None:
            entity = candidate
        else:
            entity = layout.maker(self._session)(row)
        self._session._identity_map.add(layout.entity_type, key, entity)
        return entity

    def _join(self, entity: Entity, key: Any) -> None:
        """Have `entity` loaded together with the others of this answer."""
        if len(self._group.keys) >= CHUNK:
            self._group = Group(self._layout.entity_type)
        self._group.keys[key] = None
        entity._group = self._group

    def _update(self, known: list[tuple[Entity, Row]]) -> None:
        """Give entities that were known before the values of their rows."""
        collections = self._layout.collections
        for entity, row in known:
            entity._row.update(row)
            if entity._local is not None:
                for name in collections & row.keys():
                    entity._drop_copies(name)

    def _show_caches(self, entities: list[Entity]) -> None:
        """Let the caches behind the identity map keep what they are made for."""
        session = self._session
        for entity in {id(entity): entity for entity in entities}.values():
            session.cache.set(session._identity_map.key_of(entity), entity)
