"""The FROM clause of one SELECT, which grows as paths through references need it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import Grouping

from ftrackd.sandbox.query.errors import QueryTooComplexError
from ftrackd.sandbox.query.resolution import Meaning
from ftrackd.sandbox.schema.model import EntityType, Join, Reference

#: SQLite joins at most 64 tables in one SELECT.
_MAXIMUM_JOINS: Final = 60
#: SQLite refuses expressions nested deeper than 1,000; longer chains become balanced trees of this width.
_GROUP_WIDTH: Final = 64
#: Aliases that are kept: the first few of each table.
_KEPT_ALIASES: Final = 1024

Condition = sa.ColumnElement[bool]


class Aliases:
    """The names under which one statement reads tables: another one each time.

    An alias has all columns of its table, and making them takes longer than most statements run. Statements
    share them: the first alias that one asks for is the first of every other.
    """

    def __init__(self) -> None:
        self._taken: dict[sa.FromClause, int] = {}

    def take(self, table: sa.FromClause) -> sa.FromClause:
        """Return an alias of *table* that this statement does not use yet."""
        number = self._taken.get(table, 0)
        self._taken[table] = number + 1
        return _alias(table, number)


@lru_cache(maxsize=_KEPT_ALIASES)
def _alias(table: sa.FromClause, number: int) -> sa.FromClause:
    """Return the alias with this *number* of *table*."""
    del number
    alias = table.alias()
    # Columns are made when they are first looked at, which two threads must not do at once.
    alias.c  # noqa: B018
    return alias


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a SELECT the names of a path are looked up: rows of *entity_type* in *source*."""

    scope: Scope
    source: sa.FromClause
    entity_type: EntityType


class Scope:
    """The rows that one SELECT starts from, and what is joined to them.

    References are joined from the left, each of them once however many paths lead through it, so no row is
    multiplied and none is lost where a reference is unset.

    Args:
        entity_type: What the rows are.
        aliases: Of the statement that the SELECT is, or is a part of.
    """

    def __init__(self, entity_type: EntityType, aliases: Aliases) -> None:
        self.source = aliases.take(entity_type.table)
        self.entity_type = entity_type
        self.aliases = aliases
        self.from_clause: sa.FromClause = self.source
        self._references: dict[tuple[sa.FromClause, str, str, str], sa.FromClause] = {}

    @property
    def place(self) -> Place:
        """Where paths begin."""
        return Place(self, self.source, self.entity_type)

    def enter(
        self, place: Place, meaning: Meaning, reference: Reference, target: EntityType, position: int
    ) -> Place:
        """Return the place at the other end of *reference*, joining it when no path did so before.

        Args:
            place: Where the reference is an attribute of.
            meaning: The meaning of its name there.
            reference: The reference itself.
            target: The type it leads to; narrower than declared when it is cast.
            position: Of the path, for errors.
        """
        key = (place.source, meaning.owner.name, reference.name, target.name)
        source = self._references.get(key)
        if source is None:
            if len(self._references) >= _MAXIMUM_JOINS:
                raise QueryTooComplexError(
                    f"the query follows more than {_MAXIMUM_JOINS} different references", position
                )
            source = self.aliases.take(target.table)
            condition = self._reference_condition(place, meaning, reference, target, source)
            self.from_clause = self.from_clause.outerjoin(source, condition)
            self._references[key] = source
        return Place(self, source, target)

    def _reference_condition(
        self,
        place: Place,
        meaning: Meaning,
        reference: Reference,
        target: EntityType,
        source: sa.FromClause,
    ) -> Condition:
        conditions: list[Condition] = [
            source.c[reference.join.remote] == reference.expression(place.source),
            *(criterion.clause(source) for criterion in reference.join.where),
        ]
        if meaning.is_narrower:
            conditions += type_conditions(meaning.owner, place.source)
        if target.name != reference.target:
            conditions += type_conditions(target, source)
        return sa.and_(*conditions)


def type_conditions(entity_type: EntityType, source: sa.FromClause) -> list[Condition]:
    """Return what makes a row of *source* one of *entity_type*; nothing when every row is."""
    clause = entity_type.clause(source)
    return [] if clause is None else [clause]


def select_members(
    scope: Scope, join: Join, conditions: list[Condition]
) -> tuple[sa.Select[Any], sa.ColumnElement[Any]]:
    """Return a SELECT over the members of a collection, without columns, and the key of their owners in it.

    Args:
        scope: Over the members' type, with everything that *conditions* need already joined.
        join: How owners meet their members.
        conditions: Further conditions on the members.
    """
    source = scope.source
    statement: sa.Select[Any] = sa.select()
    limits = [
        *type_conditions(scope.entity_type, source),
        *(criterion.clause(source) for criterion in join.where),
    ]
    if join.through is None:
        key = source.c[join.remote]
        statement = statement.select_from(scope.from_clause)
    else:
        through = scope.aliases.take(join.through.table)
        key = through.c[join.through.local]
        limits += [criterion.clause(through) for criterion in join.through.where]
        limits.append(through.c[join.through.remote] == source.c[join.remote])
        statement = statement.select_from(scope.from_clause, through)
    return statement.where(*limits, *conditions), key


class _Parenthesised(Grouping[bool]):
    """A group that stays one: a plain grouping is dissolved in a surrounding list of the same operator."""

    inherit_cache = True
    operator = None


def all_of(conditions: list[Condition]) -> Condition:
    """Return the conjunction of *conditions*; true when there are none."""
    return _balance(conditions, sa.and_) if conditions else sa.true()


def any_of(conditions: list[Condition]) -> Condition:
    """Return the disjunction of *conditions*; false when there are none."""
    # Not sa.false(), for which SQLAlchemy drops all other conditions of a SELECT, those of its joins too.
    return _balance(conditions, sa.or_) if conditions else sa.literal_column("0") == sa.literal_column("1")


def complement_of(condition: Condition) -> Condition:
    """Return what is true exactly where *condition* is false or null."""
    # Without the explicit group, NOT and IS would bind the wrong way round.
    return Grouping(condition).is_not(sa.true())


def _balance(conditions: list[Condition], combine: Any) -> Condition:
    while len(conditions) > _GROUP_WIDTH:
        conditions = [
            _Parenthesised(combine(*conditions[start : start + _GROUP_WIDTH]))
            for start in range(0, len(conditions), _GROUP_WIDTH)
        ]
    if len(conditions) == 1:
        return conditions[0]
    combined: Condition = combine(*conditions)
    return combined
