"""The warm process that plugin processes are forked from: ``python -m ftrackd.hosting.template FD``.

It imports the client library and decodes server information and schemas once; each plugin process is a fork
that shares those pages. It runs no plugin code and has one thread, so forking it is safe at any time.

Why not multiprocessing's forkserver: we hand over our own sockets, put each process into its own group
that is ended as a whole, tie it to our life by the kernel where that exists, and hear of its end with its
signal. The standard one hides each of these, and starts a resource tracker that nobody needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import pkgutil
import selectors
import signal
import socket
import struct
import sys
import traceback
from typing import Any, Final, NoReturn

from ftrackd.api import _json
from ftrackd.hosting.link import encode_frame, receive_frame

COMMAND: Final = struct.Struct("!IIQ")
SPAWN: Final = 1
KILL: Final = 2
SIGNAL: Final = 3
HANDED_OVER: Final = 4  # link, output, diagnostics, tally
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36

# What plugins use most besides the client library. Imported before the first fork, all of them share it.
_WARM: Final = (
    "ftrackd.hosting.child.process",
    "ftrackd.hosting.trust",
    "requests",
    "arrow",
    "dataclasses",
    "functools",
    "faulthandler",
    "getpass",
    "json",
    "logging.handlers",
    "subprocess",
    "tempfile",
    "urllib.request",
    "uuid",
)


def main() -> None:
    """Warm up with what the main process sends, then fork on command until it goes away."""
    control = socket.socket(fileno=int(sys.argv[1]))
    sys.argv = ["ftrackd-plugin"]
    bootstrap = _receive_bootstrap(control)
    if bootstrap is None:
        return
    # Modules leave nothing to collect, and the next lines look once.
    gc.disable()
    library = importlib.import_module("ftrackd.api")
    modules = (module.name for module in pkgutil.walk_packages(library.__path__, "ftrackd.api."))
    for name in (*modules, *_WARM):
        importlib.import_module(name)
    # Pages of objects that the collector never visits stay shared.
    gc.collect()
    gc.freeze()
    gc.enable()
    Template(control, bootstrap).serve()


def _receive_bootstrap(control: socket.socket) -> dict[str, Any] | None:
    frame = receive_frame(control)
    if frame is None:
        return None
    bootstrap: dict[str, Any] = _json.loads(frame.payload)
    return bootstrap


class Template:
    """Forks plugin processes and reports their ends."""

    def __init__(self, control: socket.socket, bootstrap: dict[str, Any]) -> None:
        self._control = control
        self._bootstrap = bootstrap
        self._children: set[int] = set()
        self._wakeup_read, self._wakeup_write = socket.socketpair()

    def serve(self) -> None:
        """Obey until the main process closes the connection, then end all children."""
        self._wakeup_write.setblocking(False)
        self._wakeup_read.setblocking(False)
        signal.set_wakeup_fd(self._wakeup_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Ctrl-C in a terminal reaches the whole foreground group; the main process decides what ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _adopt_orphans()
        self._send("ready", {"pid": os.getpid()})
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ, self._obey)
            selector.register(self._wakeup_read, selectors.EVENT_READ, self._reap)
            going_on = True
            while going_on:
                for key, _ in selector.select():
                    going_on = key.data() and going_on
        for pid in self._children:
            _kill_group(pid)

    def _obey(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, COMMAND.size, HANDED_OVER)
        except ConnectionResetError:
            return False
        if not data:
            return False
        operation, argument, value = COMMAND.unpack(data)
        if operation == SPAWN:
            self._spawn(value, descriptors)
        elif value in self._children:
            # Only a process that is not reaped yet is signalled, so its number cannot be somebody else's.
            if operation == KILL:
                _kill_group(value)
                # Also when the plugin moved its process to another group.
                os.kill(value, signal.SIGKILL)
            else:
                os.kill(value, argument)
        return True

    def _spawn(self, request: int, descriptors: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_plugin(descriptors)
        # Here and in the child: whichever comes first, a command to end the group finds one.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._children.add(pid)
        for descriptor in descriptors:
            os.close(descriptor)
        self._send("spawned", {"request": request, "pid": pid})

    def _become_plugin(self, descriptors: list[int]) -> NoReturn:
        template = os.getppid()
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            self._control.close()
            self._wakeup_read.close()
            self._wakeup_write.close()
            os.setpgid(0, 0)
            _die_with_parent()
            if os.getppid() != template:
                os._exit(0)
            from ftrackd.hosting.child.process import run

            run(*descriptors, bootstrap=self._bootstrap)
        except BaseException:  # noqa: BLE001 - nothing may unwind into the template's own frames
            traceback.print_exc()
            os._exit(70)
        os._exit(0)

    def _reap(self) -> bool:
        # Woken without a signal is possible; looking for ended children does no harm.
        with contextlib.suppress(BlockingIOError):
            self._wakeup_read.recv(4096)
        while (ended := self._next_end()) is not None:
            pid, code = ended
            if pid in self._children:
                self._children.discard(pid)
                self._send("exited", {"pid": pid, "code": code})
        return True

    def _next_end(self) -> tuple[int, int] | None:
        """Reap a child that has ended, or an orphan that a plugin left to us; end what it left behind."""
        try:
            if not hasattr(os, "waitid"):  # macOS before Python 3.13
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return None
                _kill_group(pid)
                return pid, os.waitstatus_to_exitcode(status)
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return None
            if ended.si_pid in self._children:
                # While it is a zombie its group cannot be anybody else's.
                _kill_group(ended.si_pid)
            pid, status = os.waitpid(ended.si_pid, 0)
            return pid, os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            return None

    def _send(self, kind: str, header: dict[str, Any]) -> None:
        try:
            self._control.sendall(encode_frame(kind, header))
        except (BrokenPipeError, ConnectionResetError):
            # The main process is gone; the next look at the connection ends us.
            return


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # Nobody left in the group (macOS answers with a permission error for zombies).
        return


def _adopt_orphans() -> None:
    """Become the parent of what plugin processes leave behind, so that no zombies stay (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with_parent() -> None:
    """Ask the kernel to end this process with the template, and name it in the process list (Linux)."""
    if sys.platform.startswith("linux"):
        library = ctypes.CDLL(None, use_errno=True)
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        library.prctl(_PR_SET_NAME, b"ftrackd-plugin", 0, 0, 0)


if __name__ == "__main__":
    main()
