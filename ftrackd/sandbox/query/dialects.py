"""The few places where SQLite and PostgreSQL want different words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from ftrackd.sandbox.schema.model import EntityType
from ftrackd.sandbox.schema.tables import FoldedText

#: Makes a condition of two sides: ``left > right``.
Compare: TypeAlias = Callable[[Any, Any], sa.ColumnElement[bool]]

#: Lists up to this length are bound value by value, longer ones as one parameter.
_SHORT_LIST: Final = 8
_NO_INDEX: Final = operators.custom_op[Any]("+")


class Dialect:
    """Builds expressions for SQLite; the base of other dialects."""

    def folded(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The column, in a form that is equal where texts differ in case alone.

        Columns of tables are so already; what is made of them has lost it.
        """
        if not is_folded(column) or isinstance(column, sa.Column):
            return column
        return column.collate("NOCASE")

    def is_member(self, column: sa.ColumnElement[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        """``column in values``; text compares without regard to case.

        Long lists travel as one bound parameter, whatever their length.
        """
        column = self.folded(column)
        if len(values) == 1:
            return column == sa.bindparam(None, values[0], type_=column.type)
        if len(values) <= _SHORT_LIST:
            return column.in_(values)
        members = sa.func.json_each(json.dumps(values)).table_valued("value")
        return column.in_(sa.select(members.c.value))

    def is_key(self, column: sa.ColumnElement[Any], keys: Sequence[Any]) -> sa.ColumnElement[bool]:
        """``column in keys`` for identifiers, which are looked up in an index; stored ones are lower case."""
        return self.is_member(column, keys)

    def is_selected(
        self, column: sa.ColumnElement[Any], statement: sa.Select[Any], *, is_key: bool
    ) -> sa.ColumnElement[bool]:
        """``column in (statement)``, which selects one; as :meth:`is_key` when the column *is_key*."""
        return self.folded(column).in_(statement)

    def size(self, compare: Compare, column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
        """Compare the size of *column* with that of *value*, of texts without regard to case."""
        return compare(self.folded(column), sa.literal(value))

    def matches(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        """``column like pattern``, without regard to case; a backslash escapes ``%`` and ``_``."""
        return column.like(sa.bindparam(None, pattern, type_=sa.Text()), escape="\\")

    def as_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The text that a number or a boolean is: ``3600``, ``0.5``, ``1`` for true."""
        text = sa.cast(column, sa.Text())
        if not isinstance(column.type, sa.Double):
            return text
        whole = sa.func.substr(text, 1, sa.func.length(text) - 2)
        return sa.case((text.like("%.0"), whole), else_=text)

    def ordered(self, column: sa.ColumnElement[Any], *, is_descending: bool) -> sa.ColumnElement[Any]:
        """An ordering term; nulls come first when ascending and last when descending."""
        column = self.folded(column)
        return column.desc() if is_descending else column.asc()

    def of_group(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The value that stands for a group by *column*, whose texts may differ in case."""
        return sa.func.min(column.collate("BINARY")) if is_folded(column) else column

    def extreme(self, column: sa.ColumnElement[Any], *, is_largest: bool) -> sa.ColumnElement[Any]:
        """The aggregate ``min`` or ``max`` of *column*, of texts without regard to case."""
        function: Callable[[Any], sa.ColumnElement[Any]] = sa.func.max if is_largest else sa.func.min
        return function(self.folded(column))

    def implicit_order(self, source: sa.FromClause, entity_type: EntityType) -> list[sa.ColumnElement[Any]]:
        """Terms that order the rows of *source* totally, and the same way every time.

        Rows of tables come in the order of their creation, which costs nothing: each index keeps it.
        """
        if not isinstance(entity_type.table, sa.Table):
            return entity_type.key_columns(source)
        row_number: sa.ColumnClause[int] = sa.column("rowid", sa.Integer())
        row_number.table = source
        return [row_number]

    def late_type_conditions(
        self, entity_type: EntityType, source: sa.FromClause
    ) -> list[sa.ColumnElement[bool]]:
        """What makes a row of *source* one of *entity_type*, asked of rows that something else has found.

        Most rows of a table are of few types, so anything else finds them sooner than the type does.
        """
        return [
            self.is_key(self.unindexed(source.c[criterion.column]), criterion.values)
            for criterion in entity_type.criteria
        ]

    def unindexed(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The column, in a form that keeps the database from looking it up in an index."""
        return UnaryExpression(column, operator=_NO_INDEX, type_=column.type)


class PostgresqlDialect(Dialect):
    """Builds the same expressions for PostgreSQL."""

    def folded(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.func.lower(column, type_=sa.Text()) if is_folded(column) else column

    def is_member(self, column: sa.ColumnElement[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        if is_folded(column):
            values = [str(value).lower() for value in values]
        return _is_any(self.folded(column), values)

    def is_key(self, column: sa.ColumnElement[Any], keys: Sequence[Any]) -> sa.ColumnElement[bool]:
        if is_folded(column):
            keys = list(dict.fromkeys([*keys, *(str(key).lower() for key in keys)]))
        return _is_any(column, keys)

    def is_selected(
        self, column: sa.ColumnElement[Any], statement: sa.Select[Any], *, is_key: bool
    ) -> sa.ColumnElement[bool]:
        if is_key or not is_folded(column):
            return column.in_(statement)
        (selected,) = statement.selected_columns
        return self.folded(column).in_(statement.with_only_columns(sa.func.lower(selected, type_=sa.Text())))

    def size(self, compare: Compare, column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
        if is_folded(column):
            value = str(value).lower()
        return compare(self._sized(column), sa.literal(value))

    def matches(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        return column.ilike(sa.bindparam(None, pattern, type_=sa.Text()), escape="\\")

    def as_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        is_boolean = isinstance(column.type, sa.Boolean)
        return sa.cast(sa.cast(column, sa.Integer()) if is_boolean else column, sa.Text())

    def ordered(self, column: sa.ColumnElement[Any], *, is_descending: bool) -> sa.ColumnElement[Any]:
        term = self._sized(column)
        return term.desc().nulls_last() if is_descending else term.asc().nulls_first()

    def of_group(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.func.min(column.collate("C")) if is_folded(column) else column

    def extreme(self, column: sa.ColumnElement[Any], *, is_largest: bool) -> sa.ColumnElement[Any]:
        if not is_folded(column):
            return super().extreme(column, is_largest=is_largest)
        term = self._sized(column)
        ordered = postgresql.aggregate_order_by(column, term.desc() if is_largest else term.asc())
        values = sa.func.array_agg(ordered, type_=postgresql.ARRAY(sa.Text())).filter(column.is_not(None))
        return values.self_group(operators.getitem)[1]

    def implicit_order(self, source: sa.FromClause, entity_type: EntityType) -> list[sa.ColumnElement[Any]]:
        return entity_type.key_columns(source)

    def unindexed(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return column

    def _sized(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """What orders the column as SQLite does, whatever the language of the database."""
        return self.folded(column).collate("C") if is_folded(column) else column


def dialect_of(connection: sa.Connection) -> Dialect:
    """Return the dialect that *connection* speaks."""
    return PostgresqlDialect() if connection.dialect.name == "postgresql" else Dialect()


def is_folded(column: sa.ColumnElement[Any]) -> bool:
    """Tell whether *column* holds texts that compare without regard to case."""
    return isinstance(column.type, FoldedText)


def _is_any(column: sa.ColumnElement[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    if len(values) == 1:
        return column == sa.bindparam(None, values[0], type_=column.type)
    return column == sa.any_(sa.bindparam(None, list(values), type_=postgresql.ARRAY(column.type)))
