"""JSON in and out: orjson where it can, the standard library where orjson will not.

orjson refuses what the standard library accepts: ``NaN`` and ``Infinity`` literals, lone surrogates,
integers of more than 64 bits, keys that are not strings, deep nesting. One odd string must not lose an
event, so such input takes the slow way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

_PASSTHROUGH = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_SORTED = _PASSTHROUGH | orjson.OPT_SORT_KEYS

#: What orjson reads from an integer too long for it is a float of at least this size.
_BEYOND_64_BITS = float(2**63)
_LONG_INTEGER = re.compile(rb"(?<![\d.eE])-?\d{19,}(?![\d.eE])")


def loads(text: bytes | bytearray | memoryview | str) -> Any:
    """Return the value that `text` spells; ValueError when it is not JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _loads_slowly(text)


def loads_exactly(text: bytes | str) -> Any:
    """Return the value that `text` spells, integers of any length included.

    Slower than :func:`loads`, which reads an integer of more than 64 bits as a float; for small texts
    whose numbers are handed on unchanged.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if _LONG_INTEGER.search(raw):
        return _loads_slowly(text)
    return loads(text)


def _loads_slowly(text: bytes | bytearray | memoryview | str) -> Any:
    if not isinstance(text, str):
        text = bytes(text).decode("utf-8", "surrogatepass")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("The JSON text is nested too deeply.") from error


def dumps(obj: Any, default: Callable[[Any], Any] | None = None, sort_keys: bool = False) -> bytes:
    """Return `obj` as compact UTF-8 JSON.

    `default` is asked for a replacement of every value that JSON does not know; dates and dataclasses
    reach it too. TypeError when it knows none either. Numbers that are not finite become null.
    """
    try:
        return orjson.dumps(obj, default, _SORTED if sort_keys else _PASSTHROUGH)
    except TypeError:
        # orjson's error is a TypeError for all that it refuses; the standard library raises again where
        # that is deserved.
        text = json.dumps(obj, default=default, sort_keys=sort_keys, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass")
