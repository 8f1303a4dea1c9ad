"""Compares attributes with literals, by the attribute's type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NoReturn

import sqlalchemy as sa

from ftrackd.sandbox.query.dialects import Compare, Dialect
from ftrackd.sandbox.query.errors import QueryValueError, UnsupportedQueryError
from ftrackd.sandbox.query.literals import Coerced, as_boolean, as_datetime, as_number, coerce
from ftrackd.sandbox.query.resolution import Meaning
from ftrackd.sandbox.query.scope import Condition, any_of, complement_of
from ftrackd.sandbox.query.tree import Operator, Value
from ftrackd.sandbox.schema.model import (
    Collection,
    Computed,
    Reference,
    Scalar,
    Schema,
    ValueType,
    VariableColumns,
)

_SIZES: Final[dict[Operator, Compare]] = {
    Operator.GREATER: lambda column, value: column > value,
    Operator.LESS: lambda column, value: column < value,
    Operator.GREATER_OR_EQUAL: lambda column, value: column >= value,
    Operator.LESS_OR_EQUAL: lambda column, value: column <= value,
}
_NUMBERS: Final = (ValueType.INTEGER, ValueType.NUMBER)
_PATTERNS: Final = (Operator.LIKE, Operator.NOT_LIKE)


class Operand:
    """The left side of a comparison: a stored, computed or referenced value in one SELECT.

    Raises:
        UnsupportedQueryError: When the attribute cannot be compared, or not in that way.
    """

    def __init__(
        self, meaning: Meaning, source: sa.FromClause, schema: Schema, dialect: Dialect, position: int
    ) -> None:
        self._name = meaning.attribute.name
        self._dialect = dialect
        self._position = position
        self._variable: VariableColumns | None = None
        self._is_identifier = False
        self._type_names: Schema | None = None
        self._source = source
        self.value_type = ValueType.STRING
        match meaning.attribute:
            case Scalar() as scalar:
                self.value_type = scalar.value_type
                self._variable = scalar.variable
                self._type_names = schema if scalar.is_entity_type else None
                self._is_identifier = scalar.foreign_key is not None or scalar.name == "id"
                self.column = scalar.expression(source)
            case Computed() as computed:
                build = computed.build
                if not computed.is_filterable or build is None:
                    self._refuse("is made by the server for answers; it cannot be compared or ordered by")
                self.value_type = computed.value_type
                self.column = build(source)
            case Reference() as reference:
                self._is_identifier = True
                self.column = reference.expression(source)
            case Collection() as collection:
                self._refuse(f"is a collection; write '{collection.name} any (...)' or name an attribute")
            case _:
                self._refuse("cannot be compared")

        if self.value_type is ValueType.STRING and isinstance(self.column.type, sa.Integer):
            self.value_type = ValueType.INTEGER

    def compare(self, operator: Operator, value: Value) -> Condition:
        """Return ``operand OPERATOR value``.

        Raises:
            QueryValueError: When the value cannot be read as the operand's type.
        """
        if value.is_null:
            return self._compare_with_null(operator, value)
        self._refuse_object()
        if operator in _PATTERNS:
            return self._match(operator, value.text)
        if operator is Operator.EQUAL:
            return self._is_one_of([value])
        if operator is Operator.NOT_EQUAL:
            return complement_of(self._is_one_of([value]))
        if self._variable is not None:
            return self._compare_variable(self._variable, operator, value)
        coerced = coerce(value, self.value_type, self._name, keep_fraction=True)
        return self._dialect.size(_SIZES[operator], self.column, coerced)

    def is_in(self, values: Sequence[Value], *, is_negated: bool) -> Condition:
        """Return ``operand in values``; nothing is in an empty list, and null only where it is listed."""
        self._refuse_object()
        others = [value for value in values if not value.is_null]
        conditions: list[Condition] = []
        if others:
            conditions.append(self._is_one_of(others))
        if len(others) < len(values):
            conditions.append(self.column.is_(None))
        found = any_of(conditions)
        if not is_negated:
            return found
        if self._variable is None:
            return sa.not_(found)
        # A text has no number to compare, which must not make the whole comparison null.
        return sa.and_(self.column.is_not(None), complement_of(found)) if values else sa.not_(found)

    def is_in_query(self, query: sa.Select[Any], value_type: ValueType, *, is_negated: bool) -> Condition:
        """Return ``operand in (query)``; the query answers with values of *value_type* and without nulls."""
        self._refuse_object()
        if (self.value_type in _NUMBERS) != (value_type in _NUMBERS) or (
            (self.value_type is ValueType.BOOLEAN) != (value_type is ValueType.BOOLEAN)
        ):
            self._refuse(f"holds {self.value_type.value} values, the nested query {value_type.value} ones")
        column = self._text if self._variable is not None else self.column
        (key,) = query.selected_columns
        if isinstance(column.type, sa.String) != isinstance(key.type, sa.String):
            # A foreign key that the schema calls a text may be a number in its table.
            column, query = sa.cast(column, sa.Text()), query.with_only_columns(sa.cast(key, sa.Text()))
        selected = self._dialect.is_selected(column, query, is_key=self._is_identifier)
        return sa.not_(selected) if is_negated else selected

    def order_terms(self) -> list[sa.ColumnElement[Any]]:
        """Return what to order by: for a variable value its number first, then its text."""
        self._refuse_object()
        if self._variable is None:
            return [self.column]
        return [self._source.c[self._variable.number], self._text]

    @property
    def _text(self) -> sa.ColumnElement[Any]:
        if self._variable is not None:
            return self._source.c[self._variable.text]
        if self.value_type in (ValueType.STRING, ValueType.DATETIME):
            return self.column
        return self._dialect.as_text(self.column)

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

    def _compare_variable(self, columns: VariableColumns, operator: Operator, value: Value) -> Condition:
        """Compare the size of a value whose type only its row knows: as a number, else as a text."""
        number = as_number(value.text)
        if number is not None:
            return self._dialect.size(_SIZES[operator], self._source.c[columns.number], number)
        text = as_datetime(value.text, keep_fraction=True) or value.text
        return self._dialect.size(_SIZES[operator], self._text, text)

    def _is_one_of(self, values: Sequence[Value]) -> Condition:
        if self._variable is not None:
            return self._is_one_of_variables(self._variable, values)
        coerced = [coerce(value, self.value_type, self._name) for value in values]
        if self._type_names is not None:
            coerced = _with_subtypes(self._type_names, [value.text for value in values])
        if self._is_identifier:
            return self._dialect.is_key(self.column, coerced)
        return self._dialect.is_member(self.column, coerced)

    def _is_one_of_variables(self, columns: VariableColumns, values: Sequence[Value]) -> Condition:
        """Compare a value whose type only its row knows: as a text and as a number, whichever fits."""
        texts = [value.text for value in values]
        texts += [moment for value in values if (moment := _date_text(value.text)) is not None]
        numbers = [number for value in values if (number := _variable_number(value)) is not None]
        conditions = [self._dialect.is_member(self._text, texts)]
        if numbers:
            conditions.append(self._dialect.is_member(self._source.c[columns.number], numbers))
        return any_of(conditions)

    def _refuse_object(self) -> None:
        if self.value_type is ValueType.OBJECT:
            self._refuse("is an object; it can only be compared with None")

    def _refuse(self, reason: str) -> NoReturn:
        raise UnsupportedQueryError(f"'{self._name}' {reason}", self._position)


def _with_subtypes(schema: Schema, names: Sequence[str]) -> list[Coerced]:
    """Return *names* of entity types, public or legacy, with the names of their subtypes."""
    found: dict[Coerced, None] = {}
    for name in names:
        lowered = name.lower()
        found[name] = None
        for entity_type in schema.types.values():
            if lowered in (entity_type.name.lower(), (entity_type.legacy_name or "").lower()):
                found[entity_type.name] = None
                found.update((subtype.name, None) for subtype in schema.subtypes(entity_type.name))
    return list(found)


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
