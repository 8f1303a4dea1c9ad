"""Reads the entities of a plan: one statement for each node, however many rows there are.

An entity is one dictionary, wherever it is found; what different places ask of it comes together there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import itemgetter
from typing import Any, TypeAlias

import sqlalchemy as sa

from ftrackd.sandbox.query.dialects import Dialect
from ftrackd.sandbox.query.normalisation import TYPE_KEY, Entity
from ftrackd.sandbox.query.plan import Branch, Node
from ftrackd.sandbox.query.resolution import Meaning
from ftrackd.sandbox.query.scope import Aliases, Scope, select_members
from ftrackd.sandbox.schema.model import Collection, Computed, Links, Reference, Scalar, Schema, ValueType

Key: TypeAlias = tuple[Any, ...]
Row: TypeAlias = Sequence[Any]
Convert: TypeAlias = Callable[[Any], Any]


def tag_datetime(text: str) -> dict[str, str]:
    """Return a stored date-time as clients decode it: naive, in UTC, to the second."""
    return {"__type__": "datetime", "value": text}


class Columns:
    """The columns that one SELECT reads, each expression once."""

    def __init__(self) -> None:
        self.expressions: list[sa.ColumnElement[Any]] = []
        self._indexes: dict[Any, int] = {}

    def add(self, key: Any, expression: sa.ColumnElement[Any]) -> int:
        """Return the index of *expression* in the rows; *key* tells whether it is there already."""
        index = self._indexes.get(key)
        if index is None:
            index = self._indexes[key] = len(self.expressions)
            self.expressions.append(expression.label(f"c{index}"))
        return index


@dataclass(slots=True)
class Form:
    """How rows of one concrete type become entities."""

    type_name: str
    names: tuple[str, ...]
    #: Takes the stored values of the attributes called *names* out of a row.
    values_of: Callable[[Row], Key]
    #: Those of *names* whose value in an answer is not the stored one, and what makes it.
    conversions: list[tuple[str, Convert]]


class Reader:
    """Columns of a node and the making of entities from rows with them."""

    def __init__(self, hydrator: Hydrator, node: Node, source: sa.FromClause, columns: Columns) -> None:
        self.node = node
        self._schema = hydrator.schema
        self._entities = hydrator.entities
        self._values: list[tuple[Meaning, int, Convert | None]] = []
        self._forms: dict[Key, Form] = {}
        entity_type = node.entity_type
        #: Takes the primary key out of a row.
        self.key = _picker(
            columns.add(scalar.column, scalar.expression(source))
            for scalar in (entity_type.scalar(name) for name in entity_type.primary_key)
        )
        self._types = _picker(columns.add(name, source.c[name]) for name in entity_type.type_columns)
        for meaning in node.values.values():
            self._add_value(hydrator, meaning, source, columns)
        self.local_indexes = {
            key: _add_local(branch, source, columns) for key, branch in node.branches.items()
        }

    def _add_value(
        self, hydrator: Hydrator, meaning: Meaning, source: sa.FromClause, columns: Columns
    ) -> None:
        attribute = meaning.attribute
        if isinstance(attribute, Scalar):
            index = columns.add(attribute.column, attribute.expression(source))
            self._values.append((meaning, index, converter(attribute.value_type)))
        elif isinstance(attribute, Computed) and attribute.build is not None:
            convert = converter(attribute.value_type)
            present = attribute.present
            if present is not None:
                convert = _presenter(present, hydrator.links)
            index = columns.add((meaning.owner.name, attribute.name), attribute.build(source))
            self._values.append((meaning, index, convert))

    def read(self, row: Row) -> Entity:
        """Return the entity in *row*, with its scalar values."""
        types = self._types(row)
        form = self._forms.get(types)
        if form is None:
            form = self._forms[types] = self._make_form(types)
        entity: Entity = {TYPE_KEY: form.type_name}
        if self._entities is not None:
            entity = self._entities.setdefault((form.type_name, *self.key(row)), entity)
        entity.update(zip(form.names, form.values_of(row), strict=True))
        for name, convert in form.conversions:
            value = entity[name]
            if value is not None:
                entity[name] = convert(value)
        return entity

    def _make_form(self, types: Key) -> Form:
        type_name = self._schema.concrete_type(self.node.entity_type, types)
        values = {
            meaning.attribute.name: (index, convert)
            for meaning, index, convert in self._values
            if applies(self._schema, meaning, type_name)
        }
        return Form(
            type_name,
            tuple(values),
            _picker(index for index, _ in values.values()),
            [(name, convert) for name, (_, convert) in values.items() if convert is not None],
        )


class Hydrator:
    """Turns keys and rows into entities with everything that a plan asks for.

    Args:
        connection: Where to read.
        schema: The entity types.
        dialect: Of the connection.
        links: Makes the addresses of files in answers; without it they are null.
        repeat: Make an entity anew in each place, with what that place asks of it.
    """

    def __init__(
        self,
        connection: sa.Connection,
        schema: Schema,
        dialect: Dialect,
        links: Links | None = None,
        *,
        repeat: bool = False,
    ) -> None:
        self.connection = connection
        self.schema = schema
        self.dialect = dialect
        self.links = links
        #: Entities by type and key; ``None`` when they are repeated.
        self.entities: dict[Key, Entity] | None = None if repeat else {}

    def read(self, reader: Reader, statement: sa.Select[Any]) -> tuple[list[Entity], Sequence[Row]]:
        """Return the entities that *statement* finds, with everything, and the rows that they are made of."""
        rows = self.connection.execute(statement).all()
        entities = [reader.read(row) for row in rows]
        self._complete(reader, entities, rows)
        return entities, rows

    def _complete(self, reader: Reader, entities: Sequence[Entity], rows: Sequence[Row]) -> None:
        """Add to *entities* what their own *rows* do not hold: loaded values, references and collections."""
        if not rows:
            return
        node = reader.node
        for meaning in node.values.values():
            if isinstance(meaning.attribute, Computed) and meaning.attribute.load is not None:
                self._add_loaded(node, meaning, meaning.attribute, entities)
        for name, branch in node.branches.items():
            index = reader.local_indexes[name]
            owners, keys = entities, [row[index] for row in rows]
            if branch.meaning.is_narrower:
                owning = [applies(self.schema, branch.meaning, entity[TYPE_KEY]) for entity in entities]
                owners, keys = list(compress(entities, owning)), list(compress(keys, owning))
            if isinstance(branch.relation, Reference):
                self._add_references(branch.node, branch.relation, owners, keys)
            else:
                self._add_collections(branch.node, branch.relation, owners, keys)

    def _add_loaded(self, node: Node, meaning: Meaning, attribute: Computed, found: Sequence[Entity]) -> None:
        assert attribute.load is not None
        name = node.entity_type.primary_key[0]
        entities = [entity for entity in found if applies(self.schema, meaning, entity[TYPE_KEY])]
        values = attribute.load(self.connection, [entity[name] for entity in entities])
        for entity in entities:
            entity[attribute.name] = values.get(entity[name])

    def _add_references(
        self, node: Node, reference: Reference, owners: Sequence[Entity], keys: Sequence[Any]
    ) -> None:
        different = dict.fromkeys(keys)
        found = self._load_referenced(node, reference, [key for key in different if key is not None])
        targets = {key: found.get(fold(key)) for key in different}
        for owner, key in zip(owners, keys, strict=True):
            owner[reference.name] = targets[key]

    def _load_referenced(self, node: Node, reference: Reference, keys: list[Any]) -> dict[Any, Entity]:
        if not keys:
            return {}
        source = Aliases().take(node.entity_type.table)
        columns = Columns()
        reader = Reader(self, node, source, columns)
        remote = source.c[reference.join.remote]
        remote_index = columns.add(reference.join.remote, remote)
        statement = sa.select(*columns.expressions).where(
            self.dialect.is_key(remote, keys),
            *(criterion.clause(source) for criterion in reference.join.where),
        )
        entities, rows = self.read(reader, statement)
        return {fold(row[remote_index]): entity for entity, row in zip(entities, rows, strict=True)}

    def _add_collections(
        self, node: Node, collection: Collection, owners: Sequence[Entity], keys: Sequence[Any]
    ) -> None:
        members: dict[Any, list[Entity]] = {}
        for owner, key in zip(owners, keys, strict=True):
            owner[collection.name] = members.setdefault(fold(key), [])
        keys = [key for key in keys if key is not None]
        if not keys:
            return
        scope = Scope(node.entity_type, Aliases())
        statement, owner_key = select_members(scope, collection.join, [])
        columns = Columns()
        reader = Reader(self, node, scope.source, columns)
        owner_index = columns.add("owner", owner_key)
        order = [scope.source.c[name].asc() for name in collection.order_by]
        statement = (
            statement.add_columns(*columns.expressions)
            .where(self.dialect.is_key(owner_key, keys))
            .order_by(*order, *node.entity_type.key_columns(scope.source))
        )
        known: dict[Key, Entity] = {}
        placed: set[tuple[Any, Key]] = set()
        found: list[Row] = []
        for row in self.connection.execute(statement).all():
            owner_value, key = fold(row[owner_index]), reader.key(row)
            if owner_value not in members or (owner_value, key) in placed:
                continue
            placed.add((owner_value, key))
            entity = known.get(key)
            if entity is None:
                entity = known[key] = reader.read(row)
                found.append(row)
            members[owner_value].append(entity)
        self._complete(reader, list(known.values()), found)


def fold(key: Any) -> Any:
    """Return *key* as it is looked up: ids that differ in case alone are the same."""
    return key.lower() if isinstance(key, str) else key


def applies(schema: Schema, meaning: Meaning, type_name: str) -> bool:
    """Tell whether entities of the concrete type have the attribute that *meaning* is."""
    return not meaning.is_narrower or schema.is_a(type_name, meaning.owner.name)


def _picker(indexes: Iterable[int]) -> Callable[[Row], Key]:
    """Return what takes the values at *indexes* out of a row."""
    match tuple(indexes):
        case ():
            return lambda row: ()
        case (index,):
            return lambda row: (row[index],)
        case several:
            return itemgetter(*several)


def _add_local(branch: Branch, source: sa.FromClause, columns: Columns) -> int:
    """Read our side of a relation."""
    relation = branch.relation
    if isinstance(relation, Collection):
        return columns.add(relation.join.local, source.c[relation.join.local])
    if relation.build is not None:
        return columns.add((branch.meaning.owner.name, relation.name, "key"), relation.build(source))
    return columns.add(relation.join.local, source.c[relation.join.local])


def converter(value_type: ValueType) -> Convert | None:
    """Return what makes an answer's value of a stored one that is not null; ``None`` for no change."""
    match value_type:
        case ValueType.DATETIME:
            return tag_datetime
        case ValueType.VARIABLE | ValueType.OBJECT:
            return json.loads
        case ValueType.BOOLEAN:
            return bool
        case _:
            return None


def _presenter(present: Callable[[Any, Links | None], Any], links: Links | None) -> Convert:
    return lambda value: present(value, links)
