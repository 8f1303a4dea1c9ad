"""The life of a plugin process: from the fork to its end."""

from __future__ import annotations

import atexit
import faulthandler
import hashlib
import logging
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ftrackd.api import _json, alias
from ftrackd.api._plugin_loading import SourceLoader, forget_modules, install_source_finder
from ftrackd.hosting import trust
from ftrackd.hosting.child.output import LineBudget, LineStream, LinkLogHandler
from ftrackd.hosting.child.runtime import ImportedModules, PluginRuntime, waiting_threads
from ftrackd.hosting.child.specification import PluginSpecification, ProcessSpecification, decode_plugins
from ftrackd.hosting.link import Frame, Link
from ftrackd.hosting.tally import Tally

_THREAD_GRACE_S: Final = 2.0
_DATA_HEADROOM_BYTES: Final = 512 * 1024 * 1024


def run(link: int, output: int, diagnostics: int, tally: int, *, bootstrap: Mapping[str, Any]) -> None:
    """Be a plugin process: *link* leads to the main process, *output* takes what is written to 1 and 2.

    Stacks of hanging and crashing threads go to *diagnostics*; *tally* is memory shared with the main
    process. Returns when the process should end.
    """
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.set_inheritable(link, False)
    os.set_inheritable(diagnostics, False)
    faulthandler.enable(diagnostics, all_threads=True)
    faulthandler.register(signal.SIGUSR1, diagnostics, all_threads=True)
    # A service manager may signal every process of the service; which plugins end is decided by the main one.
    # A handler, not SIG_IGN: that would be inherited by the programs that plugins start.
    signal.signal(signal.SIGTERM, _stay)
    connection = socket.socket(fileno=link)
    os.register_at_fork(after_in_child=lambda: _leave(connection, diagnostics))
    notes = Tally(tally)
    os.close(tally)
    PluginProcess(Link(connection), notes, bootstrap, is_forked=True).serve()
    _end()


class PluginProcess:
    """Obeys the main process: loads, delivers, resets, finishes.

    With *is_forked* false it runs in the main process itself, for a debugger: then logging and standard
    streams are left alone.
    """

    def __init__(self, link: Link, tally: Tally, bootstrap: Mapping[str, Any], *, is_forked: bool) -> None:
        self._link = link
        self._tally = tally
        self._bootstrap = bootstrap
        self._is_forked = is_forked
        self._control: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._runtimes: dict[str, PluginRuntime] = {}
        self._imported = ImportedModules()
        self._budget = LineBudget(1000)
        self._reported_files: dict[str, str] = {}
        self._guest_paths: tuple[str, ...] = ()

    def serve(self) -> None:
        """Obey until told to finish, or until the main process is gone."""
        threading.Thread(target=self._receive, name="ftrackd-link", daemon=True).start()
        while (frame := self._control.get()) is not None:
            if frame.kind == "start":
                self._start(ProcessSpecification.from_json(_json.loads(frame.payload)))
            elif frame.kind == "guests":
                self._change_guests(_json.loads(frame.payload))
            elif frame.kind == "reset":
                for runtime in self._runtimes.values():
                    runtime.reset()
                self._link.send("reset")
            elif frame.kind == "finish":
                self._finish(float(frame.header["seconds"]))
                return

    def _receive(self) -> None:
        while (frame := self._link.receive()) is not None:
            runtime = self._runtimes.get(frame.header.get("plugin", ""))
            if frame.kind == "ping":
                self._answer(frame)
            elif runtime is None:
                self._control.put(frame)
            elif frame.kind == "deliver":
                runtime.deliver(frame)
            elif frame.kind == "recall":
                runtime.recall()
            elif frame.kind == "reply":
                runtime.reply(frame.payload)
            elif frame.kind == "acknowledge":
                runtime.acknowledge(frame.header["number"], frame.payload)
        if self._is_forked:
            # The main process is gone: nobody may stay behind, not even what the plugin started.
            if os.getpgrp() == os.getpid():
                os.killpg(0, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        self._control.put(None)

    def _start(self, specification: ProcessSpecification) -> None:
        if self._is_forked:
            self._prepare(specification)
        self._prepare_python(specification)
        for place, plugin in enumerate(specification.plugins):
            runtime = PluginRuntime(
                plugin, specification, self._bootstrap, self._link, self._tally, place, self._imported
            )
            self._runtimes[runtime.name] = runtime
        reports = []
        for runtime in self._runtimes.values():
            failure = ""
            self._link.send("loading", {"plugin": runtime.name, "guest": ""})
            try:
                runtime.start()
            except BaseException as error:
                logging.getLogger("ftrackd.hosting.plugin").exception("The Session could not be started")
                failure = f"the Session could not be started: {type(error).__name__}: {error}"
            reports.append(
                {
                    "plugin": runtime.name,
                    "failure": failure,
                    "modules": [asdict(module) for module in runtime.report.modules],
                }
            )
        self._guest_paths = guest_paths(specification.guests, self._runtimes)
        self._reported_files = {**foreign_files(), **SourceLoader.files}
        self._link.send("started", {"plugins": reports, "files": self._own_files(self._reported_files)})

    def _prepare(self, specification: ProcessSpecification) -> None:
        """Make this process the plugin's own: limits, logging, standard streams."""
        if specification.memory_limit_bytes is not None:
            _limit_memory(specification.memory_limit_bytes)
        self._budget = LineBudget(specification.log_lines_per_s)
        root = logging.getLogger()
        root.handlers[:] = [LinkLogHandler(self._link, self._budget, specification.plugins[0].source.name)]
        root.setLevel(specification.log_level)
        logging.captureWarnings(True)
        sys.stdout = LineStream(sys.__stdout__, "print", logging.INFO)
        sys.stderr = LineStream(sys.__stderr__, "stderr", logging.WARNING)

    def _prepare_python(self, specification: ProcessSpecification) -> None:
        """Let plugins find the server, our client library and their own modules."""
        os.environ["FTRACK_SERVER"] = specification.server_url
        os.environ["FTRACK_API_USER"] = specification.api_user
        os.environ["FTRACK_API_KEY"] = specification.api_key
        # A Session that a callback makes for itself must not load the host's plugins again.
        os.environ.pop("FTRACK_EVENT_PLUGIN_PATH", None)
        alias.install()
        if not self._is_forked:
            # Another version may have run here before; a new one starts from its files.
            for plugin in specification.plugins:
                forget_modules(plugin.source)
        install_source_finder(
            [Path(root) for root in specification.roots],
            None if specification.allows_unsafe_paths else trust.read_trusted,
        )

    def _own_files(self, files: Mapping[str, str]) -> dict[str, str]:
        return {
            path: seen for path, seen in files.items() if not path.startswith(self._guest_paths or ("//",))
        }

    def _change_guests(self, values: Mapping[str, Any]) -> None:
        guests = decode_plugins(values["guests"])
        self._guest_paths = guest_paths(guests, self._runtimes)
        changed = []
        for guest in guests:
            name = guest.source.name
            if (
                name in values["changed"]
                and name not in self._runtimes
                and self._imported.refresh(guest.source)
            ):
                changed.append(name)
        for runtime in self._runtimes.values():
            runtime.change_guests(guests, changed)
        self._imported.keep_only({*self._runtimes, *(guest.source.name for guest in guests)})
        self._link.send("configured")

    def _finish(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for runtime in self._runtimes.values():
            runtime.finish(deadline)
        self._link.send("finished")

    def _answer(self, frame: Frame) -> None:
        new_files = {
            path: seen for path, seen in dict(SourceLoader.files).items() if path not in self._reported_files
        }
        if new_files:
            self._reported_files.update(new_files)
            new_files = self._own_files(new_files)
        self._link.send(
            "pong",
            {
                "number": frame.header["number"],
                "dropped_lines": self._budget.dropped,
                "files": new_files,
            },
        )


def foreign_files() -> dict[str, str]:
    """Return the files that were imported from elsewhere, a studio's library, with their SHA-256.

    They are loaded as Python does it; their changes should reload the plugin all the same.
    """
    installed = tuple(
        {os.path.realpath(path) + os.sep for path in (sys.prefix, sys.base_prefix, *_package_folders())}
    )
    files = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py"):
            continue
        real = os.path.realpath(file)
        if not real.startswith(installed) and os.path.isfile(real):
            with open(real, "rb") as source:
                files[real] = hashlib.sha256(source.read()).hexdigest()
    return files


def _package_folders() -> list[str]:
    return [str(Path(__file__).parents[2]), *(path for path in sys.path if path.endswith("-packages"))]


def guest_paths(guests: Sequence[PluginSpecification], own: Container[str]) -> tuple[str, ...]:
    """Return the files and folders of session plugins: their changes are no changes of the process's own."""
    paths = []
    for guest in guests:
        if guest.source.name in own:
            continue
        if guest.source.root.is_dir():
            paths.append(os.path.realpath(guest.source.root) + os.sep)
        else:
            paths += [os.path.realpath(module) for module in guest.source.modules]
    return tuple(paths)


def _limit_memory(limit_bytes: int) -> None:
    """Let an allocation fail before the machine suffers; at the limit the host replaces the process."""
    ceiling = max(2 * limit_bytes, limit_bytes + _DATA_HEADROOM_BYTES)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or ceiling < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (ceiling, hard))


def _stay(*_: object) -> None:
    """Do nothing about a signal."""


def _leave(connection: socket.socket, diagnostics: int) -> None:
    """In a process that the plugin forks: let go of the link, which is not its own."""
    connection.close()
    if signal.getsignal(signal.SIGTERM) is _stay:
        # Whoever forked it may want to end it: multiprocessing's pools wait until that has worked.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.getLogger().handlers[:] = [logging.StreamHandler(sys.__stderr__)]
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    faulthandler.disable()
    faulthandler.unregister(signal.SIGUSR1)
    os.close(diagnostics)


def _end() -> None:
    """End like an interpreter would, but without waiting for ever on threads that a plugin left."""
    deadline = time.monotonic() + _THREAD_GRACE_S
    for thread in waiting_threads():
        thread.join(max(0.0, deadline - time.monotonic()))
    atexit._run_exitfuncs()
    logging.shutdown()
    os._exit(0)
