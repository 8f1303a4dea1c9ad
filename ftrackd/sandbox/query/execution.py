"""Answers queries: text in, entities ready for JSON out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from ftrackd.sandbox.query.aggregation import execute_aggregate
from ftrackd.sandbox.query.criteria import CriteriaCompiler
from ftrackd.sandbox.query.dialects import dialect_of
from ftrackd.sandbox.query.errors import (
    QueryError,
    QueryTooComplexError,
    QueryValueError,
    UnsupportedQueryError,
)
from ftrackd.sandbox.query.hydration import Columns, Hydrator, Reader, fold
from ftrackd.sandbox.query.normalisation import Entity, Normaliser
from ftrackd.sandbox.query.parser import parse, parse_path
from ftrackd.sandbox.query.plan import Node, make_plan
from ftrackd.sandbox.query.resolution import find_entity_type
from ftrackd.sandbox.query.scope import Aliases, Scope
from ftrackd.sandbox.query.tree import Aggregate, Path, Query
from ftrackd.sandbox.schema.model import EntityType, Links, Schema

#: How SQLite and PostgreSQL begin to say that a statement goes beyond their limits.
_DATABASE_LIMITS: Final = (
    "parser stack overflow",
    "Expression tree is too large",
    "too many SQL variables",
    "tables in a join",
    "stack depth limit exceeded",
)
#: What SQLite says of a sum beyond the largest integer, which PostgreSQL answers.
_OVERFLOW: Final = "integer overflow"


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """What a query found.

    ``rows`` are entities with tagged date-times, or plain dictionaries for an aggregate query.
    ``next_offset`` is where the next page starts, ``None`` when the page was not full.
    """

    rows: list[dict[str, Any]]
    next_offset: int | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """The ``metadata`` member of the answer to a client."""
        return {"next": {"offset": self.next_offset}}


def execute(
    connection: sa.Connection,
    schema: Schema,
    query: str | Query,
    *,
    links: Links | None = None,
    repeat: bool = False,
) -> QueryAnswer:
    """Return the entities that *query* finds.

    Args:
        connection: To the store.
        schema: The store's current schema.
        query: Text, or a tree.
        links: Makes the addresses in ``thumbnail_url`` and ``url``; without it they are null.
        repeat: Repeat entities with their data wherever they occur, instead of as bare references.

    Raises:
        QueryError: The query cannot be answered; names the position and the nearest names.
    """
    if isinstance(query, str):
        return execute_tree(connection, schema, parse(query), query, links=links, repeat=repeat)
    return execute_tree(connection, schema, query, None, links=links, repeat=repeat)


def execute_tree(
    connection: sa.Connection,
    schema: Schema,
    query: Query,
    text: str | None,
    *,
    links: Links | None,
    repeat: bool = False,
) -> QueryAnswer:
    """Return what the tree of *text* finds; errors quote the text."""
    try:
        return _execute(connection, schema, query, links, repeat)
    except QueryError as error:
        raise (error if text is None else error.with_text(text)) from None
    except RecursionError:
        raise QueryTooComplexError("the query is nested too deeply") from None
    except sa.exc.OperationalError as error:
        if any(words in str(error.orig) for words in _DATABASE_LIMITS):
            raise QueryTooComplexError(f"the query is too complex for the database: {error.orig}") from error
        if _OVERFLOW in str(error.orig):
            raise _uncomputable(error) from error
        raise
    except sa.exc.DataError as error:
        # PostgreSQL refuses a sum beyond the largest number, where SQLite answers infinity.
        raise _uncomputable(error) from error


def _uncomputable(error: sa.exc.DBAPIError) -> QueryValueError:
    return QueryValueError(f"the values found cannot be computed with: {error.orig}")


def load_entities(
    connection: sa.Connection,
    schema: Schema,
    entity_type: str,
    keys: Iterable[str | Sequence[str]],
    projections: Iterable[str] = (),
    *,
    links: Links | None = None,
) -> list[Entity]:
    """Return entities by primary key, in the order of *keys*; keys that do not exist are left out.

    Args:
        connection: To the store.
        schema: The store's current schema.
        entity_type: Name of the type, or of one that it specialises.
        keys: Primary keys: a plain id, or values in the order of the type's primary key.
        projections: Paths as in ``select``; the primary key and what the type always projects are added.
        links: As for :func:`execute`.

    Raises:
        QueryError: A name is unknown.
    """
    found_type = find_entity_type(schema, entity_type, None)
    wanted = [(key,) if isinstance(key, str) else tuple(key) for key in keys]
    if not wanted:
        return []
    node = make_plan(schema, found_type, [parse_path(text) for text in projections])
    hydrator = Hydrator(connection, schema, dialect_of(connection), links)
    scope = Scope(found_type, Aliases())
    key_columns = found_type.key_columns(scope.source)
    if len(key_columns) == 1:
        condition = hydrator.dialect.is_key(key_columns[0], [key[0] for key in wanted])
    else:
        condition = sa.tuple_(*key_columns).in_(wanted)
    conditions = hydrator.dialect.late_type_conditions(found_type, scope.source)
    statement = sa.select().select_from(scope.source).where(*conditions, condition)
    by_key = {
        tuple(fold(str(entity[name])) for name in found_type.primary_key): entity
        for entity in _read(hydrator, node, scope, statement)
    }
    ordered = (by_key.get(tuple(fold(str(part)) for part in key)) for key in wanted)
    return [entity for entity in ordered if entity is not None]


def _execute(
    connection: sa.Connection, schema: Schema, query: Query, links: Links | None, repeat: bool
) -> QueryAnswer:
    entity_type = find_entity_type(schema, query.entity_type, query.position)
    dialect = dialect_of(connection)
    compiler = CriteriaCompiler(schema, dialect)
    if query.is_aggregate:
        rows = execute_aggregate(connection, compiler, entity_type, query)
        return QueryAnswer(rows, _next_offset(query, len(rows)))
    node = make_plan(schema, entity_type, _paths(query, entity_type))
    scope = Scope(entity_type, Aliases())
    conditions = compiler.conditions(query, scope)
    order = compiler.ordering(query, scope.place)
    statement = sa.select().select_from(scope.from_clause).where(*conditions).order_by(*order)
    statement = statement.limit(query.limit).offset(query.offset or None)
    rows = _read(Hydrator(connection, schema, dialect, links, repeat=repeat), node, scope, statement)
    return QueryAnswer(rows, _next_offset(query, len(rows)))


def _paths(query: Query, entity_type: EntityType) -> list[Path]:
    if not query.projections:
        return [parse_path(name) for name in entity_type.default_projections]
    paths: list[Path] = []
    for projection in query.projections:
        if isinstance(projection, Aggregate):
            raise UnsupportedQueryError("aggregates cannot be mixed with entities", projection.path.position)
        paths.append(projection)
    return paths


def _read(hydrator: Hydrator, node: Node, scope: Scope, statement: sa.Select[Any]) -> list[Entity]:
    columns = Columns()
    reader = Reader(hydrator, node, scope.source, columns)
    entities, _ = hydrator.read(reader, statement.add_columns(*columns.expressions))
    if hydrator.entities is not None:
        entities = Normaliser(hydrator.schema, node.relation_names, node.depth).write(entities)
    return entities


def _next_offset(query: Query, row_count: int) -> int | None:
    if not query.limit or row_count < query.limit:
        return None
    return (query.offset or 0) + query.limit
