"""Values of the wire in the form they are stored, and back.

The forms are described in :mod:`ftrackd.sandbox.schema.model`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from ftrackd.sandbox import json_text
from ftrackd.sandbox.errors import ValidationError
from ftrackd.sandbox.schema import Scalar, ValueType

_TRUE: Final = frozenset(["true", "1", "yes"])
_FALSE: Final = frozenset(["false", "0", "no", ""])
_INTEGER_LIMIT: Final = 2**63


def untag(value: Any) -> Any:
    """A tagged date-time or date as its text; anything else as it is."""
    if isinstance(value, Mapping) and value.get("__type__") in ("datetime", "date"):
        return value.get("value")
    return value


def reference_key(value: Any) -> Any:
    """The id in a reference to an entity; anything else as it is.

    Raises :class:`ValidationError` for a reference without id.
    """
    if isinstance(value, Mapping) and "__entity_type__" in value:
        if not isinstance(value.get("id"), str | int):
            raise ValidationError(f"A reference to {value['__entity_type__']} has no id.")
        return value["id"]
    return value


def id_text(what: str, value: Any) -> str | None:
    """The id in *value*, a reference or a bare id; raises :class:`ValidationError` that names *what*."""
    key = reference_key(value)
    if key is None:
        return None
    if not isinstance(key, str | int):
        raise ValidationError(f"{what} cannot be {value!r}: an id is needed.")
    stored: str = store_scalar(what, Scalar("id", column="id"), key)["id"]
    return stored


def store_scalar(owner: str, attribute: Scalar, value: Any) -> dict[str, Any]:
    """Columns and values that *value* is stored as.

    Raises :class:`ValidationError` that names *owner*, attribute and value.
    """
    if attribute.variable is not None:
        return store_variable(attribute.variable.json, value)
    value = untag(reference_key(value)) if attribute.value_type is not ValueType.OBJECT else value
    if value is None:
        return {attribute.column: None}
    try:
        stored = _CONVERT[attribute.value_type](value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValidationError(
            f"{owner}.{attribute.name} cannot be {value!r}: {error} is needed."
            if isinstance(error, _NeededError)
            else f"{owner}.{attribute.name} cannot be {value!r}: {error}"
        ) from error
    if attribute.choices and stored not in attribute.choices:
        raise ValidationError(
            f"{owner}.{attribute.name} cannot be {value!r}: it is one of {', '.join(attribute.choices)}."
        )
    return {attribute.column: stored}


def store_variable(column: str, value: Any) -> dict[str, Any]:
    """The three columns of a variable value."""
    value = plain(value)
    if value is None:
        return {column: None, f"{column}_text": None, f"{column}_number": None}
    text = variable_text(value)
    return {
        column: json_text.encode(value).decode("utf-8"),
        f"{column}_text": text,
        f"{column}_number": _number_or_none(value, text),
    }


def plain(value: Any) -> Any:
    """*value* with every tagged date-time normalised, in lists too, still tagged."""
    if isinstance(value, Mapping) and value.get("__type__") in ("datetime", "date"):
        return {"__type__": "datetime", "value": normalise_datetime(value.get("value"))}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationError(f"A value cannot be {value!r}: a finite number is needed.")
    return value


def variable_text(value: Any) -> str | None:
    """The text form of a variable value, as it stands in ``ftrack.update``."""
    if value is None:
        return None
    value = untag(value)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple):
        return ", ".join(variable_text(member) or "" for member in value)
    if isinstance(value, Mapping):
        return json_text.encode(value).decode("utf-8")
    return str(value)


def load_variable(stored: str | None) -> Any:
    """The value in the JSON column of a variable attribute."""
    return None if stored is None else json_text.decode(stored)


def normalise_datetime(value: Any) -> str:
    """Any ISO date or date-time as naive UTC with seconds; raises :class:`ValidationError`."""
    try:
        return _to_datetime(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValidationError(f"{value!r} is no date-time: an ISO 8601 text is needed.") from error


class _NeededError(ValueError):
    """Says what would have been right."""


def _to_datetime(value: Any) -> str:
    if not isinstance(value, str):
        raise _NeededError("a date-time in ISO 8601 form")
    try:
        if len(value) == 10:
            moment = datetime.combine(date.fromisoformat(value), datetime.min.time())
        else:
            moment = datetime.fromisoformat(value)
    except ValueError:
        raise _NeededError("a date-time in ISO 8601 form") from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.replace(microsecond=0).isoformat()


def _to_text(value: Any) -> str:
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise _NeededError("valid Unicode text") from None
        if "\x00" in value:
            raise _NeededError("text without NUL characters")
        return value
    raise _NeededError("text")


def _to_integer(value: Any) -> int:
    if isinstance(value, str):
        value = value.strip()
        try:
            value = int(value)
        except ValueError:
            value = _to_number(value)
    if isinstance(value, float):
        if not value.is_integer():
            raise _NeededError("a whole number")
        value = int(value)
    if not isinstance(value, int) or abs(value) >= _INTEGER_LIMIT:
        raise _NeededError("a whole number of 64 bits")
    return int(value)


def _to_number(value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        raise _NeededError("a number") from None
    if not math.isfinite(number):
        raise _NeededError("a finite number")
    return number


def _to_boolean(value: Any) -> bool:
    if isinstance(value, str):
        lowered = value.strip().lower()
        if lowered in _TRUE:
            return True
        if lowered in _FALSE:
            return False
        raise _NeededError("true or false")
    if isinstance(value, int | float):
        return bool(value)
    raise _NeededError("true or false")


def _to_json(value: Any) -> str:
    return json_text.encode(value).decode("utf-8")


def _number_or_none(value: Any, text: str | None) -> float | None:
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, str) and text:
        try:
            number = float(text)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    return None


_CONVERT: Final = {
    ValueType.STRING: _to_text,
    ValueType.INTEGER: _to_integer,
    ValueType.NUMBER: _to_number,
    ValueType.BOOLEAN: _to_boolean,
    ValueType.DATETIME: _to_datetime,
    ValueType.OBJECT: _to_json,
}
