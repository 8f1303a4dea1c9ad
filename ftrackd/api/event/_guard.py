"""Ends the opening of a connection that takes too long, or that somebody gives up."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

if TYPE_CHECKING:
    import requests

#: Seconds between two looks for a socket that appears after the end.
_SECOND_LOOK_S: Final = 0.1


class SocketHolder(Protocol):
    """Whoever holds a socket in `sock` once it has one: connections of HTTP and WebSocket clients."""

    sock: Any


class OpeningGuard:
    """Shuts the sockets of an opening down when its time is over; a context manager around it.

    The timeouts of sockets do not do: they begin anew with each byte, so that a server which sends one now
    and then could hold an opening up for ever.
    """

    def __init__(self, timeout_s: float) -> None:
        """Allow `timeout_s` from the beginning of the context."""
        self.timeout_s = timeout_s
        self._changed = threading.Condition()
        self._holders: list[SocketHolder | SimpleNamespace] = []
        self._is_over = False
        self._is_ended = False
        self._thread = threading.Thread(target=self._watch, name="ftrack-event-hub-guard", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        # Whoever ends a hub may fork next, or look for what it left behind.
        self._thread.join()

    @property
    def is_ended(self) -> bool:
        """Return whether the time was over, or :meth:`end` called, before the context was left."""
        return self._is_ended

    def watch(self, holder: SocketHolder | SimpleNamespace) -> None:
        """Shut the socket of `holder` down at the end; it may not have one yet."""
        with self._changed:
            self._holders.append(holder)

    def watch_requests(self, client: requests.Session) -> None:
        """Watch each connection that `client` makes."""
        adapter = _adapter(self.watch)
        client.mount("http://", adapter)
        client.mount("https://", adapter)

    def end(self) -> None:
        """End the opening now; whoever waits for a socket of it gets an error."""
        with self._changed:
            self._is_ended = not self._is_over
            self._changed.notify_all()

    def _watch(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._is_ended, self.timeout_s)
            while not self._is_over:
                self._is_ended = True
                for holder in self._holders:
                    if holder.sock is not None:
                        with contextlib.suppress(OSError):
                            # Not a TLS socket's own shutdown, which would drop its state under its reader.
                            socket.socket.shutdown(holder.sock, socket.SHUT_RDWR)
                self._changed.wait(_SECOND_LOOK_S)


def _adapter(watch: Callable[[SocketHolder | SimpleNamespace], None]) -> requests.adapters.HTTPAdapter:
    import requests  # here for the reason that request_session gives

    class WatchedAdapter(requests.adapters.HTTPAdapter):
        def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
            pool: Any = super().get_connection_with_tls_context(*arguments, **options)
            make_connection = pool.ConnectionCls

            def make_watched(*arguments: Any, **options: Any) -> Any:
                connection = make_connection(*arguments, **options)
                connect = connection.connect

                def connect_watched() -> None:
                    connect()
                    # The connection lets go of its socket while the body of an answer is read.
                    watch(SimpleNamespace(sock=connection.sock))

                connection.connect = connect_watched
                watch(connection)
                return connection

            pool.ConnectionCls = make_watched
            return pool

    return WatchedAdapter()
