"""The first step to the hub: an HTTP request that yields a session identifier for the socket."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from ftrackd.api.event._guard import OpeningGuard
from ftrackd.api.event.transport import TransportError, TransportRefused

if TYPE_CHECKING:
    import requests

#: How much of an answer is read; a hub's has a hundred bytes.
_ANSWER_LIMIT_BYTES: Final = 65_536
_TRANSPORTS = re.compile(r"[\w-]+(?:\s*,\s*[\w-]+)*")


class ServerDetails(NamedTuple):
    """Where the server is."""

    scheme: str
    hostname: str
    port: int | None

    @property
    def network_location(self) -> str:
        """Return ``host`` or ``host:port``."""
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{host}:{self.port}" if self.port is not None else host

    @property
    def url(self) -> str:
        """Return ``scheme://host[:port]``."""
        return f"{self.scheme}://{self.network_location}"


class SocketIoSession(NamedTuple):
    """What the handshake answers; `heartbeatTimeout` is the server's text for a number of seconds."""

    id: str
    heartbeatTimeout: str  # noqa: N815  (the official client's name)
    supportedTransports: list[str]  # noqa: N815


def request_session(
    server: ServerDetails,
    credentials: Mapping[str, str],
    headers: Mapping[str, str],
    cookies: Mapping[str, str],
    guard: OpeningGuard,
) -> SocketIoSession:
    """Ask `server` for a session, for as long as `guard` allows.

    `credentials` are headers too, kept apart because they must go nowhere else.

    Raises:
        TransportRefused: when the server refuses the credentials.
        TransportError: when it cannot be reached or does not answer as a hub does.
    """
    import requests  # here, because importing it takes longer than everything else in the client

    url = f"{server.url}/socket.io/1/"
    try:
        with requests.Session() as client:
            guard.watch_requests(client)
            with client.get(
                url,
                headers={**headers, **credentials},
                cookies=dict(cookies),
                timeout=guard.timeout_s,
                # The credentials must not follow a redirect to another host.
                allow_redirects=False,
                stream=True,
            ) as response:
                body = _beginning(response)
    # An OSError that is none of requests' own: a file of certificates that does not exist.
    except (requests.exceptions.RequestException, ValueError, OSError) as error:
        raise TransportError(f"Cannot reach the event hub at {url}: {error!s:.500}") from error
    if response.status_code in (401, 403):
        raise TransportRefused(
            f"The event hub at {url} refuses the credentials of {credentials.get('ftrack-user', '')!r} "
            f"(HTTP {response.status_code}): check the API user and API key."
        )
    if response.is_redirect:
        raise TransportError(
            f"{url} redirects to {response.headers.get('location', '')!r:.300}: "
            "give that server's URL instead."
        )
    if response.status_code != 200:
        raise TransportError(f"The event hub at {url} answers HTTP {response.status_code}.")
    return _session_from(body.decode("utf-8", "replace"), url)


def _beginning(response: requests.Response) -> bytes:
    body = bytearray()
    for part in response.iter_content(4096):
        body += part
        if len(body) > _ANSWER_LIMIT_BYTES:
            break
    return bytes(body)


def _session_from(body: str, url: str) -> SocketIoSession:
    parts = body.strip().split(":")
    if len(parts) < 4 or not _TRANSPORTS.fullmatch(parts[3].strip()):
        raise TransportError(f"{url} does not answer as an event hub does: {body[:100]!r}")
    session = SocketIoSession(parts[0], parts[1], [name.strip() for name in parts[3].split(",")])
    if "websocket" not in session.supportedTransports:
        raise TransportError(f"Server does not support websocket sessions (it offers {parts[3]!r:.100}).")
    return session
