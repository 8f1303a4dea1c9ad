"""What the server's answer to a request means: data, or which error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ftrackd.api import _json, exception

_AUTHENTICATION: Final = frozenset({"InvalidCredentialsError", "AuthenticationError"})
_PERMISSION: Final = frozenset({"FTAuthenticationError", "PermissionError", "PermissionDeniedError"})

_MARKUP = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_EXCERPT_LENGTH: Final = 300


class ServerAuthenticationError(exception.ServerError, exception.AuthenticationError):
    """The server refused the user or the API key."""


class ServerPermissionDeniedError(exception.ServerError, exception.PermissionDeniedError):
    """The server refused what the user asked for."""


def decode(body: bytes, status: int, reason: str, url: str) -> Any:
    """Return the decoded JSON `body` of an answer with the HTTP `status` and `reason` from `url`.

    ServerError when it is an error, however it is put: an object with ``exception``, an HTTP status, or a
    page of text that some proxy made.
    """
    try:
        answer = _json.loads(body)
    except ValueError:
        raise _not_json(body, status, reason, url) from None
    if isinstance(answer, dict) and "exception" in answer:
        raise _reported(answer, status)
    if status >= 400:
        raise exception.ServerError(
            f"Server reported error: {status} {reason} for url: {url}",
            content=body.decode("utf-8", "replace"),
            status=status,
        )
    return answer


def only(answers: Any, shape: type[Any]) -> Any:
    """Return the one item of `answers` to a single request, which must be of the type `shape`.

    ServerError when it is not: proxies and servers that are not up yet answer with JSON of their own.
    """
    answer = answers[0] if isinstance(answers, (list, tuple)) and answers else None
    if not isinstance(answer, shape):
        raise _unexpected(answers)
    return answer


def found(answers: Any) -> tuple[Sequence[Any], int | None]:
    """Return the rows in `answers` to a single query, and the offset of the next page or None.

    ServerError when there are none in it.
    """
    answer = only(answers, dict)
    rows = answer.get("data")
    if not isinstance(rows, (list, tuple)):
        raise _unexpected(answers)
    metadata = answer.get("metadata") or {}
    return rows, (metadata.get("next") or {}).get("offset")


def to_changes(answers: Any, requests: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return `answers` to a batch of changes, one for each of `requests`.

    ServerError when they are anything else. What some proxy says with success must not pass for the
    confirmation of a commit.
    """
    if not isinstance(answers, (list, tuple)):
        raise _unexpected(answers)
    if len(answers) != len(requests):
        raise exception.ServerError(
            f"The server answered {len(answers)} of {len(requests)} requests; whether it did them is unknown."
        )
    for answer, request in zip(answers, requests, strict=True):
        if not isinstance(answer, Mapping) or answer.get("action") != request["action"]:
            raise _unexpected(answers)
    return answers


def _unexpected(answers: Any) -> exception.ServerError:
    text = repr(answers)
    excerpt = text[:_EXCERPT_LENGTH]
    return exception.ServerError(
        f"Server reported error in unexpected format. Raw error was: {excerpt}", content=text
    )


def _reported(answer: dict[str, Any], status: int) -> exception.ServerError:
    name = str(answer["exception"])
    content = answer.get("content")
    error_code = answer.get("error_code")
    error_class: type[exception.ServerError] = exception.ServerError
    if name in _AUTHENTICATION or error_code == "api_credentials_invalid":
        error_class = ServerAuthenticationError
    elif name in _PERMISSION:
        error_class = ServerPermissionDeniedError
    return error_class(
        f"Server reported error: {name}({content})",
        exception=name,
        content=None if content is None else str(content),
        error_code=error_code,
        status=status,
    )


def _not_json(body: bytes, status: int, reason: str, url: str) -> exception.ServerError:
    text = body.decode("utf-8", "replace")
    excerpt = " ".join(_MARKUP.sub(" ", text).split())[:_EXCERPT_LENGTH]
    if status >= 400:
        message = (
            f"Server reported error: {status} {reason} for url: {url}. The answer is not from ftrack, "
            f"probably from a proxy in between: {excerpt}"
        )
    else:
        message = f"Server reported error in unexpected format. Raw error was: {excerpt}"
    return exception.ServerError(message, content=text, status=status)
