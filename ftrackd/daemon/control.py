"""The daemon's control surface: HTTP on a unix socket, and on loopback when a port is set.

Everything is JSON but ``/metrics`` (Prometheus text) and ``/events/tail`` (one JSON document a line).
The socket belongs to the daemon's user (mode 0600). The loopback port serves reading only: health, readiness,
status and metrics.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import structlog

from ftrackd.daemon.errors import AlreadyRunningError, DaemonError
from ftrackd.errors import FtrackdError

log = structlog.stdlib.get_logger("ftrackd.daemon.control")

Arguments = Mapping[str, Any]
Answer = tuple[int, Any]
"""HTTP status and what to send: text, an iterator of JSON-ready documents, or a JSON-ready value."""
Route = Callable[[Arguments], Answer]

LARGEST_REQUEST = 1 << 20
LONGEST_SOCKET_PATH = 100
"""Unix sockets take about 104 (macOS) to 108 (Linux) bytes of path."""


class ControlServer:
    """Serves ``routes``, a mapping of ``"GET /status"`` to what answers it.

    A route gets the query's or the JSON body's members and returns status and answer.
    """

    def __init__(self, routes: Mapping[str, Route], socket_path: Path, port: int | None = None) -> None:
        self._socket_path = socket_path
        self._servers: list[socketserver.TCPServer] = []
        handler = type("ControlHandler", (_Handler,), {"routes": dict(routes)})
        self._servers.append(_unix_server(socket_path, handler))
        if port is not None:
            reading = {name: route for name, route in routes.items() if name in READ_ONLY}
            try:
                self._servers.append(_loopback_server(port, type("Reader", (_Handler,), {"routes": reading})))
            except DaemonError:
                self._close()
                raise

    def start(self) -> None:
        """Serve in background threads."""
        for server in self._servers:
            threading.Thread(
                target=server.serve_forever,
                kwargs={"poll_interval": 60.0},
                name="ftrackd-control",
                daemon=True,
            ).start()

    def stop(self) -> None:
        """Close and remove the socket."""
        for server in self._servers:
            asked = threading.Thread(target=server.shutdown, name="ftrackd-control-stop", daemon=True)
            asked.start()
            while asked.is_alive():
                _wake(server)
                asked.join(0.05)
        self._close()

    def _close(self) -> None:
        for server in self._servers:
            server.server_close()
        self._socket_path.unlink(missing_ok=True)


READ_ONLY = frozenset({"GET /healthz", "GET /readyz", "GET /status", "GET /metrics"})


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


class _LoopbackServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


def _unix_server(path: Path, handler: type[BaseHTTPRequestHandler]) -> _UnixServer:
    if len(str(path).encode()) > LONGEST_SOCKET_PATH:
        raise DaemonError(f"{path}: too long for a unix socket; set daemon.control_socket to a shorter path")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_abandoned(path)
        server = _UnixServer(str(path), handler)
        path.chmod(0o600)
    except OSError as error:
        raise DaemonError(
            f"{path}: the control socket cannot be made: {error.strerror}; "
            "set daemon.state_dir or daemon.control_socket"
        ) from error
    return server


def _remove_abandoned(path: Path) -> None:
    """Remove what a daemon that was killed left there."""
    if not path.exists():
        return
    if not path.is_socket():
        raise DaemonError(f"{path}: is there and no socket; set daemon.control_socket to another path")
    if _is_served(path):
        raise AlreadyRunningError(f"{path}: another ftrackd answers there; `ftrackd status` asks it")
    path.unlink()


def _loopback_server(port: int, handler: type[BaseHTTPRequestHandler]) -> _LoopbackServer:
    try:
        return _LoopbackServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise DaemonError(f"daemon.metrics_port: port {port} of 127.0.0.1: {error.strerror}") from error


def _wake(server: socketserver.TCPServer) -> None:
    # serve_forever looks at its stop flag when a connection comes, or at the end of its poll interval.
    with socket.socket(server.address_family, socket.SOCK_STREAM) as visitor:
        visitor.settimeout(1)
        try:
            visitor.connect(server.server_address)
        except OSError:
            return


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


class _Handler(BaseHTTPRequestHandler):
    routes: ClassVar[Mapping[str, Route]] = {}
    protocol_version = "HTTP/1.1"
    server_version = "ftrackd"

    def address_string(self) -> str:
        return "control"  # a unix socket has no address to name

    def log_message(self, format: str, *args: Any) -> None:  # the name is BaseHTTPRequestHandler's
        log.debug("control request", request=format % args)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self._answer(f"GET {parts.path}", dict(parse_qsl(parts.query)))

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if size > LARGEST_REQUEST:
            self._send(413, {"error": "the request is too large"})
            return
        try:
            body = json.loads(self.rfile.read(size) or b"{}")
        except ValueError:
            self._send(400, {"error": "the body is not JSON"})
            return
        self._answer(f"POST {urlsplit(self.path).path}", body)

    def _answer(self, name: str, arguments: Arguments) -> None:
        route = self.routes.get(name)
        if route is None:
            self._send(404, {"error": f"no such request: {name}"})
            return
        try:
            status, answer = route(arguments)
        except FtrackdError as error:
            status, answer = 409, {"error": str(error)}
        except Exception as error:  # contains one request; the daemon goes on
            log.exception("control request failed", request=name)
            status, answer = 500, {"error": f"{type(error).__name__}: {error}"}
        self._send(status, answer)

    def _send(self, status: int, answer: Any) -> None:
        try:
            if isinstance(answer, Iterator):
                self._stream(status, answer)
            else:
                self._send_whole(status, answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the asking side went away; there is nobody to tell

    def _send_whole(self, status: int, answer: Any) -> None:
        is_text = isinstance(answer, str)
        body = answer.encode() if is_text else json.dumps(answer, default=str).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8" if is_text else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, status: int, documents: Iterator[Any]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Connection", "close")
        self.end_headers()
        for document in documents:
            self.wfile.write(json.dumps(document, default=str).encode() + b"\n")
            self.wfile.flush()
        self.close_connection = True
