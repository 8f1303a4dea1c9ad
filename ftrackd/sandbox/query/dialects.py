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

    name = "sqlite"

    def is_member(self, column: sa.ColumnElement[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        """``column in values``. Long lists travel as one bound parameter, whatever their length."""
        if len(values) <= _SHORT_LIST:
            return column.in_(values)
        members = sa.func.json_each(json.dumps(values)).table_valued("value")
        return column.in_(sa.select(members.c.value))

    def equals(self, column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
        """``column = value``; text compares without regard to case, as the columns collate."""
        return column == sa.bindparam(None, value, type_=column.type)

    def differs(self, column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
        """``column != value``; a null differs from every value."""
        different = column != sa.bindparam(None, value, type_=column.type)
        return sa.or_(different, column.is_(None))

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

    name = "postgresql"

    def is_member(self, column: sa.ColumnElement[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        if _is_text(column):
            folded = [str(value).lower() for value in values]
            return sa.func.lower(column) == sa.any_(_array(folded, sa.Text()))
        return column == sa.any_(_array(list(values), column.type))

    def equals(self, column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
        if _is_text(column):
            return sa.func.lower(column) == sa.bindparam(None, value.lower(), type_=sa.Text())
        return super().equals(column, value)

    def differs(self, column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
        if not _is_text(column):
            return super().differs(column, value)
        different = sa.func.lower(column) != sa.bindparam(None, value.lower(), type_=sa.Text())
        return sa.or_(different, column.is_(None))

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


def _array(values: list[Any], member_type: sa.types.TypeEngine[Any]) -> sa.ColumnElement[Any]:
    return sa.bindparam(None, values, type_=postgresql.ARRAY(member_type))
