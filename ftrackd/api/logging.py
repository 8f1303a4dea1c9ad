"""Logging in the manner of the official client."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


class LazyLogMessage:
    """A message that is formatted only when a handler wants it; usually imported as ``L``.

    `message` is a :meth:`str.format` template for the further arguments.
    """

    def __init__(self, message: str, *args: Any, **kwargs: Any) -> None:
        self.message = message
        self.args = args
        self.kwargs = kwargs

    def __str__(self) -> str:
        return self.message.format(*self.args, **self.kwargs)


def deprecation_warning(message: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Return a decorator that gives a PendingDeprecationWarning `message` at every call."""

    def decorator(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def warn_and_call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            warnings.warn(message, PendingDeprecationWarning, stacklevel=2)
            return function(*args, **kwargs)

        return warn_and_call

    return decorator
