"""Subscription and target expressions: parsed once, matched against many events.

``expression := or``, ``or := and {"or" and}``, ``and := not {"and" not}``, ``not := {"not"} primary`` and
``primary := "(" expression ")" | FIELD OPERATOR VALUE``. Keywords ignore case, a backslash in a quoted
value is kept, values are always text. The server is at least as permissive as both official clients: a
value that ends in ``*`` matches anywhere in a text (the Python client's reading; the JavaScript client's
prefix is a part of it), and what makes the Python client raise (an order comparison with a number, a
wildcard against nothing) is false here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

MAXIMUM_DEPTH: Final = 100

Predicate: TypeAlias = Callable[[Mapping[str, Any]], bool]

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<parenthesis>[()])
      | (?P<field>[A-Za-z0-9_.]+)\s*(?P<operator>!=|>=|<=|=|>|<)\s*
        (?:"(?P<double>(?:[^"\\\n]|\\[^\n]|"")*+|[^"\n]*)"
          |'(?P<single>(?:[^'\\\n]|\\[^\n]|'')*+|[^'\n]*)'
          |(?P<bare>[A-Za-z0-9\-_,./*@+]+))
      | (?P<keyword>(?i:and|or|not)\b)
    )""",
    re.VERBOSE,
)

_MISSING: Final = object()


class ExpressionError(ValueError):
    """An expression cannot be parsed."""


class Expression:
    """A parsed expression: call :meth:`matches` with a candidate mapping.

    ``topics`` holds the literal topics of which the candidate must have one, or None when the expression
    does not fix the topic; a router uses it as an index.
    """

    __slots__ = ("_predicate", "text", "topics")

    def __init__(self, text: str, predicate: Predicate, topics: frozenset[str] | None) -> None:
        """Bind the *predicate* compiled from *text*."""
        self.text = text
        self.topics = topics
        self._predicate = predicate

    def matches(self, candidate: Mapping[str, Any]) -> bool:
        """Return whether *candidate* (an event, or subscriber metadata) fulfils the expression."""
        return self._predicate(candidate)


def parse(text: str) -> Expression:
    """Return the expression in *text*; raise :class:`ExpressionError` naming the position of the mistake."""
    parser = _Parser(text)
    predicate, topics = parser.parse()
    return Expression(text, predicate, topics)


_Node: TypeAlias = tuple[Predicate, frozenset[str] | None]


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._tokenize(text)
        self._index = 0
        self._depth = 0

    @staticmethod
    def _tokenize(text: str) -> list[re.Match[str]]:
        tokens: list[re.Match[str]] = []
        position = 0
        end = len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                raise ExpressionError(f"Cannot read {text[position : position + 40]!r} at {position}.")
            tokens.append(match)
            position = match.end()
        return tokens

    def parse(self) -> _Node:
        if not self._tokens:
            raise ExpressionError("The expression is empty.")
        node = self._or()
        if self._index < len(self._tokens):
            raise ExpressionError(f"Expected 'and' or 'or' at {self._position()}.")
        return node

    def _position(self) -> int:
        return self._tokens[self._index].start() if self._index < len(self._tokens) else len(self._text)

    def _take(self, group: str, value: str) -> bool:
        if self._index < len(self._tokens):
            found = self._tokens[self._index].group(group)
            if found is not None and found.lower() == value:
                self._index += 1
                return True
        return False

    def _or(self) -> _Node:
        self._depth += 1
        if self._depth > MAXIMUM_DEPTH:
            raise ExpressionError(f"More than {MAXIMUM_DEPTH} levels of parentheses.")
        nodes = [self._and()]
        while self._take("keyword", "or"):
            nodes.append(self._and())
        self._depth -= 1
        if len(nodes) == 1:
            return nodes[0]
        predicates = [predicate for predicate, _ in nodes]
        topics: frozenset[str] | None = frozenset()
        for _, fixed in nodes:
            topics = None if topics is None or fixed is None else topics | fixed
        return (lambda candidate: any(predicate(candidate) for predicate in predicates)), topics

    def _and(self) -> _Node:
        nodes = [self._not()]
        while self._take("keyword", "and"):
            nodes.append(self._not())
        if len(nodes) == 1:
            return nodes[0]
        predicates = [predicate for predicate, _ in nodes]
        topics = next((fixed for _, fixed in nodes if fixed is not None), None)
        return (lambda candidate: all(predicate(candidate) for predicate in predicates)), topics

    def _not(self) -> _Node:
        negated = False
        while self._take("keyword", "not"):
            negated = not negated
        predicate, topics = self._primary()
        if negated:
            return (lambda candidate: not predicate(candidate)), None
        return predicate, topics

    def _primary(self) -> _Node:
        if self._take("parenthesis", "("):
            node = self._or()
            if not self._take("parenthesis", ")"):
                raise ExpressionError(f"Expected ')' at {self._position()}.")
            return node
        if self._index >= len(self._tokens) or self._tokens[self._index].group("field") is None:
            raise ExpressionError(f"Expected a condition such as topic=ftrack.update at {self._position()}.")
        token = self._tokens[self._index]
        self._index += 1
        value = next(
            text
            for text in (token.group("double"), token.group("single"), token.group("bare"))
            if text is not None
        )
        return _condition(token.group("field"), token.group("operator"), value)


def _condition(field: str, operator: str, value: str) -> _Node:
    """Return the predicate of one condition."""
    path = field.split(".")
    compare = _comparison(operator, value)

    def predicate(candidate: Mapping[str, Any]) -> bool:
        found: Any = candidate
        for key in path:
            if not isinstance(found, Mapping):
                return False
            found = found.get(key, _MISSING)
            if found is _MISSING:
                return False
        return compare(found)

    fixes_topic = field == "topic" and operator == "=" and not value.endswith("*")
    return predicate, frozenset((value,)) if fixes_topic else None


def _comparison(operator: str, value: str) -> Callable[[Any], bool]:
    """Return the comparison of a candidate's value with *value*."""
    if operator == "=" and value.endswith("*"):
        part = value[:-1]
        return lambda found: isinstance(found, (str, list, dict)) and part in found
    if operator == "=":
        return lambda found: bool(found == value)
    if operator == "!=":
        return lambda found: bool(found != value)
    if operator == ">=":
        return lambda found: isinstance(found, str) and found >= value
    if operator == "<=":
        return lambda found: isinstance(found, str) and found <= value
    if operator == ">":
        return lambda found: isinstance(found, str) and found > value
    return lambda found: isinstance(found, str) and found < value
