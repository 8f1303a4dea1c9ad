"""A small event server on real sockets that misbehaves on request.

It speaks just enough of the protocol for a hub: the handshake, socket.io packets in WebSocket frames, and
events that go to every connection with a matching subscription. The test drives it; nothing happens by time.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import queue
import socket
import ssl
import struct
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from ftrackd.api.event.index import SubscriptionIndex

DEADLINE_S = 20.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def eventually(condition: Callable[[], Any], what: str = "", deadline_s: float = DEADLINE_S) -> Any:
    """Wait for `condition` and return what it gives; fail when it does not come true in time."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"Not in {deadline_s} s: {what or condition}")


class Peer:
    """One client's WebSocket, seen from the server."""

    def __init__(self, connection: socket.socket, session_id: str, server: HubServer) -> None:
        self.socket = connection
        self.session_id = session_id
        self.server = server
        self.frames: queue.Queue[str] = queue.Queue()
        self.all_frames: list[str] = []
        self.control_opcodes: list[int] = []
        self.subscriptions = SubscriptionIndex()
        self.gone = threading.Event()
        self._lock = threading.Lock()

    def send_bytes(self, data: bytes) -> None:
        with self._lock:
            self.socket.sendall(data)

    def send(self, text: str | bytes, opcode: int = 1) -> None:
        payload = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        self.send_bytes(frame(payload, opcode))

    def send_event(self, event: dict[str, Any] | str) -> None:
        text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        self.send(f'5:::{{"name":"ftrack.event","args":[{text}]}}')

    def close_politely(self, code: int = 1001) -> None:
        self.send(struct.pack("!H", code) + b"going away", opcode=8)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end()

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RD)
        self.socket.close()
        self.gone.set()

    def next_frame(self, matching: str = "") -> str:
        """Return the next frame that contains `matching`, dropping those before it."""
        end = time.monotonic() + DEADLINE_S
        while True:
            text = self.frames.get(timeout=max(0.01, end - time.monotonic()))
            if matching in text:
                return text

    def published(self, topic: str) -> list[dict[str, Any]]:
        """Return the events about `topic` that came so far."""
        packets = [text for text in self.all_frames if text.startswith("5:")]
        events = [json.loads(text.split(":", 3)[3])["args"][0] for text in packets]
        return [event for event in events if event["topic"] == topic]

    def read(self, data: bytes) -> None:
        buffer = bytearray(data)
        try:
            while True:
                message = _take_frame(buffer)
                if message is None:
                    self.server.reading.wait(DEADLINE_S)
                    received = self.socket.recv(65536)
                    if not received:
                        break
                    buffer += received
                    continue
                opcode, payload = message
                if opcode == 1:
                    text = payload.decode()
                    self.all_frames.append(text)
                    self.frames.put(text)
                    self.server.packet(self, text)
                else:
                    self.control_opcodes.append(opcode)
                    if opcode == 8:
                        break
        except OSError:
            pass
        finally:
            self.end()


def frame(payload: bytes, opcode: int = 1, *, final: bool = True) -> bytes:
    """Return an unmasked WebSocket frame, as servers send them."""
    first = (0x80 if final else 0) | opcode
    if len(payload) < 126:
        return bytes((first, len(payload))) + payload
    if len(payload) < 65536:
        return bytes((first, 126)) + struct.pack("!H", len(payload)) + payload
    return bytes((first, 127)) + struct.pack("!Q", len(payload)) + payload


def _take_frame(buffer: bytearray) -> tuple[int, bytes] | None:
    if len(buffer) < 6:
        return None
    length, size = buffer[1] & 0x7F, 2
    if length == 126:
        length, size = struct.unpack_from("!H", buffer, 2)[0], 4
    elif length == 127:
        if len(buffer) < 14:
            return None
        length, size = struct.unpack_from("!Q", buffer, 2)[0], 10
    if len(buffer) < size + 4 + length:
        return None
    mask = bytes(buffer[size : size + 4])
    payload = bytes(buffer[size + 4 : size + 4 + length])
    opcode = buffer[0] & 0x0F
    del buffer[: size + 4 + length]
    key = (mask * (length // 4 + 1))[:length]
    return opcode, (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")


class HubServer:
    """The server; use it as a context manager."""

    def __init__(
        self, *, heartbeat_timeout: str = "60", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self.heartbeat_timeout = heartbeat_timeout
        self.peers: list[Peer] = []
        self.handshakes: list[dict[str, str]] = []
        #: Called with each handshake's headers; returns status and body instead of the usual answer, or None.
        self.handshake_answer: Callable[[dict[str, str]], tuple[int, str] | None] = lambda headers: None
        self.socket_status = 101
        #: Given a request's socket, answer instead of the server: the handshake's, and the WebSocket's.
        self.raw_handshake: Callable[[socket.socket], None] | None = None
        self.raw_upgrade: Callable[[socket.socket], None] | None = None
        #: Arguments with which packets are acknowledged; None for no acknowledgement at all.
        self.acknowledgement: str | None = '[{"success":true}]'
        #: Cleared while the server is too busy to read.
        self.reading = threading.Event()
        self.reading.set()
        self.routes_events = True
        self.sends_connect = True
        self.on_socket: Callable[[Peer], None] = lambda peer: None
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def peer(self) -> Peer:
        """Return the newest client, waiting for it."""
        return eventually(lambda: self.peers and self.peers[-1], "a client")

    def wait_for_peer(self, count: int) -> Peer:
        """Return the `count`-th client, waiting for it."""
        return eventually(lambda: len(self.peers) >= count and self.peers[count - 1], f"client {count}")

    def __enter__(self) -> HubServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(DEADLINE_S)
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def packet(self, peer: Peer, text: str) -> None:
        code, identifier, _, data = (*text.split(":", 3), "", "", "")[:4]
        if code != "5":
            return
        event = json.loads(data)["args"][0]
        if event["topic"] == "ftrack.meta.subscribe":
            subscriber = event["data"]["subscriber"]
            peer.subscriptions.add(subscriber["id"], event["data"]["subscription"], subscriber)
        elif event["topic"] == "ftrack.meta.unsubscribe":
            peer.subscriptions.remove(event["data"]["subscriber"]["id"])
        if identifier.endswith("+") and self.acknowledgement is not None:
            peer.send(f"6:::{identifier}{self.acknowledgement}")
        if self.routes_events and not event["topic"].startswith(("ftrack.meta.sub", "ftrack.meta.unsub")):
            for other in self.peers:
                if not other.gone.is_set() and other.subscriptions.match(event):
                    with contextlib.suppress(OSError):
                        other.send_event(event)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.add(connection)
            data = b""
            while b"\r\n\r\n" not in data:
                received = connection.recv(65536)
                if not received:
                    return
                data += received
            head, _, rest = data.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            path = lines[0].split(" ")[1]
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines[1:])
            }
            if path.startswith("/socket.io/1/websocket/"):
                self._socket(connection, path.rpartition("/")[2], headers, rest)
            else:
                self._handshake(connection, headers)
        except OSError:
            pass
        finally:
            connection.close()
            self._open.discard(connection)

    def _handshake(self, connection: socket.socket, headers: dict[str, str]) -> None:
        self.handshakes.append(headers)
        if self.raw_handshake is not None:
            self.raw_handshake(connection)
            return
        answer = self.handshake_answer(headers)
        if answer is None:
            session = uuid.uuid4().hex
            answer = 200, f"{session}:{self.heartbeat_timeout}:60:websocket,xhr-polling"
        status, body = answer
        extra = "location: http://elsewhere.invalid/\r\n" if status == 302 else ""
        connection.sendall(
            f"HTTP/1.1 {status} X\r\n{extra}content-length: {len(body)}\r\n"
            f"connection: close\r\n\r\n{body}".encode()
        )

    def _socket(self, connection: socket.socket, session: str, headers: dict[str, str], rest: bytes) -> None:
        if self.raw_upgrade is not None:
            self.raw_upgrade(connection)
            return
        if self.socket_status != 101:
            connection.sendall(f"HTTP/1.1 {self.socket_status} X\r\ncontent-length: 0\r\n\r\n".encode())
            return
        key = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + _GUID).digest()).decode()
        connection.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            f"sec-websocket-accept: {key}\r\n\r\n".encode()
        )
        peer = Peer(connection, session, self)
        peer.headers = headers  # type: ignore[attr-defined]
        self.peers.append(peer)
        try:
            if self.sends_connect:
                peer.send("1::")
            self.on_socket(peer)
            peer.read(rest)
        finally:
            # A client that is gone before it was welcomed has left as well.
            peer.gone.set()
