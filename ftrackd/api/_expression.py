"""Pieces of the query language, written safely."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

# The language resolves \" and \' and leaves every other backslash alone, so only quotes are escaped, and
# those single quotes that a backslash before them would turn into an escape.
_NEEDS_ESCAPE = re.compile(r"\"|(?<=\\)'")


def quoted(value: Any) -> str:
    """Return the text of `value` as a string of the query language.

    ValueError for text that ends with a backslash, which the language cannot express: it would escape the
    quote.
    """
    text = str(value)
    if text.endswith("\\"):
        raise ValueError(f"{text!r} cannot stand in a query: it ends with a backslash.")
    return '"' + _NEEDS_ESCAPE.sub(r"\\\g<0>", text) + '"'


def is_expressible(values: Iterable[Any]) -> bool:
    """Return whether each of the `values` can stand in a query."""
    return not any(str(value).endswith("\\") for value in values)


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
