"""How an outcome becomes an HTTP answer: results, error objects and status codes.

The body of an error is ``{"exception", "content", "error_code"}``, always JSON: an error page of another
kind makes the Python client raise a bare decoding error. Without strict mode errors answer 200, because
some clients treat any other status as opaque.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response

from ftrackd.sandbox import json_text
from ftrackd.sandbox.errors import PermissionError, RequestError, ValidationError

_logger = logging.getLogger(__name__)


class InvalidCredentialsError(RequestError):
    """The user or the API key is not valid."""

    exception = "InvalidCredentialsError"
    error_code = "api_credentials_invalid"


class InvalidActionError(RequestError):
    """No such action; clients read "not supported by this server" from the literal text."""

    exception = "Exception"

    def __init__(self, action: object) -> None:
        """Name the *action*, in the form that clients match."""
        super().__init__(f"Invalid action u'{action}'")


class MalformedRequestError(RequestError):
    """The body is no batch of operations."""

    exception = "MalformedRequestError"
    error_code = "malformed_request"


class FileMissingError(RequestError):
    """A component has no bytes in this server's store."""

    exception = "NotFoundError"
    error_code = "not_found"


_STATUS: Final[tuple[tuple[type[RequestError], int], ...]] = (
    (InvalidCredentialsError, 401),
    (PermissionError, 403),
    (FileMissingError, 404),
    (ValidationError, 422),
    (RequestError, 400),
)

INTERNAL_ERROR_STATUS: Final = 500


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error as it is answered: the JSON object, and the status for strict mode."""

    body: dict[str, Any]
    status: int


def describe_error(error: Exception) -> ErrorReply:
    """Return the answer for *error*; one that is not meant for clients is logged with its traceback."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            content = f"{error.operation}: {error}" if error.operation else str(error)
            body = {"exception": error.exception, "content": content, "error_code": error.error_code}
            return ErrorReply(body, status)
    _logger.error("A request failed inside the sandbox.", exc_info=error)
    content = f"The sandbox failed: {type(error).__name__}: {error}"
    return ErrorReply(
        {"exception": "InternalServerError", "content": content, "error_code": "internal_error"},
        INTERNAL_ERROR_STATUS,
    )


def is_strict(headers: Mapping[str, str]) -> bool:
    """Return whether the client asks for errors as HTTP status codes."""
    return headers.get("ftrack-strict-api", "").strip().lower() == "true"


def json_response(value: Any, status: int = 200) -> Response:
    """Return *value* as a JSON response."""
    return Response(json_text.encode(value), status, media_type="application/json")
