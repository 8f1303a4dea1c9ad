"""Expressions: what a subscription asks of an event, and a target of a subscriber.

::

    expression := and-group {"or" and-group}
    and-group  := negation {"and" negation}
    negation   := {"not"} (condition | "(" expression ")")
    condition  := FIELD OPERATOR VALUE

A field is made of ``A-Z a-z 0-9 _ .``, the operators are ``= != > >= < <=``, and a value is either quoted
(``"`` or ``'``; inside, a quote is preceded by a backslash or doubled, and nothing is unescaped) or made of
``A-Z a-z 0-9 - _ , . / * @ +``. Keywords are case-insensitive. What a condition means is said in
:mod:`ftrackd.api.event._matching`.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable
from functools import lru_cache

from ftrackd.api.event._matching import Test, all_test, any_test, condition_test, not_test, number_of
from ftrackd.api.exception import ParseError

#: How deep parentheses and ``not`` may be nested; deeper text is refused instead of exhausting the stack.
MAXIMUM_DEPTH = 64

#: How long an expression may be, in characters.
MAXIMUM_LENGTH = 65_536

_BARE = r"[A-Za-z0-9\-_,./*@+]+"
# A quote may stand inside when a backslash is before it, or doubled; a backslash at the end is one.
_DOUBLE_QUOTED = r"""(?:[^"\\]++|\\[\s\S]|"")*+|[^"]*"""
_SINGLE_QUOTED = r"""(?:[^'\\]++|\\[\s\S]|'')*+|[^']*"""
_CONDITION = re.compile(
    r"\s*([A-Za-z0-9_.]+)\s*(=|!=|>=|<=|>|<)\s*"
    rf"""(?:({_BARE})|"({_DOUBLE_QUOTED})"|'({_SINGLE_QUOTED})')\s*"""
)
_CONNECTIVE = re.compile(r"(and|or)(?![A-Za-z0-9_$])\s*", re.IGNORECASE)
_NOT = re.compile(r"\s*not(?![A-Za-z0-9_$])", re.IGNORECASE)
_OPEN = re.compile(r"\s*\(")
_CLOSE = re.compile(r"\)\s*")
_BLANK = re.compile(r"\s*")


class Expression:
    """The base of all expressions; by itself it matches everything."""

    _test: Test | None = None

    def match(self, candidate: typing.Any) -> bool:
        """Return whether *candidate*, a mapping such as an event or subscriber metadata, satisfies this."""
        test = self._test
        if test is None:
            test = self.compiled()
        return test(candidate)

    def compiled(self) -> Test:
        """Return this expression as one function of a mapping; made on the first call and kept."""
        if self._test is None:
            self._test = self._compile()
        return self._test

    def required(self) -> dict[str, frozenset[str]]:
        """Return the fields that must equal one of some literals for this to match (used by the index)."""
        return {}

    def compiled_without(self, field: str) -> Test | None:
        """Return what remains to be tested when the literals required of `field` are there, or None."""
        return self.compiled()

    def text(self) -> str:
        """Return the text that parses to this."""
        return "topic=*"

    def widened(self, *, positive: bool = True) -> Expression | bool:
        """Return what is true at least whenever this is, however numbers are compared; a bool if nothing is
        left to ask. Under a negation, where *positive* is false: what is true at most when this is.
        """
        return self

    def _compile(self) -> Test:
        return lambda candidate: True

    def __str__(self) -> str:
        return f"<{type(self).__name__}>"

    __repr__ = __str__


class All(Expression):
    """Matches when every one of its expressions does (also when it has none)."""

    def __init__(self, expressions: Iterable[Expression] | None = None) -> None:
        """Combine *expressions*."""
        self._expressions = list(expressions or ())

    def required(self) -> dict[str, frozenset[str]]:
        """Return the literals that every match must show; the narrowest demand for each field counts."""
        together: dict[str, frozenset[str]] = {}
        for expression in self._expressions:
            for field, values in expression.required().items():
                together[field] = together[field] & values if field in together else values
        return together

    def compiled_without(self, field: str) -> Test | None:
        """Return the test of the expressions that do not merely require literals of `field`."""
        tests = [expression.compiled_without(field) for expression in self._expressions]
        remaining = [test for test in tests if test is not None]
        return all_test(remaining) if remaining else None

    def text(self) -> str:
        """Return the text that parses to this."""
        return " and ".join(_nested(expression) for expression in self._expressions) or super().text()

    def widened(self, *, positive: bool = True) -> Expression | bool:
        """Return this with each of its expressions widened."""
        widened = [expression.widened(positive=positive) for expression in self._expressions]
        if False in widened:
            return False
        left = [expression for expression in widened if not isinstance(expression, bool)]
        return left[0] if len(left) == 1 else All(left) if left else True

    def _compile(self) -> Test:
        return all_test([expression.compiled() for expression in self._expressions])

    def __str__(self) -> str:
        return f"<{type(self).__name__} [{' '.join(map(str, self._expressions))}]>"

    __repr__ = __str__


class Any(Expression):
    """Matches when at least one of its expressions does (never when it has none)."""

    def __init__(self, expressions: Iterable[Expression] | None = None) -> None:
        """Combine *expressions*."""
        self._expressions = list(expressions or ())

    def required(self) -> dict[str, frozenset[str]]:
        """Return the literals of the fields that every alternative demands."""
        if not self._expressions:
            return {}
        first, *others = [expression.required() for expression in self._expressions]
        return {
            field: values.union(*(other[field] for other in others))
            for field, values in first.items()
            if all(field in other for other in others)
        }

    def text(self) -> str:
        """Return the text that parses to this."""
        return " or ".join(_nested(expression) for expression in self._expressions) or "not topic=*"

    def widened(self, *, positive: bool = True) -> Expression | bool:
        """Return this with each of its expressions widened."""
        widened = [expression.widened(positive=positive) for expression in self._expressions]
        if True in widened:
            return True
        left = [expression for expression in widened if not isinstance(expression, bool)]
        return left[0] if len(left) == 1 else Any(left) if left else False

    def _compile(self) -> Test:
        return any_test([expression.compiled() for expression in self._expressions])

    def __str__(self) -> str:
        return f"<{type(self).__name__} [{' '.join(map(str, self._expressions))}]>"

    __repr__ = __str__


class Not(Expression):
    """Matches when its expression does not."""

    def __init__(self, expression: Expression) -> None:
        """Negate *expression*."""
        self._expression = expression

    def text(self) -> str:
        """Return the text that parses to this."""
        return f"not {_nested(self._expression)}"

    def widened(self, *, positive: bool = True) -> Expression | bool:
        """Return the negation of its expression, narrowed."""
        narrowed = self._expression.widened(positive=not positive)
        return not narrowed if isinstance(narrowed, bool) else Not(narrowed)

    def _compile(self) -> Test:
        return not_test(self._expression.compiled())

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._expression}>"

    __repr__ = __str__


class Condition(Expression):
    """Compares one field with one value."""

    def __init__(self, key: str, operator: str, value: str) -> None:
        """Compare the value at the dotted *key* with *value*; *operator* is one of ``= != > >= < <=``."""
        if operator not in _OPERATORS:
            raise ValueError(f"Operator {operator!r} is not one of {' '.join(sorted(_OPERATORS))}.")
        self._key = key
        self._operator = operator
        self._value = value

    def required(self) -> dict[str, frozenset[str]]:
        """Return the one literal that this demands, when it is an equality without wildcard."""
        if self._operator == "=" and not self._value.endswith("*"):
            return {self._key: frozenset((self._value,))}
        return {}

    def compiled_without(self, field: str) -> Test | None:
        """Return None when this is an equality without wildcard on `field`."""
        return None if field in self.required() and self._key == field else self.compiled()

    def text(self) -> str:
        """Return the text that parses to this."""
        quote = "" if re.fullmatch(_BARE, self._value) else '"' if _may_be_double_quoted(self._value) else "'"
        return f"{self._key}{self._operator}{quote}{self._value}{quote}"

    def widened(self, *, positive: bool = True) -> Expression | bool:
        """Return this, or nothing when it is a comparison that may be one of numbers."""
        is_text = self._key in _TEXT_FIELDS or self._key.startswith("source.")
        return self if is_text or number_of(self._value) is None else positive

    def _compile(self) -> Test:
        return condition_test(self._key, self._operator, self._value)

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._key}{self._operator}{self._value}>"

    __repr__ = __str__


_OPERATORS = frozenset(("=", "!=", ">", ">=", "<", "<="))

#: What is text in every event; so is all below ``source``.
_TEXT_FIELDS = frozenset(("topic", "id", "target"))


def _nested(expression: Expression) -> str:
    text = expression.text()
    return f"({text})" if isinstance(expression, (All, Any)) else text


def _may_be_double_quoted(value: str) -> bool:
    return re.fullmatch(_DOUBLE_QUOTED, value) is not None


def server_text(subscription: str) -> str:
    """Return the text with which to ask a server for all events that `subscription` matches here.

    A server compares values as text, as the official clients do, or in ways of its own; here numbers are
    compared as numbers. So conditions that may be about numbers are left out of the question.

    Raises:
        ParseError: when `subscription` is not an expression.
    """
    expression = parse_cached(subscription)
    widened = expression.widened()
    if isinstance(widened, bool):
        return Expression().text() if widened else Any().text()
    text = widened.text()
    return subscription if text == expression.text() else text


class Parser:
    """Turns the text of an expression into an :class:`Expression`."""

    def parse(self, expression: str) -> Expression:
        """Return the text *expression* as an expression.

        Raises:
            ParseError: when *expression* is not an expression. The message names the position and, where it
                can be told, the remedy.
        """
        if not isinstance(expression, str):
            raise ParseError(f"An expression is text, not {type(expression).__name__}: {expression!r:.200}")
        if len(expression) > MAXIMUM_LENGTH:
            raise ParseError(
                f"An expression of {len(expression)} characters is too long; the limit is {MAXIMUM_LENGTH}."
            )
        parsed, position = _parse_any(expression, 0, 0)
        if position != len(expression):
            raise _error(expression, position, _NO_END)
        return parsed


@lru_cache(maxsize=1024)
def parse_cached(text: str) -> Expression:
    """Return *text* parsed, keeping the last thousand: targets and subscriptions repeat.

    Raises:
        ParseError: as :meth:`Parser.parse`.
    """
    return Parser().parse(text)


def _parse_any(text: str, position: int, depth: int) -> tuple[Expression, int]:
    alternatives: list[Expression] = []
    group: list[Expression] = []
    while True:
        expression, position = _parse_negation(text, position, depth)
        group.append(expression)
        connective = _CONNECTIVE.match(text, position)
        if connective is None:
            break
        position = connective.end()
        if connective[1].lower() == "or":
            alternatives.append(group[0] if len(group) == 1 else All(group))
            group = []
    last = group[0] if len(group) == 1 else All(group)
    if not alternatives:
        return last, position
    alternatives.append(last)
    return Any(alternatives), position


def _parse_negation(text: str, position: int, depth: int) -> tuple[Expression, int]:
    condition = _CONDITION.match(text, position)
    if condition is not None:
        key, symbol, bare, double_quoted, single_quoted = condition.groups()
        value = bare if bare is not None else double_quoted if double_quoted is not None else single_quoted
        return Condition(key, symbol, value), condition.end()
    if depth >= MAXIMUM_DEPTH:
        raise ParseError(f"The expression is nested deeper than {MAXIMUM_DEPTH} levels: {text:.200}")
    negation = _NOT.match(text, position)
    if negation is not None:
        expression, position = _parse_negation(text, negation.end(), depth + 1)
        return Not(expression), position
    opening = _OPEN.match(text, position)
    if opening is None:
        raise _error(text, position, _NO_CONDITION)
    expression, position = _parse_any(text, opening.end(), depth + 1)
    closing = _CLOSE.match(text, position)
    if closing is None:
        raise _error(text, position, _NO_END)
    return expression, closing.end()


# Patterns that are compiled when they are needed, which is hardly ever: most processes meet no such text.
_MISSING = (r"\Z", "something is missing at the end")
_UNOPENED = (r"\)", "a closing parenthesis has no opening one")

#: What may be wrong where a condition should begin.
_NO_CONDITION = (
    _MISSING,
    _UNOPENED,
    (r"[A-Za-z0-9_.]+\s*==", "equality is written with one ="),
    (r"[A-Za-z0-9_.]+\s*(?:[!<>]?=|[<>])\s*(?:\Z|\))", "a value is missing after the operator"),
    (r"[A-Za-z0-9_.]+\s*(?:[!<>]?=|[<>])\s*[\"']", "a quote is not closed"),
    (r"[A-Za-z0-9_.]+\s*(?:[!<>]?=|[<>])", "such a value must be quoted"),
    (r"[A-Za-z0-9_.]+\s*(?:\Z|\))", "a condition needs an operator and a value"),
    (r"", "a condition such as topic=ftrack.update is expected"),
)

#: What may be wrong where a condition has ended.
_NO_END = (
    _MISSING,
    _UNOPENED,
    (r"(?<!\s)", "a value with blanks, colons or other characters must be quoted"),
    (r"", "conditions are joined by and, or; a value with blanks must be quoted"),
)


def _error(text: str, position: int, hints: tuple[tuple[str, str], ...]) -> ParseError:
    blank = _BLANK.match(text, position)
    position = blank.end() if blank is not None else position
    hint = next(hint for pattern, hint in hints if re.compile(pattern).match(text, position))
    excerpt = text[max(0, position - 60) : position] + "⟨here⟩" + text[position : position + 60]
    return ParseError(f"Failed to parse expression at character {position + 1} ({hint}): {excerpt}")
