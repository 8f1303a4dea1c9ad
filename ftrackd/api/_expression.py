"""Pieces of the query language, written safely."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

# The language resolves \" and \' and leaves every other backslash alone, so only quotes are escaped, and
# those single quotes that a backslash before them would turn into an escape.
_NEEDS_ESCAPE = re.compile(r"\"|(?<=\\)'")

_NEEDS_QUOTES = re.compile(r"[\s,()\"']")


def quoted(value: Any) -> str:
    """Return the text of `value` as the query language says it, in quotes whenever that is possible.

    ValueError for text that has no form in it: see :func:`is_expressible`.
    """
    text = str(value)
    if not _is_expressible(text):
        raise ValueError(
            f"{text!r} cannot stand in a query: it ends with a backslash, and the rest of it needs quotes."
        )
    if text.endswith("\\"):
        return text
    return '"' + _NEEDS_ESCAPE.sub(r"\\\g<0>", text) + '"'


def is_expressible(values: Iterable[Any]) -> bool:
    """Return whether each of the `values` can stand in a query.

    A backslash at the end would escape the closing quote, so such text must do without quotes; blanks,
    commas, parentheses and quotes cannot.
    """
    return all(_is_expressible(str(value)) for value in values)


def _is_expressible(text: str) -> bool:
    return not (text.endswith("\\") and _NEEDS_QUOTES.search(text))


def select(projections: str, source: str, condition: str = "") -> str:
    """Return the query for `projections` from `source`, a type with or without a condition of its own."""
    words = ["select", projections, "from", source]
    return " ".join([*words, "where", condition] if condition else words)


def primary_key_is(names: Sequence[str], values: Sequence[Any]) -> str:
    """Return the condition that the primary key attributes `names` have `values`."""
    conditions = [f"{name} is {quoted(value)}" for name, value in zip(names, values, strict=True)]
    return " and ".join(conditions)


def primary_key_in(names: Sequence[str], keys: Iterable[Sequence[Any]]) -> str:
    """Return the condition that the primary key attributes `names` have one of the `keys`."""
    if len(names) == 1:
        return f"{names[0]} in ({', '.join(quoted(key[0]) for key in keys)})"
    return " or ".join(f"({primary_key_is(names, key)})" for key in keys)
