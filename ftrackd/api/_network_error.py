"""Network failures as errors of ours that requests' own ``except`` clauses still catch.

Scripts written for the official client catch ``requests.ConnectionError`` because that client lets it
through. Each error here is therefore both: a :class:`ftrackd.api.exception.NetworkError` and the class of
requests that caused it. `__cause__` holds the original; `sent` tells whether the request may have reached
the server.
"""

from __future__ import annotations

from typing import Any

import requests
import urllib3.exceptions

from ftrackd.api import exception


class ServerRequestError(exception.NetworkError, requests.exceptions.RequestException):
    """A request could not be made or its answer could not be read.

    `passing` is False when trying again cannot help, such as for a URL that is none or a certificate that
    is not trusted. `sent` is False only when it is certain that the server never saw the request (refused
    connection, unknown host). `request` and `response` are those of requests, when there are any.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        request: Any = None,
        response: Any = None,
        sent: bool = True,
        passing: bool = True,
    ) -> None:
        exception.Error.__init__(self, message)
        self.request = request
        self.response = response
        self.sent = sent
        self.passing = passing


class ServerConnectionError(ServerRequestError, requests.exceptions.ConnectionError):
    """The connection to the server failed or broke."""


class ServerTimeoutError(ServerRequestError, requests.exceptions.Timeout):
    """The server did not connect or answer within the time allowed."""


def translate(error: requests.exceptions.RequestException, url: str) -> ServerRequestError:
    """Return our error for what requests raised at `url`; the caller raises it ``from error``."""
    error_class = ServerRequestError
    if isinstance(error, requests.exceptions.Timeout):
        error_class = ServerTimeoutError
    elif isinstance(error, requests.exceptions.ConnectionError):
        error_class = ServerConnectionError
    message = f"No answer from {url}: {_plain_reason(error)}"
    return error_class(
        message,
        request=error.request,
        response=error.response,
        sent=not _failed_to_connect(error),
        passing=not isinstance(error, ValueError) and "CERTIFICATE_VERIFY_FAILED" not in str(error),
    )


def missing_certificates(error: OSError, url: str) -> ServerRequestError:
    """Return our error for certificates that cannot be read; the caller raises it ``from error``."""
    return ServerRequestError(
        f"No request to {url} is possible; check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE: {error}",
        sent=False,
        passing=False,
    )


def _plain_reason(error: BaseException) -> str:
    """Return what the system said in the end, without the wrapping of the libraries on the way."""
    seen: set[int] = set()
    found: Any = error
    while isinstance(found, BaseException) and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        inner = [getattr(found, "reason", None), *found.args, found.__cause__, found.__context__]
        found = next(
            (item for item in inner if isinstance(item, BaseException) and id(item) not in seen), None
        )
    return str(error)


def _failed_to_connect(error: requests.exceptions.RequestException) -> bool:
    """Return whether `error` came up before there was a connection, so that nothing can have been sent."""
    cause: Any = error.args[0] if error.args else None
    # urllib3 wraps the failure to connect once more when it gives up trying.
    cause = getattr(cause, "reason", None) or cause
    never = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    return isinstance(cause, never) or isinstance(error, requests.exceptions.ConnectTimeout)
