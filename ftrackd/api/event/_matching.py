"""The tests that conditions and their combinations compile to: closures over plain mappings.

A closure never raises on a value that JSON can carry. What a condition means:

* A dotted key walks nested mappings. A key that is missing makes the condition false, whatever the operator.
* Text compares with text. A number compares with the value as a number when the value is written as one, and
  is unequal to it otherwise. Booleans, null, lists and mappings are unequal to every value.
* ``=`` with a value that ends in ``*`` asks whether the rest occurs in the text, or is a member of the list
  or mapping. That is the official client's reading; its documentation speaks of a prefix, which this
  includes.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final

#: Decides whether a mapping (an event, or the metadata of a subscriber) matches.
Test = Callable[[Any], bool]

#: What subscripting may raise when a key is missing or a step of the path is no mapping.
_NO_VALUE = (KeyError, TypeError, IndexError, AttributeError)

#: Stands for a value that could not be read.
UNREADABLE: Final = object()

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

#: More digits than any number that an event carries; keeps the conversion's cost bounded.
_LONGEST_NUMBER = 400

_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def number_of(value: str) -> int | float | None:
    """Return *value* as a number when it is written as one, else None."""
    if len(value) > _LONGEST_NUMBER or not _NUMBER.fullmatch(value):
        return None
    try:
        return int(value)
    except ValueError:
        return float(value)


def condition_test(key: str, symbol: str, value: str) -> Test:
    """Return the test for one condition, *symbol* being one of ``= != > >= < <=``."""
    path = tuple(key.split("."))
    if symbol == "=":
        if value.endswith("*"):
            return _reached(path, _wildcard(value[:-1]))
        return _equality(path, value)
    if symbol == "!=":
        differs_oddly = _odd_equality(value)
        return _reached(
            path,
            lambda actual: actual != value if actual.__class__ is str else not differs_oddly(actual),
        )
    return _reached(path, _ordering(_ORDERINGS[symbol], value))


def all_test(tests: Sequence[Test]) -> Test:
    """Return a test that is true when all *tests* are."""
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        first, second = tests
        return lambda candidate: first(candidate) and second(candidate)
    together = tuple(tests)

    def every(candidate: Any) -> bool:
        for test in together:  # noqa: SIM110  (a loop is twice as fast as all() over a generator)
            if not test(candidate):
                return False
        return True

    return every


def any_test(tests: Sequence[Test]) -> Test:
    """Return a test that is true when at least one of *tests* is."""
    if len(tests) == 1:
        return tests[0]
    together = tuple(tests)

    def some(candidate: Any) -> bool:
        for test in together:  # noqa: SIM110  (a loop is twice as fast as any() over a generator)
            if test(candidate):
                return True
        return False

    return some


def not_test(test: Test) -> Test:
    """Return a test that is true when *test* is not."""
    return lambda candidate: not test(candidate)


def value_at(candidate: Any, path: Sequence[str]) -> Any:
    """Return the value at *path*, None when there is none, UNREADABLE when the access fails."""
    try:
        for step in path:
            candidate = candidate[step]
    except _NO_VALUE:
        return None
    except Exception:  # noqa: BLE001  (contains the objects inside local events)
        return UNREADABLE
    return candidate


def _equality(path: tuple[str, ...], value: str) -> Test:
    # Equality is nearly every condition of nearly every subscription, hence the unrolled paths.
    odd = _odd_equality(value)
    if len(path) == 1:
        (key,) = path

        def equal_1(candidate: Any) -> bool:
            try:
                actual = candidate[key]
            except _NO_VALUE:
                return False
            return actual == value if actual.__class__ is str else odd(actual)

        return equal_1
    if len(path) == 2:
        outer, inner = path

        def equal_2(candidate: Any) -> bool:
            try:
                actual = candidate[outer][inner]
            except _NO_VALUE:
                return False
            return actual == value if actual.__class__ is str else odd(actual)

        return equal_2
    return _reached(path, lambda actual: actual == value if actual.__class__ is str else odd(actual))


def _reached(path: tuple[str, ...], decide: Test) -> Test:
    """Return a test that lets `decide` judge what is at `path`; unrolled for the usual lengths."""
    if len(path) == 1:
        return _reached_1(*path, decide)
    if len(path) == 2:
        return _reached_2(*path, decide)
    if len(path) == 3:
        return _reached_3(*path, decide)

    def reach(candidate: Any) -> bool:
        try:
            for step in path:
                candidate = candidate[step]
        except _NO_VALUE:
            return False
        return decide(candidate)

    return reach


def _reached_1(key: str, decide: Test) -> Test:
    def reach(candidate: Any) -> bool:
        try:
            actual = candidate[key]
        except _NO_VALUE:
            return False
        return decide(actual)

    return reach


def _reached_2(outer: str, inner: str, decide: Test) -> Test:
    def reach(candidate: Any) -> bool:
        try:
            actual = candidate[outer][inner]
        except _NO_VALUE:
            return False
        return decide(actual)

    return reach


def _reached_3(outer: str, middle: str, inner: str, decide: Test) -> Test:
    def reach(candidate: Any) -> bool:
        try:
            actual = candidate[outer][middle][inner]
        except _NO_VALUE:
            return False
        return decide(actual)

    return reach


def _is_number(actual: Any) -> bool:
    return isinstance(actual, (int, float)) and not isinstance(actual, bool)


def _odd_equality(value: str) -> Test:
    number = number_of(value)

    def equal(actual: Any) -> bool:
        if isinstance(actual, str):
            return str.__eq__(actual, value)
        return number is not None and _is_number(actual) and bool(actual == number)

    return equal


def _wildcard(part: str) -> Test:
    def contains(actual: Any) -> bool:
        if actual.__class__ is str:
            return part in actual
        if isinstance(actual, (str, Sequence, Set, Mapping)) and not isinstance(actual, (bytes, bytearray)):
            return part in actual
        return False

    return contains


def _ordering(compare: Callable[[Any, Any], bool], value: str) -> Test:
    number = number_of(value)

    def ordered(actual: Any) -> bool:
        if isinstance(actual, str):
            return compare(actual, value)
        return number is not None and _is_number(actual) and compare(actual, number)

    return ordered
