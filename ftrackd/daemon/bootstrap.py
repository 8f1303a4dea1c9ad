"""The first words with the server: is it there, does it know us, what does it look like?"""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlsplit

from ftrackd.api import _json, exception
from ftrackd.api.event.hub import EventHub, HubLimits, ReconnectPolicy
from ftrackd.api.session import Session
from ftrackd.daemon.errors import CredentialsRefusedError, MissingServerError, ServerUnreachableError
from ftrackd.hosting import Bootstrap
from ftrackd.settings import HubSettings, ServerSettings


class MainHub(EventHub):
    """The daemon's one connection; ``moved_at`` says when its reader last did something
    (``time.monotonic()``).
    """

    moved_at = 0.0

    def housekeeping(self) -> None:
        """Forget what expired; called by the connection's thread about every second, connected or not."""
        super().housekeeping()
        self.moved_at = time.monotonic()


class MainSession(Session):
    """The main process's own Session: no plugins, and the one hub connection of the daemon."""

    def __init__(self, server: ServerSettings, hub: HubSettings) -> None:
        if server.url is None or server.api_user is None or server.api_key is None:
            raise MissingServerError("server.url, server.api_user and server.api_key must be set")
        if not _is_web_address(server.url):
            raise MissingServerError(
                f"server.url is {server.url!r}; it looks like https://studio.ftrackapp.com"
            )
        self._hub_settings = hub
        self._connect_timeout_s = server.connect_timeout_s
        super().__init__(
            server_url=server.url,
            api_user=server.api_user,
            api_key=server.api_key.get_secret_value(),
            plugin_paths=[],
            timeout=server.read_timeout_s,
        )

    def _create_event_hub(self) -> MainHub:
        settings = self._hub_settings
        policy = ReconnectPolicy(
            attempts=settings.reconnect_attempts or None,
            first_delay_s=settings.reconnect_delay_s,
            delay_cap_s=settings.reconnect_delay_cap_s,
        )
        limits = HubLimits(
            heartbeat_timeout_s=settings.silence_limit_s, outgoing_packets=settings.queue_limit
        )
        return MainHub(self.server_url, self.api_user, self.api_key, reconnect=policy, limits=limits)

    def rows(self, expression: str) -> list[dict[str, Any]]:
        """Return the rows of a query as the server sent them, without making entities of them.

        Raises the errors of ``Session.call``.
        """
        answer = self._exchange(_json.dumps([{"action": "query", "expression": expression}]), True)
        rows: list[dict[str, Any]] = answer[0]["data"]
        return rows


def open_session(server: ServerSettings, hub: HubSettings) -> MainSession:
    """Return the main process's Session.

    Raises ServerUnreachableError when nothing, or no ftrack server, answers at the URL, and
    CredentialsRefusedError when the server does not know user and key.
    """
    try:
        return MainSession(server, hub)
    except exception.AuthenticationError as error:
        raise CredentialsRefusedError(
            f"{server.url} refuses user {server.api_user!r} with this API key; "
            "check FTRACK_API_USER and FTRACK_API_KEY"
        ) from error
    except exception.ServerCompatibilityError as error:
        raise ServerUnreachableError(f"{server.url} is too old: {error}") from error
    except (exception.Error, OSError, ValueError) as error:
        raise ServerUnreachableError(
            f"{server.url} cannot be used: {_reason(error)}; check FTRACK_SERVER"
        ) from error


def bootstrap_of(session: Session) -> Bootstrap:
    """Return what plugin processes would otherwise each ask the server for."""
    return Bootstrap(session.server_information, session.schemas)


def _reason(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises when it is no number of a port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", url)
