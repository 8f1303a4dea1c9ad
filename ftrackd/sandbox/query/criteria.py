"""Compiles criteria into SQL conditions.

A path through references stays in its SELECT, where they are joined; one through a collection becomes a
subquery over the members, so any member may match and an entity is never found twice. ``not`` is the exact
complement: it matches the rows that the criteria do not, nulls included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, assert_never

import sqlalchemy as sa

from ftrackd.sandbox.query.comparison import Operand
from ftrackd.sandbox.query.dialects import Dialect
from ftrackd.sandbox.query.errors import QueryTooComplexError, UnsupportedQueryError
from ftrackd.sandbox.query.factoring import fold_alternatives
from ftrackd.sandbox.query.resolution import (
    Meaning,
    as_relation,
    find_entity_type,
    find_meanings,
    find_target,
    refuse_cast,
    try_meanings,
)
from ftrackd.sandbox.query.scope import (
    Aliases,
    Condition,
    Place,
    Scope,
    all_of,
    any_of,
    complement_of,
    select_members,
    type_conditions,
)
from ftrackd.sandbox.query.tree import (
    Aggregate,
    And,
    Comparison,
    Criteria,
    Criterion,
    Membership,
    Not,
    Operator,
    Or,
    Path,
    Quantified,
    Query,
    QueryMembership,
    Step,
)
from ftrackd.sandbox.schema.model import Collection, EntityType, Reference, Schema, ValueType

MAXIMUM_SUBQUERY_DEPTH: Final = 8

#: Makes the condition on entities at the other end of a relation.
_Matching = Callable[[Place], Condition]


@dataclass(frozen=True, slots=True)
class _End:
    """What is asked of the attribute at the end of a path."""

    ask: Callable[[Place, Meaning], Condition]
    #: The attribute has to be a relation.
    is_relation: bool = False
    #: The answer is never true where the attribute is null, or where there is no entity to have it.
    rejects_null: bool = True


@dataclass(frozen=True, slots=True)
class PathValue:
    """SQL for the value at the end of a path."""

    #: What orders it: one term, or number and text of a variable value.
    terms: list[sa.ColumnElement[Any]]
    #: What an answer is made of.
    stored: sa.ColumnElement[Any]
    value_type: ValueType


class CriteriaCompiler:
    """Compiles the criteria and ordering of queries against one schema for one SQL dialect."""

    def __init__(self, schema: Schema, dialect: Dialect) -> None:
        self._schema = schema
        self.dialect = dialect
        self._subquery_depth = 0

    def compile(self, criteria: Criteria, place: Place) -> Condition:
        """Return the condition that rows at *place* meet when they match *criteria*.

        It may be null where it is not true; that counts as no match.

        Raises:
            QueryError: About names, values or uses that the schema does not allow.
        """
        match criteria:
            case And(operands):
                return all_of([self.compile(operand, place) for operand in operands])
            case Or(operands):
                return any_of([self.compile(operand, place) for operand in fold_alternatives(operands)])
            case Not(operand):
                return complement_of(self.compile(operand, place))
            case Comparison() | Membership() | QueryMembership() | Quantified():
                return self._follow(criteria.path, place, self._end_of(criteria, place.scope.aliases))
            case _:  # pragma: no cover
                assert_never(criteria)

    def compile_keys(self, query: Query, aliases: Aliases) -> tuple[sa.Select[Any], ValueType]:
        """Return the SELECT of a nested query, one column without nulls, and the type of its values.

        *aliases* are those of the statement around it.
        """
        if query.is_aggregate:
            raise UnsupportedQueryError("a nested query cannot be grouped or aggregated", query.position)
        entity_type = find_entity_type(self._schema, query.entity_type, query.position)
        with self._subquery(query.position):
            return self._select_keys(query, Scope(entity_type, aliases))

    def _select_keys(self, query: Query, scope: Scope) -> tuple[sa.Select[Any], ValueType]:
        if len(query.projections) > 1:
            raise UnsupportedQueryError("a nested query selects one attribute", query.position)
        if query.projections:
            projection = query.projections[0]
            assert not isinstance(projection, Aggregate)
            path = projection
        else:
            path = Path((Step(scope.entity_type.primary_key[0]),), query.position)
        value = self.value_at(path, scope.place)
        key = value.terms[-1]
        conditions = self.conditions(query, scope)
        order = self.ordering(query, scope.place)
        statement = sa.select(key).select_from(scope.from_clause)
        statement = statement.where(*conditions, key.is_not(None))
        if query.limit is not None or query.offset:
            statement = statement.order_by(*order).limit(query.limit).offset(query.offset)
        return statement, value.value_type

    def conditions(self, query: Query, scope: Scope) -> list[Condition]:
        """Return everything the rows of *query* have to meet, their entity type included."""
        if query.criteria is None:
            return type_conditions(scope.entity_type, scope.source)
        conditions = self.dialect.late_type_conditions(scope.entity_type, scope.source)
        return [*conditions, self.compile(query.criteria, scope.place)]

    def ordering(self, query: Query, place: Place) -> list[sa.ColumnElement[Any]]:
        """Return the ORDER BY terms; the last ones make the order total, so that pages never overlap."""
        terms = [
            self.dialect.ordered(term, is_descending=order.is_descending)
            for order in query.order_by
            for term in self.value_at(order.path, place).terms
        ]
        return [*terms, *self.dialect.implicit_order(place.source, place.entity_type)]

    def value_at(self, path: Path, place: Place) -> PathValue:
        """Return SQL for the value at the end of *path*, which leads through references only.

        Where subtypes give a name different meanings, the one of the row's own type counts.
        """
        step, rest = path.steps[0], path.steps[1:]
        meanings = find_meanings(
            self._schema, place.entity_type, step.name, path.position, is_followed=bool(rest)
        )

        def value_of(meaning: Meaning) -> PathValue:
            if rest:
                value = self._value_beyond(path, place, meaning)
            else:
                operand = self._operand(path, place, meaning)
                value = PathValue(operand.order_terms(), operand.column, operand.value_type)
            if not meaning.is_narrower:
                return value
            is_owner = all_of(type_conditions(meaning.owner, place.source))
            terms: list[sa.ColumnElement[Any]] = [
                sa.case((is_owner, term), else_=None) for term in value.terms
            ]
            return PathValue(terms, sa.case((is_owner, value.stored), else_=None), value.value_type)

        found = try_meanings(meanings, value_of)
        if len(found) == 1:
            return found[0]
        first = sa.func.coalesce(*(value.stored for value in found))
        return PathValue([first], first, found[0].value_type)

    def _value_beyond(self, path: Path, place: Place, meaning: Meaning) -> PathValue:
        step = path.steps[0]
        relation = as_relation(meaning, step, path.position)
        if not isinstance(relation, Reference):
            raise UnsupportedQueryError(
                f"'{path}' leads through the collection '{step.name}', so it has many values", path.position
            )
        target = find_target(self._schema, relation, step, path.position)
        inner = place.scope.enter(place, meaning, relation, target, path.position)
        return self.value_at(Path(path.steps[1:], path.position), inner)

    def _operand(self, path: Path, place: Place, meaning: Meaning) -> Operand:
        if not isinstance(meaning.attribute, Reference):
            refuse_cast(path, path.steps[-1])
        return Operand(meaning, place.source, self._schema, self.dialect, path.position)

    def _end_of(self, criterion: Criterion, aliases: Aliases) -> _End:
        """Return what to ask at the end of the criterion's path, with *aliases* for what it has to read."""
        path = criterion.path
        match criterion:
            case Comparison(_, operator, value):
                return _End(
                    lambda place, meaning: self._operand(path, place, meaning).compare(operator, value),
                    rejects_null=(operator is Operator.NOT_EQUAL)
                    if value.is_null
                    else operator not in (Operator.NOT_EQUAL, Operator.NOT_LIKE),
                )
            case Membership(_, values, is_negated):
                return _End(
                    lambda place, meaning: self._operand(path, place, meaning).is_in(
                        values, is_negated=is_negated
                    ),
                    rejects_null=bool(values) and (is_negated or not any(value.is_null for value in values)),
                )
            case QueryMembership(_, query, is_negated):
                keys, value_type = self.compile_keys(query, aliases)
                return _End(
                    lambda place, meaning: self._operand(path, place, meaning).is_in_query(
                        keys, value_type, is_negated=is_negated
                    )
                )
            case Quantified(_, _, inner):
                return _End(
                    lambda place, meaning: self._quantify(path, place, meaning, inner), is_relation=True
                )

    def _follow(self, path: Path, place: Place, end: _End, depth: int = 0) -> Condition:
        """Follow *path* from its step number *depth* in each of its meanings; one of them has to match."""
        step = path.steps[depth]
        is_last = depth == len(path.steps) - 1
        meanings = find_meanings(
            self._schema,
            place.entity_type,
            step.name,
            path.position,
            is_followed=end.is_relation or not is_last,
        )

        def condition_of(meaning: Meaning) -> Condition:
            condition = (
                end.ask(place, meaning) if is_last else self._follow_beyond(path, place, end, depth, meaning)
            )
            if meaning.is_narrower:
                condition = all_of([*type_conditions(meaning.owner, place.source), condition])
            return condition

        return any_of(try_meanings(meanings, condition_of))

    def _follow_beyond(self, path: Path, place: Place, end: _End, depth: int, meaning: Meaning) -> Condition:
        """Follow the rest of *path* at the other end of the relation that *meaning* is."""
        step = path.steps[depth]
        relation = as_relation(meaning, step, path.position)
        target = find_target(self._schema, relation, step, path.position)
        if isinstance(relation, Collection):
            with self._subquery(path.position):
                return self._exists(
                    place, relation, target, lambda inner: self._follow(path, inner, end, depth + 1)
                )
        inner = place.scope.enter(place, meaning, relation, target, path.position)
        condition = self._follow(path, inner, end, depth + 1)
        # What is no such subtype has no such attribute, so not even "is None" matches. Where null never
        # matches, saying so lets the database turn the left join into an inner one and choose its order.
        if target.name != relation.target or end.rejects_null:
            condition = all_of([inner.source.c[relation.join.remote].is_not(None), condition])
        return condition

    def _quantify(self, path: Path, place: Place, meaning: Meaning, criteria: Criteria | None) -> Condition:
        """``relation any (criteria)``: an entity at the other end exists and matches."""
        step = path.steps[-1]
        relation = as_relation(meaning, step, path.position)
        target = find_target(self._schema, relation, step, path.position)
        if isinstance(relation, Collection):
            if criteria is None:
                return self._exists(place, relation, target, None)
            with self._subquery(path.position):
                return self._exists(place, relation, target, lambda inner: self.compile(criteria, inner))
        inner = place.scope.enter(place, meaning, relation, target, path.position)
        conditions: list[Condition] = [inner.source.c[relation.join.remote].is_not(None)]
        if criteria is not None:
            conditions.append(self.compile(criteria, inner))
        return all_of(conditions)

    @contextmanager
    def _subquery(self, position: int) -> Iterator[None]:
        """Go one SELECT deeper; the databases' planners take exponential time over deeper nests."""
        self._subquery_depth += 1
        try:
            if self._subquery_depth > MAXIMUM_SUBQUERY_DEPTH:
                raise QueryTooComplexError(
                    f"collections and queries are nested deeper than {MAXIMUM_SUBQUERY_DEPTH} levels",
                    position,
                )
            yield
        finally:
            self._subquery_depth -= 1

    def _exists(
        self,
        place: Place,
        collection: Collection,
        target: EntityType,
        matching: _Matching | None,
    ) -> Condition:
        """A member of *collection* exists that is *matching*.

        With criteria the members are found first and lead to their owners through an index. Each owner is
        asked whether it has any when there are no criteria, or when the members are rows of a view, which
        is expensive to make for all owners.
        """
        scope = Scope(target, place.scope.aliases)
        conditions = [] if matching is None else [matching(scope.place)]
        members, key = select_members(scope, collection.join, conditions)
        local = place.source.c[collection.join.local]
        is_view = not isinstance(target.table, sa.Table)
        if matching is not None and not is_view:
            return local.in_(members.add_columns(key).where(key.is_not(None)).correlate(None))
        return members.add_columns(sa.literal(1)).where(key == local).correlate(place.source).exists()
