"""The main process's end of the template: start it, ask for processes, hear of their ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

from ftrackd.api import _json
from ftrackd.hosting.errors import TemplateError
from ftrackd.hosting.link import Frame, FrameDecoder, encode_frame
from ftrackd.hosting.model import Bootstrap
from ftrackd.hosting.template import COMMAND, KILL, SIGNAL, SPAWN


class TemplateClient:
    """Starts the template process and speaks with it.

    All methods but :meth:`start` and :meth:`close` may be called from any thread; :meth:`receive` from one.
    """

    def __init__(self, bootstrap: Bootstrap) -> None:
        self._bootstrap = bootstrap
        self._process: subprocess.Popen[bytes] | None = None
        self._decoder = FrameDecoder()
        # Keeps commands of different threads whole.
        self._lock = threading.Lock()
        self.connection: socket.socket | None = None

    def start(self) -> None:
        """Start the process and hand it what every Session needs; raises :class:`TemplateError`."""
        ours, theirs = socket.socketpair()
        environment = dict(os.environ)
        # A Session that a callback makes for itself must not load the host's plugins again.
        environment.pop("FTRACK_EVENT_PLUGIN_PATH", None)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ftrackd.hosting.template", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise TemplateError(f"{sys.executable} could not be started: {error}") from error
        finally:
            theirs.close()
        payload = _json.dumps(
            {
                "server_information": dict(self._bootstrap.server_information),
                "schemas": list(self._bootstrap.schemas),
            }
        )
        try:
            ours.sendall(encode_frame("bootstrap", {}, payload))
        except OSError as error:
            ours.close()
            raise TemplateError(f"the template process ended at once: {error}") from error
        self.connection = ours

    def spawn(self, request: int, descriptors: list[int]) -> None:
        """Ask for a process that gets *descriptors*; a ``spawned`` message with *request* follows."""
        with self._lock:
            if self.connection is None:
                raise TemplateError("the template process is not running")
            try:
                socket.send_fds(self.connection, [COMMAND.pack(SPAWN, 0, request)], descriptors)
            except OSError as error:
                raise TemplateError(f"the template process is gone: {error}") from error

    def kill(self, pid: int) -> None:
        """End the process *pid* and everything it started."""
        self._command(KILL, 0, pid)

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to the process *pid*."""
        self._command(SIGNAL, int(number), pid)

    def receive(self) -> list[Frame] | None:
        """Return the messages that have arrived, or ``None`` when the template is gone."""
        if self.connection is None:
            return None
        try:
            data = self.connection.recv(65536)
        except OSError:
            return None
        return self._decoder.feed(data) if data else None

    def close(self, timeout_s: float = 5.0) -> None:
        """End the template, and with it every process that it forked."""
        with self._lock:
            connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _command(self, operation: int, argument: int, value: int) -> None:
        with self._lock:
            if self.connection is None:
                return
            try:
                self.connection.sendall(COMMAND.pack(operation, argument, value))
            except OSError:
                # The template is gone and its children with it; its end is handled where it is noticed.
                return
