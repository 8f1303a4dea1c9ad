"""Answers aggregate queries: ``select count(id) from Task group by status_id``."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from ftrackd.sandbox.query.criteria import CriteriaCompiler, PathValue
from ftrackd.sandbox.query.errors import UnsupportedQueryError
from ftrackd.sandbox.query.hydration import Convert, converter
from ftrackd.sandbox.query.scope import Aliases, Place, Scope
from ftrackd.sandbox.query.tree import Aggregate, Path, Query
from ftrackd.sandbox.schema.model import EntityType, ValueType

_Column: TypeAlias = tuple[sa.ColumnElement[Any], Convert | None]

_NUMERIC: Final = (ValueType.INTEGER, ValueType.NUMBER, ValueType.VARIABLE)
_ORDERED: Final = (*_NUMERIC, ValueType.STRING, ValueType.DATETIME)


def execute_aggregate(
    connection: sa.Connection, compiler: CriteriaCompiler, entity_type: EntityType, query: Query
) -> list[dict[str, Any]]:
    """Return one row for each group: the grouped attributes by their paths, aggregates as ``count_id``.

    Raises:
        UnsupportedQueryError: The type cannot be grouped, or an attribute is neither grouped nor aggregated.
    """
    if not entity_type.is_groupable:
        raise UnsupportedQueryError(
            f"{entity_type.name} cannot be aggregated or grouped; its schema lacks group_by", query.position
        )
    _refuse_ungrouped(query)
    scope = Scope(entity_type, Aliases())
    dialect = compiler.dialect
    groups = {str(path): compiler.value_at(path, scope.place) for path in query.group_by}
    columns = {
        name: (dialect.of_group(value.stored), converter(value.value_type)) for name, value in groups.items()
    }
    for projection in query.projections:
        if isinstance(projection, Aggregate):
            columns[f"{projection.function}_{projection.path}"] = _aggregate(
                compiler, scope.place, projection
            )
    order = [
        dialect.ordered(term, is_descending=order.is_descending)
        for order in query.order_by
        for term in _group_terms(groups[str(order.path)])
    ]
    order += [
        dialect.ordered(term, is_descending=False)
        for value in groups.values()
        for term in _group_terms(value)
    ]
    labelled = [column.label(f"c{index}") for index, (column, _) in enumerate(columns.values())]
    # Before the clause that they join references to is read.
    conditions = compiler.conditions(query, scope)
    statement = sa.select(*labelled).select_from(scope.from_clause).where(*conditions)
    statement = statement.group_by(*(dialect.folded(value.stored) for value in groups.values()))
    statement = statement.order_by(*order).limit(query.limit).offset(query.offset or None)
    return [
        {
            name: value if value is None or convert is None else convert(value)
            for (name, (_, convert)), value in zip(columns.items(), row, strict=True)
        }
        for row in connection.execute(statement).all()
    ]


def _group_terms(value: PathValue) -> list[sa.ColumnElement[Any]]:
    """What orders groups by *value*: number and text of a variable value are the same all over a group."""
    return value.terms if len(value.terms) == 1 else [sa.func.min(term) for term in value.terms]


def _aggregate(compiler: CriteriaCompiler, place: Place, projection: Aggregate) -> _Column:
    value = compiler.value_at(projection.path, place)
    if projection.function == "count":
        return sa.func.count(value.stored), None
    if value.value_type not in (_NUMERIC if projection.function in ("sum", "avg") else _ORDERED):
        raise UnsupportedQueryError(
            f"'{projection.path}' holds {value.value_type.value} values, which have no {projection.function}",
            projection.path.position,
        )
    # A variable value aggregates as the number it is.
    term = value.terms[0]
    if projection.function == "sum":
        return sa.func.sum(term), int if value.value_type is ValueType.INTEGER else float
    if projection.function == "avg":
        return sa.func.avg(term), float
    is_number = len(value.terms) > 1
    extreme = compiler.dialect.extreme(term, is_largest=projection.function == "max")
    return extreme, None if is_number else converter(value.value_type)


def _refuse_ungrouped(query: Query) -> None:
    grouped = {str(path) for path in query.group_by}
    used: list[Path] = [item for item in query.projections if not isinstance(item, Aggregate)]
    used += [order.path for order in query.order_by]
    for path in used:
        if str(path) not in grouped:
            raise UnsupportedQueryError(
                f"'{path}' is neither grouped nor aggregated; add it to 'group by'", path.position
            )
