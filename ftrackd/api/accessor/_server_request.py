"""Requests for files to an ftrack server and to the storage it hands out URLs of.

Credentials go to the ftrack server only, and in headers: a redirect or an upload URL may lead to somebody
else's storage, and URLs end up in logs.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import requests

from ftrackd.api.exception import (
    AccessorOperationFailedError,
    AccessorPermissionDeniedError,
    AccessorResourceNotFoundError,
    ConnectionClosedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftrackd.api.session import Session

#: Pauses in seconds before a transfer that broke is tried again; then it has failed.
RETRY_DELAYS_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)

#: Answers that say "later" rather than "no".
RETRIED_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

_REDIRECT_LIMIT: Final = 5
_NOT_FOUND: Final = frozenset({404, 410})
_REFUSED: Final = frozenset({401, 403})


class ServerResourceNotFoundError(AccessorResourceNotFoundError, AccessorOperationFailedError):
    """The server holds no data for the component.

    Callers know this as a failed operation too, hence both bases.
    """


def external_requests(session: Session) -> requests.Session:
    """Return a requester with the proxies and certificates of *session*, but no credentials."""
    external = requests.Session()
    own = session._request
    if own is not None:
        external.verify, external.cert = own.verify, own.cert
        external.proxies, external.trust_env = own.proxies, own.trust_env
    return external


def get(
    session: Session,
    path: str,
    parameters: Mapping[str, str],
    *,
    timeout_s: float | None,
    headers: Mapping[str, str] | None = None,
) -> requests.Response:
    """Return the answer, its body not read yet, to a GET of *path* on the server of *session*.

    Raises what requests raises, and ``ConnectionClosedError`` for a closed session.
    """
    if session.closed or session._request is None:
        raise ConnectionClosedError()
    url = f"{session.server_url}{path}"
    response = _get_following(session, url, parameters, headers, timeout_s)
    if response.status_code in _REFUSED and urlsplit(response.url).netloc == urlsplit(url).netloc:
        # A server that wants the credentials of file requests in their query, as browsers send them.
        response.close()
        _hide_credentials_in_logs()
        credentials = {"username": session.api_user, "apiKey": session.api_key}
        response = _get_following(session, url, {**parameters, **credentials}, headers, timeout_s)
    return response


def _get_following(
    session: Session,
    url: str,
    parameters: Mapping[str, str],
    headers: Mapping[str, str] | None,
    timeout_s: float | None,
) -> requests.Response:
    requester: requests.Session = session._request
    origin = urlsplit(url)[:2]
    options: dict[str, Any] = {"stream": True, "timeout": timeout_s, "allow_redirects": False}
    response = requester.get(url, params=parameters, headers=headers, **options)
    for _ in range(_REDIRECT_LIMIT):
        if not response.is_redirect:
            return response
        response.close()
        url = urljoin(response.url, response.headers["location"])
        if urlsplit(url)[:2] != origin:
            requester = external_requests(session)
        response = requester.get(url, headers=headers, **options)
    response.close()
    raise requests.exceptions.TooManyRedirects(f"More than {_REDIRECT_LIMIT} redirects.", response=response)


def is_success(response: requests.Response) -> bool:
    """Return whether *response* is what was asked for; a redirect that leads nowhere is not."""
    return 200 <= response.status_code < 300


def refusal(
    operation: str, resource_identifier: str, response: requests.Response
) -> AccessorOperationFailedError:
    """Return the error for an answer that is no success, without the URL, which may hold credentials."""
    reason = f"the server answered {response.status_code} {response.reason or ''}".rstrip()
    if response.status_code in _NOT_FOUND:
        return ServerResourceNotFoundError(operation, resource_identifier, reason)
    if response.status_code in _REFUSED:
        return AccessorPermissionDeniedError(operation, resource_identifier, reason)
    return failure(operation, resource_identifier, reason)


def failure(
    operation: str, resource_identifier: str, error: BaseException | str
) -> AccessorOperationFailedError:
    """Return the error for a transfer that broke.

    Errors of requests are named by their class alone: their text repeats the URL with what is secret in it.
    """
    reason = type(error).__name__ if isinstance(error, requests.exceptions.RequestException) else error
    return AccessorOperationFailedError(
        operation,
        resource_identifier,
        reason,
        message="Could not {operation} the data of component {resource_identifier}: {error}.",
    )


class _CredentialFilter(logging.Filter):
    """Cuts the query off request lines that hold an API key."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_without_credentials(argument) for argument in record.args)
        return True


def _without_credentials(argument: object) -> object:
    if isinstance(argument, str) and "apiKey=" in argument:
        return argument.partition("?")[0]
    return argument


_credential_filter = _CredentialFilter()


def _hide_credentials_in_logs() -> None:
    # Adding a filter twice does nothing.
    logging.getLogger("urllib3.connectionpool").addFilter(_credential_filter)
