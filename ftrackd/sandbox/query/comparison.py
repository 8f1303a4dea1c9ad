"""Compares attributes with literals, by the attribute's type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

import sqlalchemy as sa

from ftrackd.sandbox.query.dialects import Dialect
from ftrackd.sandbox.query.errors import QueryValueError, UnsupportedQueryError
from ftrackd.sandbox.query.literals import as_boolean, as_datetime, as_number, coerce
from ftrackd.sandbox.query.resolution import Meaning
from ftrackd.sandbox.query.scope import Condition, any_of
from ftrackd.sandbox.query.tree import Operator, Value
from ftrackd.sandbox.schema.model import Collection, Computed, Reference, Scalar, ValueType, VariableColumns

_SIZES: Final[dict[Operator, Callable[[Any, Any], Any]]] = {
    Operator.GREATER: lambda column, value: column > value,
    Operator.LESS: lambda column, value: column < value,
    Operator.GREATER_OR_EQUAL: lambda column, value: column >= value,
    Operator.LESS_OR_EQUAL: lambda column, value: column <= value,
}
_PATTERNS: Final = (Operator.LIKE, Operator.NOT_LIKE)


class Operand:
    """The left side of a comparison: a stored, computed or referenced value in one SELECT.

    Raises:
        UnsupportedQueryError: On construction, when the attribute cannot be compared at all.
    """

    def __init__(self, meaning: Meaning, source: sa.FromClause, dialect: Dialect, position: int) -> None:
        self._name = meaning.attribute.name
        self._dialect = dialect
        self._position = position
        self._variable: VariableColumns | None = None
        self._source = source
        self.value_type = ValueType.STRING
        match meaning.attribute:
            case Scalar() as scalar:
                self.value_type = scalar.value_type
                self._variable = scalar.variable
                self.column = scalar.expression(source)
            case Computed() as computed:
                build = computed.build
                if not computed.is_filterable or build is None:
                    self._refuse("is made by the server for answers; it cannot be compared or ordered by")
                self.value_type = computed.value_type
                self.column = build(source)
            case Reference() as reference:
                self.column = reference.expression(source)
            case Collection() as collection:
                self._refuse(f"is a collection; write '{collection.name} any (...)' or name an attribute")
            case _:
                self._refuse("cannot be compared")
        if self.value_type is ValueType.OBJECT:
            self._refuse("is an object; it cannot be compared or ordered by")

    def compare(self, operator: Operator, value: Value) -> Condition:
        """Return ``operand OPERATOR value``.

        Raises:
            QueryValueError: When the value cannot be read as the operand's type.
        """
        if value.is_null:
            return self._compare_with_null(operator, value)
        if operator in _PATTERNS:
            return self._match(operator, value.text)
        if self._variable is not None:
            return self._compare_variable(operator, value)
        if operator is Operator.EQUAL:
            return self._dialect.equals(self.column, coerce(value, self.value_type, self._name))
        if operator is Operator.NOT_EQUAL:
            return self._dialect.differs(self.column, coerce(value, self.value_type, self._name))
        coerced = coerce(value, self.value_type, self._name, keep_fraction=True)
        return _size(operator, self.column, coerced)

    def is_in(self, values: Sequence[Value], *, is_negated: bool) -> Condition:
        """Return ``operand in values``; nothing is in an empty list, and null only where it is listed."""
        others = [value for value in values if not value.is_null]
        conditions: list[Condition] = []
        if others:
            conditions.append(self._is_in_values(others))
        if len(others) < len(values):
            conditions.append(self.column.is_(None))
        found = any_of(conditions)
        return sa.not_(found) if is_negated else found

    def is_in_query(self, query: sa.Select[Any], *, is_negated: bool) -> Condition:
        """Return ``operand in (query)``; the query must not answer with nulls."""
        column = self._text if self._variable is not None else self.column
        return column.not_in(query) if is_negated else column.in_(query)

    def order_terms(self) -> list[sa.ColumnElement[Any]]:
        """Return what to order by: for a variable value its number first, then its text."""
        if self._variable is None:
            return [self.column]
        return [self._source.c[self._variable.number], self._text]

    @property
    def _text(self) -> sa.ColumnElement[Any]:
        if self._variable is not None:
            return self._source.c[self._variable.text]
        if self.value_type in (ValueType.STRING, ValueType.DATETIME):
            return self.column
        return sa.cast(self.column, sa.Text())

    def _compare_with_null(self, operator: Operator, value: Value) -> Condition:
        if operator is Operator.EQUAL:
            return self.column.is_(None)
        if operator is Operator.NOT_EQUAL:
            return self.column.is_not(None)
        raise QueryValueError(
            f"None can be compared with 'is' and 'is_not' alone, not with '{operator.value}'", value.position
        )

    def _match(self, operator: Operator, pattern: str) -> Condition:
        matching = self._dialect.matches(self._text, pattern)
        if operator is Operator.LIKE:
            return matching
        return sa.or_(sa.not_(matching), self._text.is_(None))

    def _compare_variable(self, operator: Operator, value: Value) -> Condition:
        """Compare a value whose type only its row knows: as a number and as a text, whichever fits."""
        assert self._variable is not None
        if operator is Operator.EQUAL:
            return self._is_in_values([value])
        if operator is Operator.NOT_EQUAL:
            return self._is_in_values([value]).is_not(sa.true())
        number = as_number(value.text)
        if number is not None:
            return _size(operator, self._source.c[self._variable.number], number)
        return _size(operator, self._text, as_datetime(value.text, keep_fraction=True) or value.text)

    def _is_in_values(self, values: Sequence[Value]) -> Condition:
        if self._variable is None:
            coerced = [coerce(value, self.value_type, self._name) for value in values]
            return self._equals_any(self.column, coerced)
        texts = [value.text for value in values]
        texts += [moment for value in values if (moment := _date_text(value.text)) is not None]
        numbers = [number for value in values if (number := _variable_number(value)) is not None]
        conditions = [self._equals_any(self._text, texts)]
        if numbers:
            conditions.append(self._equals_any(self._source.c[self._variable.number], numbers))
        return any_of(conditions)

    def _equals_any(self, column: sa.ColumnElement[Any], values: list[Any]) -> Condition:
        if len(values) == 1:
            return self._dialect.equals(column, values[0])
        return self._dialect.is_member(column, values)

    def _refuse(self, reason: str) -> NoReturn:
        raise UnsupportedQueryError(f"'{self._name}' {reason}", self._position)


def _size(operator: Operator, column: sa.ColumnElement[Any], value: Any) -> Condition:
    size: Condition = _SIZES[operator](column, sa.literal(value))
    return size


def _variable_number(value: Value) -> float | None:
    number = as_number(value.text)
    if number is None:
        boolean = as_boolean(value.text)
        return None if boolean is None or value.is_quoted else float(boolean)
    return number


def _date_text(text: str) -> str | None:
    """The stored form of a date, for text that is one and is not written so already."""
    moment = as_datetime(text) if len(text) >= 10 and text[4:5] == "-" else None
    return None if moment == text else moment
