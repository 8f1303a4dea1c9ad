"""Asks the running daemon over its control socket. Imports little: ``ftrackd status`` answers at once."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ftrackd.daemon.errors import ControlError


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class ControlClient:
    """One daemon's control socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, path: str, timeout_s: float = 10, **arguments: Any) -> Any:
        """Return the answer to a GET; raises ControlError when nobody answers or the answer is an error."""
        given = {name: value for name, value in arguments.items() if value is not None}
        return self._ask("GET", f"{path}?{urlencode(given)}" if given else path, None, timeout_s)

    def post(self, path: str, timeout_s: float = 60, **arguments: Any) -> Any:
        """Return the answer to a POST; raises ControlError when nobody answers or the answer is an error."""
        return self._ask("POST", path, json.dumps(arguments).encode(), timeout_s)

    def stream(self, path: str, **arguments: Any) -> Iterator[Any]:
        """Yield the documents of an endless answer."""
        given = {name: value for name, value in arguments.items() if value is not None}
        connection = _UnixConnection(self._path, None)
        try:
            response = self._request(connection, "GET", f"{path}?{urlencode(given)}", None)
            if response.status >= 400:
                raise ControlError(_reason(response.read(), response.status))
            for line in response:
                yield json.loads(line)
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float) -> Any:
        connection = _UnixConnection(self._path, timeout_s)
        try:
            response = self._request(connection, method, path, body)
            content = response.read()
        except TimeoutError as error:
            raise ControlError(f"{self._path}: the daemon did not answer in {timeout_s:g} s") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ControlError(_reason(content, response.status))
        if response.headers.get_content_type() == "application/json":
            return json.loads(content)
        return content.decode()

    def _request(
        self, connection: _UnixConnection, method: str, path: str, body: bytes | None
    ) -> http.client.HTTPResponse:
        try:
            connection.request(method, path, body)
            return connection.getresponse()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ControlError(f"no daemon answers at {self._path}; is `ftrackd run` running?") from error
        except PermissionError as error:
            raise ControlError(f"{self._path}: the daemon belongs to another user") from error


def _reason(content: bytes, status: int) -> str:
    try:
        answer = json.loads(content)
    except ValueError:
        return f"the daemon answered {status}"
    return str(answer.get("error") or answer) if isinstance(answer, dict) else str(answer)
