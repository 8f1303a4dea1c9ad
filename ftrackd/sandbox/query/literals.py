"""Reads literals as the type of the attribute that they are compared with."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

from ftrackd.sandbox.query.errors import QueryValueError
from ftrackd.sandbox.query.tree import Value
from ftrackd.sandbox.schema.model import ValueType

_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}(?:\.0*)?")

Coerced = str | int | float | bool


def coerce(value: Value, value_type: ValueType, attribute: str, *, keep_fraction: bool = False) -> Coerced:
    """Return *value* as *value_type*, in the form in which it is stored.

    Args:
        value: A literal that is not null.
        value_type: Type of the attribute; a STRING is taken as it stands.
        attribute: Name of the attribute, for the message.
        keep_fraction: Keep parts of a second, for a comparison of size. Stored date-times have none, so an
            equality is asked without.

    Raises:
        QueryValueError: When the text is no number, boolean or date-time.
    """
    match value_type:
        case ValueType.INTEGER:
            return _integer(value, attribute)
        case ValueType.NUMBER:
            number = as_number(value.text)
            if number is None:
                raise _unreadable(value, attribute, "a number")
            return number
        case ValueType.BOOLEAN:
            boolean = as_boolean(value.text)
            if boolean is None:
                raise _unreadable(value, attribute, "True or False")
            return boolean
        case ValueType.DATETIME:
            moment = as_datetime(value.text, keep_fraction=keep_fraction)
            if moment is None:
                raise _unreadable(value, attribute, "a date such as 2026-01-31 or 2026-01-31T18:30:00")
            return moment
        case _:
            return value.text


def as_boolean(text: str) -> bool | None:
    """Return the truth value that *text* spells (true, false, 1, 0 in any case), or ``None``."""
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    return False if lowered in _FALSE else None


def as_number(text: str) -> float | None:
    """Return the finite number that *text* spells, or ``None``."""
    try:
        number = float(text)
    except ValueError:
        return None
    # float() reads "nan", "inf" and "1_000" as well, which no client means as numbers.
    return number if math.isfinite(number) and "_" not in text else None


def as_datetime(text: str, *, keep_fraction: bool = False) -> str | None:
    """Return the moment that *text* spells as ``YYYY-MM-DDTHH:MM:SS`` in UTC, or ``None``.

    ISO dates and date-times are read, with or without an offset; without one they are UTC already.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    timespec = "microseconds" if keep_fraction and moment.microsecond else "seconds"
    return moment.isoformat(timespec=timespec)


def _integer(value: Value, attribute: str) -> int:
    text = value.text.strip()
    if _INTEGER.fullmatch(text) is None:
        raise _unreadable(value, attribute, "a whole number")
    return int(text.partition(".")[0])


def _unreadable(value: Value, attribute: str, expected: str) -> QueryValueError:
    text = value.text if len(value.text) <= 60 else value.text[:57] + "..."
    return QueryValueError(f"{attribute} is compared with {expected}, not with '{text}'", value.position)
