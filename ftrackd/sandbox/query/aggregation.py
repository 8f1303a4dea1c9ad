"""Answers aggregate queries: ``select count(id) from Task group by status_id``."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from ftrackd.sandbox.query.criteria import CriteriaCompiler, PathValue
from ftrackd.sandbox.query.errors import UnsupportedQueryError
from ftrackd.sandbox.query.hydration import converter
from ftrackd.sandbox.query.scope import Place, Scope
from ftrackd.sandbox.query.tree import Aggregate, Path, Query
from ftrackd.sandbox.schema.model import EntityType, ValueType

_FUNCTIONS: Final[dict[str, Any]] = {
    "count": sa.func.count,
    "sum": sa.func.sum,
    "avg": sa.func.avg,
    "min": sa.func.min,
    "max": sa.func.max,
}
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
    scope = Scope(entity_type)
    groups = {str(path): compiler.value_at(path, scope.place) for path in query.group_by}
    columns = dict(groups)
    for projection in query.projections:
        if isinstance(projection, Aggregate):
            columns[f"{projection.function}_{projection.path}"] = _aggregate(
                compiler, scope.place, projection
            )
    conditions = compiler.conditions(query, scope)
    grouped = [value.terms[-1] for value in groups.values()]
    order = [
        compiler.dialect.ordered(groups[str(order.path)].terms[-1], is_descending=order.is_descending)
        for order in query.order_by
    ]
    labelled = [value.terms[-1].label(f"c{index}") for index, value in enumerate(columns.values())]
    statement = sa.select(*labelled).select_from(scope.from_clause).where(*conditions)
    order += [compiler.dialect.ordered(term, is_descending=False) for term in grouped]
    statement = statement.group_by(*grouped).order_by(*order)
    statement = statement.limit(query.limit).offset(query.offset or None)
    converters = [converter(value.value_type) for value in columns.values()]
    return [
        {
            name: value if value is None or convert is None else convert(value)
            for name, value, convert in zip(columns, row, converters, strict=True)
        }
        for row in connection.execute(statement).all()
    ]


def _aggregate(compiler: CriteriaCompiler, place: Place, projection: Aggregate) -> PathValue:
    value = compiler.value_at(projection.path, place)
    allowed = _NUMERIC if projection.function in ("sum", "avg") else _ORDERED
    if projection.function != "count" and value.value_type not in allowed:
        raise UnsupportedQueryError(
            f"'{projection.path}' holds {value.value_type.value} values, which have no {projection.function}",
            projection.path.position,
        )
    # A variable value aggregates as the number it is.
    aggregate: sa.ColumnElement[Any] = _FUNCTIONS[projection.function](value.terms[0])
    keeps_type = projection.function in ("min", "max") and len(value.terms) == 1
    return PathValue([aggregate], value.value_type if keeps_type else ValueType.NUMBER)


def _refuse_ungrouped(query: Query) -> None:
    grouped = {str(path) for path in query.group_by}
    used: list[Path] = [item for item in query.projections if not isinstance(item, Aggregate)]
    used += [order.path for order in query.order_by]
    for path in used:
        if str(path) not in grouped:
            raise UnsupportedQueryError(
                f"'{path}' is neither grouped nor aggregated; add it to 'group by'", path.position
            )
