"""The query tree: what a query says, free of how it was written.

Every node is a frozen value; two queries that differ only in white space, quotes or synonyms of operators
are equal. Positions (offsets into the text, for error messages) take no part in comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal as Choice
from typing import TypeAlias

AggregateFunction: TypeAlias = Choice["count", "sum", "avg", "min", "max"]
Quantifier: TypeAlias = Choice["any", "has"]


class Operator(Enum):
    """A comparison, by the spelling that the printer uses."""

    EQUAL = "is"
    NOT_EQUAL = "is_not"
    GREATER = ">"
    LESS = "<"
    GREATER_OR_EQUAL = ">="
    LESS_OR_EQUAL = "<="
    LIKE = "like"
    NOT_LIKE = "not_like"


@dataclass(frozen=True, slots=True)
class Step:
    """One name of a path, with the subtype that it is cast to: ``parent[Shot]``."""

    name: str
    cast: str | None = None


@dataclass(frozen=True, slots=True)
class Path:
    """Names that lead from an entity through its relations to an attribute: ``status.state.short``."""

    steps: tuple[Step, ...]
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return ".".join(
            step.name if step.cast is None else f"{step.name}[{step.cast}]" for step in self.steps
        )


@dataclass(frozen=True, slots=True)
class Value:
    """A literal as written. Only the attribute that it is compared with gives it a type.

    ``is_quoted`` distinguishes the text ``"None"`` from the word ``None``, which means null.
    """

    text: str
    is_quoted: bool = True
    position: int = field(default=0, compare=False)

    @property
    def is_null(self) -> bool:
        """True for the unquoted words ``None`` and ``none``."""
        return not self.is_quoted and self.text in ("None", "none")


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function over the rows of a group: ``count(id)``."""

    function: AggregateFunction
    path: Path


Projection: TypeAlias = Path | Aggregate


@dataclass(frozen=True, slots=True)
class Comparison:
    """``path OPERATOR value``."""

    path: Path
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Membership:
    """``path in (value, ...)``; the list may be empty."""

    path: Path
    values: tuple[Value, ...]
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class QueryMembership:
    """``path in (select ... from ...)``."""

    path: Path
    query: Query
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Quantified:
    """``path any (criteria)`` or ``path has (criteria)``; no criteria asks for existence alone."""

    path: Path
    quantifier: Quantifier
    criteria: Criteria | None


@dataclass(frozen=True, slots=True)
class Not:
    """``not criteria``."""

    operand: Criteria


@dataclass(frozen=True, slots=True)
class And:
    """Two or more criteria that must all hold."""

    operands: tuple[Criteria, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more criteria of which one must hold."""

    operands: tuple[Criteria, ...]


Criterion: TypeAlias = Comparison | Membership | QueryMembership | Quantified
Criteria: TypeAlias = Criterion | Not | And | Or


@dataclass(frozen=True, slots=True)
class Order:
    """One term of ``order by``."""

    path: Path
    is_descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query. Without ``projections`` (a bare ``Task where ...``) the type's defaults apply."""

    entity_type: str
    projections: tuple[Projection, ...] = ()
    criteria: Criteria | None = None
    group_by: tuple[Path, ...] = ()
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int | None = None
    position: int = field(default=0, compare=False)

    @property
    def is_aggregate(self) -> bool:
        """True when the answer holds groups instead of entities."""
        return bool(self.group_by) or any(isinstance(item, Aggregate) for item in self.projections)
