"""What an exception of a callback means for its delivery."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Final

from ftrackd.api.exception import NetworkError, ServerError

_TRANSIENT_STATUSES: Final = frozenset({429, 502, 503, 504})
_TEXT_LIMIT: Final = 20_000


def is_transient(error: BaseException) -> bool:
    """Return whether trying the delivery again may help: a connection, a timeout, a gateway's 502 to 504.

    The errors that *error* was raised from, or while handling, are looked at as well.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if _is_transient_itself(current):
            return True
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return False


def describe(errors: Sequence[BaseException]) -> str:
    """Return the tracebacks of *errors*, shortened in the middle when very long."""
    text = "\n".join("".join(traceback.format_exception(error)).rstrip() for error in errors)
    if len(text) > _TEXT_LIMIT:
        half = _TEXT_LIMIT // 2
        text = f"{text[:half]}\n… [{len(text) - _TEXT_LIMIT} characters left out] …\n{text[-half:]}"
    return text


def _is_transient_itself(error: BaseException) -> bool:
    if isinstance(error, NetworkError | ConnectionError | TimeoutError):
        return True
    if isinstance(error, ServerError):
        return error.status in _TRANSIENT_STATUSES
    # requests is not imported for this: where its errors occur it has been.
    names = {f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__}
    if names & {"requests.exceptions.ConnectionError", "requests.exceptions.Timeout"}:
        return True
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None) in _TRANSIENT_STATUSES
