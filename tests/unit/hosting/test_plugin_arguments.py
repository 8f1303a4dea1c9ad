"""Which of the offered arguments `register` gets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.api._plugin_arguments import reduce_arguments


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Holder:
    def register(self, session, a=1):
        return session, a


@pytest.mark.parametrize(
    ("function", "positional", "keywords", "expected"),
    [
        (lambda session, **kw: (session, kw), (1,), {"a": 2, "b": 3}, (1, {"a": 2, "b": 3})),
        (lambda session: session, (1,), {"a": 2}, 1),
        (lambda session, a=0: (session, a), (1,), {"a": 2, "b": 3}, (1, 2)),
        (lambda: "none", (1,), {"a": 2}, "none"),
        (lambda first: first, (1, 2), {}, 1),
        (lambda session, *, a: (session, a), (1,), {"a": 2, "b": 3}, (1, 2)),
        (lambda session, b: (session, b), (1,), {"b": 2}, (1, 2)),
        (lambda *args: args, (1, 2), {"a": 3}, (1, 2)),
        (lambda *args, **kw: (args, kw), (1, 2), {"a": 3}, ((1, 2), {"a": 3})),
        (lambda session, **kw: (session, kw), (1,), {"session": 2, "a": 3}, (1, {"a": 3})),
        (lambda session, /, **kw: (session, kw), (1,), {"session": 2}, (1, {"session": 2})),
        (lambda session, /: session, (1,), {"session": 2}, 1),
        (Holder().register, (1,), {"a": 2, "self": 3}, (1, 2)),
        (wrapped(lambda session, a=0: (session, a)), (1,), {"a": 2, "b": 3}, (1, 2)),
    ],
)
def test_when_reduced_then_the_call_succeeds(
    function: Callable[..., Any], positional: tuple[Any, ...], keywords: dict[str, Any], expected: Any
) -> None:
    reduced = reduce_arguments(function, positional, keywords)
    assert function(*reduced.positional, **reduced.keywords) == expected


def test_when_arguments_are_dropped_then_they_are_named() -> None:
    reduced = reduce_arguments(lambda: None, (1, 2), {"a": 1, "b": 2})
    assert reduced.is_reduced
    assert reduced.describe() == "2 positional and keyword 'a', 'b'"


NAMES = st.sampled_from(["session", "a", "b", "c", "d"])


@given(
    names=st.lists(NAMES, unique=True, min_size=1),
    keyword_only=st.lists(st.sampled_from(["k", "m"]), unique=True),
    star=st.booleans(),
    positional=st.integers(0, 4),
    keywords=st.dictionaries(st.sampled_from(["session", "a", "b", "c", "d", "k", "m", "z"]), st.integers()),
)
def test_when_every_parameter_has_a_default_then_any_offer_can_be_taken(
    names: list[str], keyword_only: list[str], star: bool, positional: int, keywords: dict[str, int]
) -> None:
    parameters = ", ".join(f"{name}=None" for name in names)
    if star:
        parameters += ", *args"
    elif keyword_only:
        parameters += ", *"
    parameters += "".join(f", {name}=None" for name in keyword_only)
    function = eval(f"lambda {parameters}: True")
    reduced = reduce_arguments(function, range(positional), keywords)
    assert function(*reduced.positional, **reduced.keywords)
