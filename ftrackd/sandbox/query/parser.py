"""Parses the text of a query into its tree.

The grammar, with keywords that are reserved nowhere else than where they stand::

    query      := [ "select" projection { "," projection } "from" ] TYPE [ "where" criteria ] { tail }
    tail       := "order" "by" order { "," order } | "group" "by" path { "," path }
                | "limit" INTEGER | "offset" INTEGER
    order      := path [ "ascending" | "asc" | "descending" | "desc" ]
    projection := path | ( "count" | "sum" | "avg" | "min" | "max" ) "(" path ")"
    path       := step { "." step }
    step       := NAME [ "[" TYPE "]" ]
    criteria   := conjunction { "or" conjunction }
    conjunction := negation { "and" negation }
    negation   := [ "not" ] ( "(" criteria ")" | criterion )
    criterion  := path ( "any" | "has" ) "(" [ criteria ] ")"
                | path ( "in" | "not_in" | "not" "in" ) "(" ( list | query ) ")"
                | path OPERATOR value
    list       := [ value { "," value } [ "," ] ]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast, get_args

from ftrackd.sandbox.query.errors import QuerySyntaxError, QueryTooComplexError
from ftrackd.sandbox.query.scanner import Scanner
from ftrackd.sandbox.query.tree import (
    Aggregate,
    AggregateFunction,
    And,
    Comparison,
    Criteria,
    Membership,
    Not,
    Or,
    Order,
    Path,
    Projection,
    Quantified,
    Quantifier,
    Query,
    QueryMembership,
    Step,
    Value,
)

MAXIMUM_LENGTH: Final = 4_000_000
MAXIMUM_DEPTH: Final = 100
MAXIMUM_CRITERIA: Final = 10_000
MAXIMUM_STEPS: Final = 40

_AGGREGATE_FUNCTIONS: Final = frozenset(get_args(AggregateFunction))
_DIRECTIONS: Final = {"ascending": False, "asc": False, "descending": True, "desc": True}
_TAIL_WORDS: Final = ("order", "group", "limit", "offset")
_INTEGER: Final = re.compile(r"[0-9]{1,18}")
# No list has two words side by side, so these openings of a query are no possible value of one.
_QUERY_AHEAD: Final = re.compile(r"\s*+(?:select\s++[^\s,()]|\w++\s++(?:where|order|group|limit|offset)\b)")
_OPERATORS_EXPECTED: Final = (
    "an operator (is, is_not, =, !=, <, >, <=, >=, like, not_like, in, not_in, any, has)"
)


def parse(text: str) -> Query:
    """Return the tree of a query.

    Args:
        text: A query such as ``select name from Task where status.name is "Approved"``.

    Raises:
        QuerySyntaxError: With the position, what was expected there and what was found.
        QueryTooComplexError: When it is nested deeper than 100 levels, holds more than 10,000 criteria
            (lists may have any number of values) or a path of more than 40 steps, or is longer than four
            million characters.
    """
    if len(text) > MAXIMUM_LENGTH:
        raise QueryTooComplexError(
            f"the query has {len(text)} characters, the limit is {MAXIMUM_LENGTH}; ask in several queries"
        )
    refuse_unstorable(text)
    parser = _Parser(text)
    query = parser.parse_query()
    parser.expect_end(query)
    return query


def parse_path(text: str) -> Path:
    """Return the path that *text* is, such as ``status.state.short``; raises like :func:`parse`."""
    parser = _Parser(text)
    path = parser.parse_path("an attribute")
    parser.expect_nothing()
    return path


def refuse_unstorable(text: str) -> None:
    """Raise :class:`QuerySyntaxError` for characters that no database takes as a parameter."""
    position = text.find("\0")
    if position >= 0:
        raise QuerySyntaxError("the text holds a NUL character", position)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QuerySyntaxError("the text holds half a character (a lone surrogate)", error.start) from None


@dataclass(slots=True)
class _Tail:
    """What follows the criteria, collected in any order."""

    group_by: tuple[Path, ...] = ()
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int | None = None


class _Parser:
    """One recursive descent over a text; the depth is bounded long before Python's own limit."""

    def __init__(self, text: str) -> None:
        self._scanner = Scanner(text)
        self._depth = 0
        self._criteria_count = 0

    def parse_query(self) -> Query:
        projections: tuple[Projection, ...] = ()
        if self._scanner.read_word("select"):
            projections = self._parse_projections()
            if not self._scanner.read_word("from"):
                self._scanner.fail_expecting("',' or 'from' after a projection")
        self._scanner.skip_space()
        position = self._scanner.position
        entity_type = self._scanner.read_type_name()
        if entity_type is None:
            self._scanner.fail_expecting("the name of an entity type")
        criteria = self._parse_criteria() if self._scanner.read_word("where") else None
        tail = self._parse_tail()
        return Query(
            entity_type=entity_type,
            projections=projections,
            criteria=criteria,
            group_by=tail.group_by,
            order_by=tail.order_by,
            limit=tail.limit,
            offset=tail.offset,
            position=position,
        )

    def expect_end(self, query: Query) -> None:
        if self._scanner.at_end():
            return
        if query.criteria is None:
            expected = "'where', 'order by', 'group by', 'limit', 'offset' or the end of the query"
        else:
            expected = "'and', 'or', 'order by', 'group by', 'limit', 'offset' or the end of the query"
        self._scanner.fail_expecting(expected, self._hint_at_keyword())

    def expect_nothing(self) -> None:
        if not self._scanner.at_end():
            self._scanner.fail_expecting("the end of the path")

    def _hint_at_keyword(self) -> str:
        """Explain the two usual slips: capital keywords and ``is not`` in two words."""
        name = self._scanner.peek_name()
        if name is not None and name != name.lower():
            return " (keywords are written in lower case)"
        return " (text with blanks has to be quoted)" if name is not None else ""

    def _parse_projections(self) -> tuple[Projection, ...]:
        projections = [self._parse_projection()]
        while self._scanner.read_character(","):
            projections.append(self._parse_projection())
        return tuple(projections)

    def _parse_projection(self) -> Projection:
        path = self.parse_path("an attribute to select")
        if self._scanner.peek_character() != "(":
            return path
        function = str(path)
        if function not in _AGGREGATE_FUNCTIONS:
            self._scanner.fail(
                f"'{function}' is not an aggregate function (count, sum, avg, min, max)", path.position
            )
        self._scanner.read_character("(")
        argument = self.parse_path(f"the attribute to {function}")
        self._expect_character(")")
        return Aggregate(cast(AggregateFunction, function), argument)

    def parse_path(self, expected: str) -> Path:
        self._scanner.skip_space()
        position = self._scanner.position
        steps = [self._parse_step(expected)]
        while self._scanner.read_character("."):
            if len(steps) == MAXIMUM_STEPS:
                raise QueryTooComplexError(
                    f"the path has more than {MAXIMUM_STEPS} steps", position, self._scanner.text
                )
            steps.append(self._parse_step("an attribute after '.'"))
        return Path(tuple(steps), position)

    def _parse_step(self, expected: str) -> Step:
        name = self._scanner.read_name()
        if name is None:
            self._scanner.fail_expecting(expected)
        if not self._scanner.read_character("["):
            return Step(name)
        entity_type = self._scanner.read_type_name()
        if entity_type is None:
            self._scanner.fail_expecting("the entity type to cast to")
        self._expect_character("]")
        return Step(name, entity_type)

    def _parse_criteria(self) -> Criteria:
        operands = [self._parse_conjunction()]
        while self._scanner.read_word("or"):
            operands.append(self._parse_conjunction())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _parse_conjunction(self) -> Criteria:
        operands = [self._parse_negation()]
        while self._scanner.read_word("and"):
            operands.append(self._parse_negation())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _parse_negation(self) -> Criteria:
        if self._scanner.read_word("not"):
            self._enter()
            operand = self._parse_negation()
            self._leave()
            return Not(operand)
        if self._scanner.read_character("("):
            self._enter()
            criteria = self._parse_criteria()
            self._expect_character(")", self._hint_at_keyword)
            self._leave()
            return criteria
        return self._parse_criterion()

    def _parse_criterion(self) -> Criteria:
        self._criteria_count += 1
        if self._criteria_count > MAXIMUM_CRITERIA:
            raise QueryTooComplexError(
                f"the query holds more than {MAXIMUM_CRITERIA} criteria; use 'in (...)' or several queries",
                self._scanner.position,
                self._scanner.text,
            )
        path = self.parse_path("an attribute to compare")
        operator = self._scanner.read_operator()
        if operator is not None:
            value = self._scanner.read_value()
            if value is None:
                self._scanner.fail_expecting(f"a value after '{operator.value}'")
            self._refuse_is_not(value)
            return Comparison(path, operator, value)
        word = self._scanner.peek_name()
        if word in ("any", "has"):
            self._scanner.read_word(word)
            return self._parse_quantified(path, cast(Quantifier, word))
        is_negated = self._read_membership_operator()
        if is_negated is None:
            self._scanner.fail_expecting(_OPERATORS_EXPECTED, self._hint_at_operator(path))
        return self._parse_membership(path, is_negated)

    def _refuse_is_not(self, value: Value) -> None:
        """Explain ``is not x``, which would otherwise compare with the word "not" and fail at "x"."""
        if value.is_quoted or value.text != "not":
            return
        if self._scanner.peek_character() in ('"', "'") or self._scanner.peek_name() in ("None", "none"):
            self._scanner.fail("'is not' is written 'is_not'", value.position)

    def _hint_at_operator(self, path: Path) -> str:
        if str(path) in _TAIL_WORDS:
            return f" ('{path}' is read as an attribute; is an 'and' or 'or' before it left over?)"
        word = self._scanner.peek_name()
        return " (operators are written in lower case)" if word is not None and word != word.lower() else ""

    def _read_membership_operator(self) -> bool | None:
        """Move past ``in``, ``not_in`` or ``not in``; tell whether it is negated."""
        if self._scanner.read_word("in"):
            return False
        if self._scanner.read_word("not_in"):
            return True
        if self._scanner.read_word("not"):
            if not self._scanner.read_word("in"):
                self._scanner.fail_expecting("'in' after 'not'")
            return True
        return None

    def _parse_quantified(self, path: Path, quantifier: Quantifier) -> Criteria:
        self._expect_character("(")
        if self._scanner.read_character(")"):
            return Quantified(path, quantifier, None)
        self._enter()
        criteria = self._parse_criteria()
        self._expect_character(")", self._hint_at_keyword)
        self._leave()
        return Quantified(path, quantifier, criteria)

    def _parse_membership(self, path: Path, is_negated: bool) -> Criteria:
        self._expect_character("(")
        if _QUERY_AHEAD.match(self._scanner.text, self._scanner.position) is None:
            return Membership(path, self._parse_list(), is_negated)
        self._enter()
        query = self.parse_query()
        self._expect_character(")")
        self._leave()
        return QueryMembership(path, query, is_negated)

    def _parse_list(self) -> tuple[Value, ...]:
        """Parse values up to the closing parenthesis, which may follow a trailing comma."""
        scanner = self._scanner
        values: list[Value] = []
        while not scanner.read_character(")"):
            item = scanner.read_list_item()
            if item is None:
                # Read it slowly for the precise error.
                if scanner.read_value() is None:
                    scanner.fail_expecting("a value or ')' in the list")
                scanner.fail_expecting("',' or ')' after a value of the list")
            values.append(item[0])
            if item[1]:
                break
        return tuple(values)

    def _parse_tail(self) -> _Tail:
        tail = _Tail()
        seen: set[str] = set()
        while True:
            word = self._scanner.peek_name()
            if word is None or word not in _TAIL_WORDS:
                return tail
            if word in seen:
                self._scanner.fail(f"'{word}' is given twice")
            seen.add(word)
            self._scanner.read_word(word)
            if word == "limit":
                tail.limit = self._parse_integer(word)
            elif word == "offset":
                tail.offset = self._parse_integer(word)
            elif not self._scanner.read_word("by"):
                self._scanner.fail_expecting(f"'by' after '{word}'")
            elif word == "order":
                tail.order_by = self._parse_order()
            else:
                tail.group_by = self._parse_group()

    def _parse_integer(self, word: str) -> int:
        value = self._scanner.read_value()
        if value is None:
            self._scanner.fail_expecting(f"a whole number after '{word}'")
        if _INTEGER.fullmatch(value.text) is None:
            self._scanner.fail(
                f"expected a whole number after '{word}', found '{value.text}'", value.position
            )
        return int(value.text)

    def _parse_order(self) -> tuple[Order, ...]:
        terms: list[Order] = []
        while True:
            path = self.parse_path("an attribute to order by")
            direction = self._scanner.peek_name()
            if direction is not None and direction in _DIRECTIONS:
                self._scanner.read_word(direction)
                terms.append(Order(path, _DIRECTIONS[direction]))
            else:
                terms.append(Order(path))
            if not self._scanner.read_character(","):
                return tuple(terms)

    def _parse_group(self) -> tuple[Path, ...]:
        paths = [self.parse_path("an attribute to group by")]
        while self._scanner.read_character(","):
            paths.append(self.parse_path("an attribute to group by"))
        return tuple(paths)

    def _expect_character(self, character: str, hint: Callable[[], str] | None = None) -> None:
        if not self._scanner.read_character(character):
            self._scanner.fail_expecting(f"'{character}'", "" if hint is None else hint())

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAXIMUM_DEPTH:
            raise QueryTooComplexError(
                f"the query is nested deeper than {MAXIMUM_DEPTH} levels",
                self._scanner.position,
                self._scanner.text,
            )

    def _leave(self) -> None:
        self._depth -= 1
