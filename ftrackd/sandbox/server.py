"""The HTTP server: uvicorn with what the sandbox needs beyond it.

Applications find the connection's transport in ``scope["state"]["transport"]``: faults cut it, and the event
hub takes it over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Generator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

KEEP_ALIVE_S: Final = 600
STOP_LIMIT_S: Final = 1
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class _Protocol(H11Protocol):
    """An HTTP connection that shows its transport to the application."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


class Server(uvicorn.Server):
    """Serves *application* on a bound *listener* until SIGTERM or SIGINT.

    *on_started* runs on the event loop once connections are accepted, *on_stopping* when the end begins.
    """

    def __init__(
        self, application: Any, *, on_started: Callable[[], None], on_stopping: Callable[[], None]
    ) -> None:
        """Configure uvicorn for the sandbox."""
        super().__init__(
            uvicorn.Config(
                application,
                http=_Protocol,
                ws=WSProtocol,
                ws_per_message_deflate=False,
                ws_ping_interval=None,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_LIMIT_S,
                backlog=1024,
            )
        )
        self._on_started = on_started
        self._on_stopping = on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, then say so."""
        await super().startup(sockets)
        loop = asyncio.get_running_loop()

        def stop_soon(number: int, frame: object) -> None:
            # After the loop's end there is nothing left to ask for: the process is on its way out.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.stop)

        # Not loop.add_signal_handler: it goes with the loop, and a second signal that comes while the rest is
        # closed would kill the process.
        for number in STOP_SIGNALS:
            signal.signal(number, stop_soon)
        self._on_started()

    def stop(self) -> None:
        """End :meth:`run` within about a second."""
        self.force_exit = self.should_exit
        self._on_stopping()
        self.should_exit = True

    def stop_at_end_of(self, descriptor: int) -> None:
        """End :meth:`run` when the pipe *descriptor* is closed at its other end; what arrives is ignored."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            if not os.read(descriptor, 4096):
                loop.remove_reader(descriptor)
                self.stop()

        loop.add_reader(descriptor, look)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to :meth:`startup`: uvicorn would raise them again and spoil the exit code."""
        yield


def ignore_stop_signals() -> None:
    """Let the process end in its own way; the interpreter takes Python's handlers away before it is gone."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket on *host* and *port*, 0 for any free one.

    Raise :class:`OSError` when the port is taken.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
