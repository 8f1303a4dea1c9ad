"""Answers aggregate queries: ``select count(id) from Task group by status_id``."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from ftrackd.sandbox.query.criteria import CriteriaCompiler
from ftrackd.sandbox.query.errors import UnsupportedQueryError
from ftrackd.sandbox.query.scope import Place, Scope
from ftrackd.sandbox.query.tree import Aggregate, Path, Query
from ftrackd.sandbox.schema.model import EntityType

_FUNCTIONS: Final[dict[str, Any]] = {
    "count": sa.func.count,
    "sum": sa.func.sum,
    "avg": sa.func.avg,
    "min": sa.func.min,
    "max": sa.func.max,
}


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
    groups = [compiler.value_terms(path, scope.place)[-1] for path in query.group_by]
    names = [str(path) for path in query.group_by]
    columns = list(groups)
    for projection in query.projections:
        if isinstance(projection, Aggregate):
            names.append(f"{projection.function}_{projection.path}")
            columns.append(_aggregate(compiler, scope.place, projection))
    conditions = compiler.conditions(query, scope)
    order = [
        term.desc() if order.is_descending else term.asc()
        for order in query.order_by
        for term in compiler.value_terms(order.path, scope.place)
    ]
    labelled = [column.label(f"c{index}") for index, column in enumerate(columns)]
    statement = sa.select(*labelled).select_from(scope.from_clause).where(*conditions)
    statement = statement.group_by(*groups).order_by(*order, *groups)
    statement = statement.limit(query.limit).offset(query.offset or None)
    return [dict(zip(names, row, strict=True)) for row in connection.execute(statement).all()]


def _aggregate(compiler: CriteriaCompiler, place: Place, projection: Aggregate) -> sa.ColumnElement[Any]:
    # A variable value aggregates as the number it is.
    term = compiler.value_terms(projection.path, place)[0]
    aggregate: sa.ColumnElement[Any] = _FUNCTIONS[projection.function](term)
    return aggregate


def _refuse_ungrouped(query: Query) -> None:
    grouped = {str(path) for path in query.group_by}
    used: list[Path] = [item for item in query.projections if not isinstance(item, Aggregate)]
    used += [order.path for order in query.order_by]
    for path in used:
        if str(path) not in grouped:
            raise UnsupportedQueryError(
                f"'{path}' is neither grouped nor aggregated; add it to 'group by'", path.position
            )
