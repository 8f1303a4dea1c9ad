"""The few places where SQLite and PostgreSQL want different words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from ftrackd.sandbox.schema.model import EntityType

#: Lists up to this length are bound value by value, longer ones as one parameter.
_SHORT_LIST: Final = 8
_NO_INDEX: Final = custom_op[Any]("+")


class Dialect:
    """Builds expressions for SQLite; the base of other dialects."""

    def is_member(self, column: sa.ColumnElement[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        """``column in values``; text compares without regard to case.

        Long lists travel as one bound parameter, whatever their length.
        """
        if len(values) == 1:
            return column == sa.bindparam(None, values[0], type_=column.type)
        if len(values) <= _SHORT_LIST:
            return column.in_(values)
        members = sa.func.json_each(json.dumps(values)).table_valued("value")
        return column.in_(sa.select(members.c.value))

    def is_key(self, column: sa.ColumnElement[Any], keys: Sequence[Any]) -> sa.ColumnElement[bool]:
        """``column in keys`` for identifiers, which are looked up in an index; stored ones are lower case."""
        return self.is_member(column, keys)

    def matches(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        """``column like pattern``, without regard to case; a backslash escapes ``%`` and ``_``."""
        return column.like(sa.bindparam(None, pattern, type_=sa.Text()), escape="\\")

    def ordered(self, column: sa.ColumnElement[Any], *, is_descending: bool) -> sa.ColumnElement[Any]:
        """An ordering term; nulls come first when ascending and last when descending."""
        return column.desc() if is_descending else column.asc()

    def implicit_order(self, source: sa.FromClause, entity_type: EntityType) -> list[sa.ColumnElement[Any]]:
        """Terms that order the rows of *source* totally, and the same way every time.

        Rows of tables come in the order of their creation, which costs nothing: each index keeps it.
        """
        if not isinstance(entity_type.table, sa.Table):
            return entity_type.key_columns(source)
        row_number: sa.ColumnClause[int] = sa.column("rowid", sa.Integer())
        row_number.table = source
        return [row_number]

    def unindexed(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The column, in a form that keeps the database from looking it up in an index."""
        return UnaryExpression(column, operator=_NO_INDEX, type_=column.type)


class PostgresqlDialect(Dialect):
    """Builds the same expressions for PostgreSQL."""

    def is_member(self, column: sa.ColumnElement[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        if _is_text(column):
            return _is_any(sa.func.lower(column), [str(value).lower() for value in values], sa.Text())
        return _is_any(column, values, column.type)

    def is_key(self, column: sa.ColumnElement[Any], keys: Sequence[Any]) -> sa.ColumnElement[bool]:
        if _is_text(column):
            keys = list(dict.fromkeys([*keys, *(str(key).lower() for key in keys)]))
        return _is_any(column, keys, column.type)

    def matches(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        return column.ilike(sa.bindparam(None, pattern, type_=sa.Text()), escape="\\")

    def ordered(self, column: sa.ColumnElement[Any], *, is_descending: bool) -> sa.ColumnElement[Any]:
        term = sa.func.lower(column) if _is_text(column) else column
        return term.desc().nulls_last() if is_descending else term.asc().nulls_first()

    def implicit_order(self, source: sa.FromClause, entity_type: EntityType) -> list[sa.ColumnElement[Any]]:
        return entity_type.key_columns(source)

    def unindexed(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return column


def dialect_of(connection: sa.Connection) -> Dialect:
    """Return the dialect that *connection* speaks."""
    return PostgresqlDialect() if connection.dialect.name == "postgresql" else Dialect()


def _is_text(column: sa.ColumnElement[Any]) -> bool:
    return isinstance(column.type, sa.String)


def _is_any(
    column: sa.ColumnElement[Any], values: Sequence[Any], member_type: sa.types.TypeEngine[Any]
) -> sa.ColumnElement[bool]:
    if len(values) == 1:
        return column == sa.bindparam(None, values[0], type_=member_type)
    return column == sa.any_(sa.bindparam(None, list(values), type_=postgresql.ARRAY(member_type)))
