"""Reduce the arguments offered to ``register`` to those that its signature takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ReducedArguments:
    """What to call ``register`` with, and what had to be left out."""

    positional: tuple[Any, ...]
    keywords: dict[str, Any]
    dropped_positional: int
    dropped_keywords: tuple[str, ...]

    @property
    def is_reduced(self) -> bool:
        """Whether anything that was offered is not passed."""
        return bool(self.dropped_positional or self.dropped_keywords)

    def describe(self) -> str:
        """Name the arguments left out, for a warning; empty when there are none."""
        parts = []
        if self.dropped_positional:
            parts.append(f"{self.dropped_positional} positional")
        if self.dropped_keywords:
            parts.append("keyword " + ", ".join(repr(name) for name in self.dropped_keywords))
        return " and ".join(parts)


def reduce_arguments(
    function: Callable[..., Any], positional: Sequence[Any], keywords: Mapping[str, Any]
) -> ReducedArguments:
    """Return *positional* and *keywords* cut down to what *function* accepts.

    Too many positional arguments are cut at the end, so a ``register()`` without parameters is called with
    none. Keywords go to every parameter that can take them and is not already filled by position: with a
    default, without one, or keyword-only. With ``**kwargs`` all of them are passed. A decorator's
    ``(*args, **kwargs)`` is looked through when it was made with :func:`functools.wraps`.
    """
    parameters = _parameters(function)
    kinds = [parameter.kind for parameter in parameters]
    places = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        passed = tuple(positional)
    else:
        passed = tuple(positional[: len(places)])
    filled = {parameter.name for parameter in places[: len(passed)]}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        names_only = {parameter.name for parameter in places if parameter.kind is parameter.POSITIONAL_ONLY}
        accepted = {name for name in keywords if name not in filled - names_only}
    else:
        accepted = {
            parameter.name
            for parameter in parameters
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            and parameter.name not in filled
        }
    return ReducedArguments(
        positional=passed,
        keywords={name: value for name, value in keywords.items() if name in accepted},
        dropped_positional=len(positional) - len(passed),
        dropped_keywords=tuple(name for name in keywords if name not in accepted),
    )


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    signature = inspect.signature(function, follow_wrapped=False)
    parameters = list(signature.parameters.values())
    kinds = {parameter.kind for parameter in parameters}
    if kinds == {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} and hasattr(
        function, "__wrapped__"
    ):
        return list(inspect.signature(function).parameters.values())
    return parameters
