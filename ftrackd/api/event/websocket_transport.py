"""The transport over a real network: socket.io's handshake, then a WebSocket."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import websocket

from ftrackd.api.event import _frames
from ftrackd.api.event._guard import OpeningGuard
from ftrackd.api.event._handshake import ServerDetails, SocketIoSession, request_session
from ftrackd.api.event._limits import HubLimits
from ftrackd.api.event._route import proxy_options, tls_context
from ftrackd.api.event.transport import FrameRefused, FrameTooLarge, TransportClosed, TransportError

_READ_SIZE: Final = 65_536
#: A server that names less, or milliseconds, does not mean it: we would leave at once, or notice nothing.
_SHORTEST_HEARTBEAT_TIMEOUT_S: Final = 1.0
_LONGEST_HEARTBEAT_TIMEOUT_S: Final = 600.0
#: Seconds that the end of a connection may take: the peer reads what is under way, and answers.
_CLOSING_S: Final = 0.5
#: The code with which a peer closes that got a frame larger than it takes.
_TOO_LARGE: Final = (1009).to_bytes(2, "big")
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class WebSocketTransport:
    """A connection to ftrack's event hub.

    The socket never blocks: both directions wait in a selector, so that a wait ends when somebody closes the
    transport, and a connection encrypted by TLS is never used by two threads at the same instant.
    """

    def __init__(
        self,
        server: ServerDetails,
        api_user: str,
        api_key: str,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        *,
        limits: HubLimits | None = None,
    ) -> None:
        """Prepare a connection to `server`; of the `limits` those on time and size count."""
        limits = limits or HubLimits()
        self._server = server
        self._credentials = {"ftrack-user": api_user, "ftrack-api-key": api_key}
        self._headers = dict(headers or {})
        self._cookies = dict(cookies or {})
        self._send_timeout_s = limits.send_timeout_s
        self._guard = OpeningGuard(limits.handshake_timeout_s)
        self._decoder = _frames.FrameDecoder(limits.frame_limit_bytes)
        self._default_heartbeat_timeout_s = limits.default_heartbeat_timeout_s
        self._socket: socket.socket | None = None
        self._selector: selectors.BaseSelector | None = None
        self._wake_reader: socket.socket | None = None
        self._wake_writer: socket.socket | None = None
        # Guards the fields below it and the life of the sockets.
        self._lock = threading.RLock()
        self._closing = False
        self._in_use = 0
        # Held for the length of one frame, so that frames do not mix.
        self._send_lock = threading.Lock()
        # Whether the peer has got the beginning of a frame without its end.
        self._frame_is_cut = False
        # Held for one call into the socket: OpenSSL's objects are not safe for two threads.
        self._io_lock = threading.Lock()
        # Whether the socket had nothing when it was asked last: waiting comes before the next attempt.
        self._is_drained = False
        # Answers to pings and close frames, sent between two frames.
        self._controls: deque[bytes] = deque()
        self._session: SocketIoSession | None = None

    @property
    def session(self) -> SocketIoSession | None:
        """Return what the handshake answered, None before."""
        return self._session

    @property
    def heartbeat_timeout_s(self) -> float:
        """Return the silence after which the server must be taken for gone, in seconds."""
        try:
            seconds = float(self._session.heartbeatTimeout) if self._session is not None else 0.0
        except ValueError:
            seconds = 0.0
        is_sensible = _SHORTEST_HEARTBEAT_TIMEOUT_S <= seconds <= _LONGEST_HEARTBEAT_TIMEOUT_S
        return seconds if is_sensible else self._default_heartbeat_timeout_s

    def open(self) -> None:
        """Connect.

        Raises:
            TransportRefused: when the server refuses the credentials.
            TransportError: when there is no hub to be reached.
        """
        try:
            with self._guard as guard:
                self._session = request_session(
                    self._server, self._credentials, self._headers, self._cookies, guard
                )
                connected = self._connect(self._session, guard)
        except TransportError as error:
            if self._closing:
                raise TransportClosed("Closed by this side while connecting.") from error
            if self._guard.is_ended:
                raise TransportError(
                    f"The event hub at {self._server.url} did not finish the handshake within "
                    f"{self._guard.timeout_s:g} s."
                ) from error
            raise
        with self._lock:
            if self._closing or self._guard.is_ended:
                connected.close()
                raise TransportClosed("Closed by this side while connecting.")
            connected.setblocking(False)
            self._socket = connected
            self._wake_reader, self._wake_writer = socket.socketpair()
            self._wake_writer.setblocking(False)
            self._selector = selectors.DefaultSelector()
            self._selector.register(connected, selectors.EVENT_READ)
            self._selector.register(self._wake_reader, selectors.EVENT_READ)

    def send(self, frame: str) -> None:
        """Send `frame`.

        Raises:
            TransportClosed: when the connection is gone, or the peer reads nothing for the time allowed.
        """
        data = _frames.encode(_frames.TEXT, frame.encode())
        try:
            with self._send_lock:
                self._write(data)
        finally:
            with contextlib.suppress(TransportClosed):
                self._send_controls()

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next frame's bytes, None when none came within `timeout_s`.

        Raises:
            TransportClosed: when the connection ended, for whichever reason.
            FrameTooLarge: when a frame was skipped; the connection goes on.
        """
        deadline = time.monotonic() + timeout_s
        has_read = False
        self._enter()
        try:
            while True:
                try:
                    message = self._decoder.next_message()
                except _frames.FrameError as error:
                    raise TransportClosed(str(error)) from error
                if message is None:
                    # A frame without end, or pings, must not keep the caller from its other duties.
                    if (has_read and time.monotonic() >= deadline) or not self._read(deadline):
                        return None
                    has_read = True
                elif message.opcode == _frames.TEXT:
                    if message.skipped_bytes:
                        raise FrameTooLarge(
                            f"A frame of {message.skipped_bytes} bytes is above the limit and was skipped. "
                            f"It begins: {message.payload[:400]!r}"
                        )
                    return message.payload
                else:
                    self._answer(message)
        finally:
            self._leave()

    def close(self) -> None:
        """End the connection; a pending receive ends at once."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            if self._socket is None:
                self._guard.end()
                return
            in_use = self._in_use
            self._in_use += 1
        try:
            with contextlib.suppress(OSError):
                assert self._wake_writer is not None
                self._wake_writer.send(b"!")
            # A thread that is sending has been woken and lets go; only an unlucky one needs more than this.
            if self._send_lock.acquire(timeout=_CLOSING_S):
                try:
                    self._say_goodbye()
                finally:
                    self._send_lock.release()
            if not in_use:
                self._await_end()
        finally:
            self._leave()

    def forget(self) -> None:
        """Close this process's ends, after a fork: the parent's connection is not touched by that."""
        self._let_go()

    def _let_go(self) -> None:
        closing = (self._selector, self._wake_reader, self._wake_writer, self._socket)
        self._socket = None
        for part in closing:
            if part is not None:
                part.close()

    def _connect(self, session: SocketIoSession, guard: OpeningGuard) -> socket.socket:
        scheme = "wss" if self._server.scheme == "https" else "ws"
        url = f"{scheme}://{self._server.network_location}/socket.io/1/websocket/{session.id}"
        client: Any = websocket.WebSocket(enable_multithread=False)
        guard.watch(client)
        try:
            if scheme == "wss":
                client.sock_opt.sslopt = {"context": tls_context()}
            client.connect(
                url,
                header=dict(self._headers),
                cookie=";".join(f"{name}={value}" for name, value in self._cookies.items()) or None,
                timeout=guard.timeout_s,
                # Headers and cookies must not follow a redirect to another host.
                redirect_limit=0,
                **proxy_options(self._server.url),
            )
            status = client.getstatus()
        except websocket.WebSocketBadStatusException as error:
            # Its own text holds all that the server sent, secrets included.
            status = error.status_code
        except (websocket.WebSocketException, OSError, ValueError) as error:
            client.shutdown()
            raise TransportError(
                f"Cannot open the socket of the event hub at {self._server.url}: {error!s:.500}"
            ) from error
        if status != 101:
            client.shutdown()
            raise TransportError(
                f"Cannot open the socket of the event hub at {self._server.url}: HTTP {status}."
            )
        connected: socket.socket = client.sock
        client.sock = None
        return connected

    def _enter(self) -> None:
        with self._lock:
            if self._closing or self._socket is None:
                raise TransportClosed("Closed by this side.")
            self._in_use += 1

    def _leave(self) -> None:
        with self._lock:
            self._in_use -= 1
            if not self._closing or self._in_use:
                return
            self._let_go()

    def _read(self, deadline: float) -> bool:
        """Feed the decoder with what came; return whether anything did before `deadline`."""
        assert self._socket is not None and self._selector is not None
        while True:
            if self._closing:
                self._await_end()
                raise TransportClosed("Closed by this side.")
            if self._is_drained:
                if not self._selector.select(max(0.0, deadline - time.monotonic())):
                    return False
                self._is_drained = False
                continue
            try:
                with self._io_lock:
                    data = self._socket.recv(_READ_SIZE)
            except _WOULD_BLOCK:
                self._is_drained = True
                if time.monotonic() >= deadline:
                    return False
            except OSError as error:
                raise TransportClosed(f"The connection broke: {error}") from error
            else:
                if not data:
                    raise TransportClosed("The peer closed the connection without a close frame.")
                self._decoder.feed(data)
                return True

    def _write(self, data: bytes) -> None:
        deadline = time.monotonic() + self._send_timeout_s
        self._enter()
        try:
            assert self._socket is not None
            view = memoryview(data)
            while view:
                self._frame_is_cut = len(view) < len(data)
                if self._closing:
                    raise TransportClosed("Closed by this side.")
                try:
                    with self._io_lock:
                        view = view[self._socket.send(view) :]
                except _WOULD_BLOCK as error:
                    self._await_room(deadline, error)
            self._frame_is_cut = False
        except OSError as error:
            raise TransportClosed(f"The connection broke: {error}") from error
        finally:
            self._leave()

    def _await_room(self, deadline: float, error: OSError) -> None:
        assert self._socket is not None and self._wake_reader is not None
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TransportClosed(f"The peer has read nothing for {self._send_timeout_s:g} seconds.")
        events = selectors.EVENT_READ if isinstance(error, ssl.SSLWantReadError) else selectors.EVENT_WRITE
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, events)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            selector.select(remaining)

    def _answer(self, message: _frames.Message) -> None:
        if message.opcode == _frames.PING:
            self._controls.append(_frames.encode(_frames.PONG, message.payload))
            self._send_controls()
        elif message.opcode == _frames.CLOSE:
            self._controls.append(_frames.encode(_frames.CLOSE, message.payload[:2]))
            with contextlib.suppress(TransportClosed):
                self._send_controls()
            kind = FrameRefused if message.payload[:2] == _TOO_LARGE else TransportClosed
            raise kind(f"The server closed the connection{_close_reason(message.payload)}.")

    def _send_controls(self) -> None:
        # Whoever holds the lock comes by here after releasing it, so nothing is left behind.
        while self._controls and self._send_lock.acquire(blocking=False):
            try:
                while self._controls:
                    self._write(self._controls.popleft())
            finally:
                self._send_lock.release()

    def _say_goodbye(self) -> None:
        """Tell the peer that nothing more comes; what is on its way still arrives."""
        assert self._socket is not None
        with contextlib.suppress(OSError), self._io_lock:
            if not self._frame_is_cut:
                self._socket.send(_frames.encode(_frames.CLOSE, (1000).to_bytes(2, "big")))
        with contextlib.suppress(OSError):
            # Not the TLS socket's own shutdown, which would drop its state under a thread that still reads.
            socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def _await_end(self) -> None:
        """Read until the peer ends too: closing with unread data would discard what is still on its way."""
        assert self._socket is not None
        deadline = time.monotonic() + _CLOSING_S
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            selector.register(self._socket, selectors.EVENT_READ)
            while (remaining := deadline - time.monotonic()) > 0:
                try:
                    with self._io_lock:
                        if not self._socket.recv(_READ_SIZE):
                            return
                except _WOULD_BLOCK:
                    selector.select(remaining)


def _close_reason(payload: bytes) -> str:
    if len(payload) < 2:
        return ""
    code = int.from_bytes(payload[:2], "big")
    text = payload[2:].decode("utf-8", "replace")
    return f" ({code}{': ' + text if text else ''})"
