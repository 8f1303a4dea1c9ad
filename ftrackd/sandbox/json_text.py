"""JSON of the wire: fast for what is usual, complete for what is odd.

Numbers that are not finite and lone surrogates are legal for the clients' encoders but not for orjson. One
odd string must not lose an event, so those documents take the slower way through the standard library.
Integers of more than 64 bits are read as floating point numbers, as JavaScript reads them.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def decode(document: bytes | str) -> Any:
    """Return the value of a JSON *document*; raise :class:`ValueError` when it is none."""
    try:
        return orjson.loads(document)
    except orjson.JSONDecodeError:
        try:
            return json.loads(document)
        except RecursionError as error:
            raise ValueError("The document is nested too deeply.") from error


def encode(value: Any) -> bytes:
    """Return the JSON document of *value* in UTF-8; lone surrogates are escaped."""
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, TypeError):
        return json.dumps(value).encode("ascii")
