"""A proxy for HTTP, on real sockets: requests with a whole URL, and tunnels."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.parse


class HttpProxy:
    """Relays, and notes the first line of each request; use it as a context manager."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> HttpProxy:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _run(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            received = client.recv(1)
            if not received:
                return
            head += received
        line = head.split(b"\r\n", 1)[0].decode()
        self.requests.append(line)
        method, target, version = line.split(" ")
        parts = urllib.parse.urlsplit(f"//{target}" if method == "CONNECT" else target)
        server = socket.create_connection((parts.hostname, parts.port))
        self._sockets.append(server)
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            server.sendall(head.replace(line.encode(), f"{method} {parts.path} {version}".encode(), 1))
        self._run(self._pump, server, client)
        self._pump(client, server)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while received := source.recv(65_536):
                sink.sendall(received)
            sink.shutdown(socket.SHUT_WR)
