"""A TCP proxy between a hub and its server that loses, delays and cuts what passes."""

from __future__ import annotations

import contextlib
import socket
import threading


class TcpProxy:
    """Forwards to a port of this machine; use it as a context manager."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        #: Cleared, nothing is forwarded any more, and nobody is told: the cable is cut.
        self.forwarding = threading.Event()
        self.forwarding.set()
        #: Bytes that are passed on at a time, with a pause after each; None for as they come.
        self.piece_size: int | None = None
        self.pause_s = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.forwarding.set()
        for open_socket in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for open_socket in (self._listener, *self._sockets):
            open_socket.close()

    def _start(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                client.close()
                continue
            self._sockets.append(server)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._forward, client, server)
            self._start(self._forward, server, client)

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                size = self.piece_size or len(data)
                for begin in range(0, len(data), size):
                    self.forwarding.wait()
                    if self._stopping.is_set():
                        return
                    sink.sendall(data[begin : begin + size])
                    if self.pause_s:
                        self._stopping.wait(self.pause_s)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
