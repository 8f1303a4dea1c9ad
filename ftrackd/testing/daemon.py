"""The daemon as a process of a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from ftrackd.daemon.control_client import ControlClient
from ftrackd.daemon.errors import ControlError
from ftrackd.errors import FtrackdError
from ftrackd.testing.sandbox import SandboxProcess

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.05


class DaemonProcessError(FtrackdError):
    """The daemon did not start, ended, or did not do in time what a test waits for."""


class DaemonProcess:
    """``ftrackd run`` in a process of its own, against a sandbox, with a state folder of its own.

    A context manager that is live when it is entered and drained when it is left. The state folder survives
    :meth:`kill` and :meth:`stop`, so :meth:`start` goes on with the same journal.

    Args:
        sandbox: The server.
        plugins: Files or folders with plugins.
        settings: Further settings as environment variables without prefix, such as
            ``{"DELIVERY__MAX_ATTEMPTS": "2"}``.
        options: Further options of ``ftrackd run``.
        environment: Further variables of the process.
    """

    def __init__(
        self,
        sandbox: SandboxProcess,
        plugins: Sequence[Path],
        *,
        settings: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._plugins = list(plugins)
        self._settings = dict(settings or {})
        self._options = list(options)
        #: Further variables of the process; a change takes effect with the next :meth:`start`.
        self.environment = dict(environment or {})
        self._folder = tempfile.TemporaryDirectory(prefix="ftrackd-")
        self._process: subprocess.Popen[bytes] | None = None
        self.state_dir = Path(self._folder.name)
        self.control = ControlClient(self.state_dir / "control.sock")
        self._log_path = self.state_dir / "log.jsonl"

    def __enter__(self) -> DaemonProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._process is not None:
                self.stop()
        finally:
            self.kill()
            self._folder.cleanup()

    @property
    def pid(self) -> int:
        """Process id of the main process; raise :class:`DaemonProcessError` when it does not run."""
        if self._process is None:
            raise DaemonProcessError("the daemon does not run")
        return self._process.pid

    @property
    def log(self) -> str:
        """What the daemon has logged in all its lives: one JSON document a line."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def start(self, *, until_live: bool = True) -> None:
        """Start the process and wait until it is live.

        Raise :class:`DaemonProcessError` with the log when it ends or is not live in time.
        """
        command = [sys.executable, "-P", "-m", "ftrackd", "run", *self._options]
        for path in self._plugins:
            command += ["--plugins", str(path)]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._variables(),
                start_new_session=True,
            )
        if until_live:
            self.wait_for(lambda: self.status()["state"] == "live", START_TIMEOUT_S, "live")

    def stop(self, *, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop with a signal and return the exit code; raise :class:`DaemonProcessError` when it goes on."""
        assert self._process is not None
        self._process.send_signal(number)
        try:
            code = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonProcessError(
                f"still running {STOP_TIMEOUT_S} s after {number.name}\n{self.log}"
            ) from None
        self._process = None
        return code

    def kill(self) -> None:
        """End the main process with SIGKILL; its plugin processes notice and end by themselves."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def status(self) -> dict[str, Any]:
        """Return ``ftrackd status``; raise :class:`ControlError` when nobody answers."""
        answer: dict[str, Any] = self.control.get("/status")
        return answer

    def plugin(self, name: str) -> dict[str, Any]:
        """Return one plugin as in ``ftrackd plugins``; raise :class:`DaemonProcessError` when there is
        none.
        """
        plugins = {plugin["name"]: plugin for plugin in self.control.get("/plugins")}
        if name not in plugins:
            raise DaemonProcessError(f"no plugin is named {name!r}, there are {sorted(plugins)}")
        found: dict[str, Any] = plugins[name]
        return found

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 30.0, what: str = "it") -> Any:
        """Return the first true value of ``condition``; nobody answering counts as false.

        Raise :class:`DaemonProcessError` with the log when the time is over or the daemon has ended.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                value = condition()
            except ControlError:
                value = None
            if value:
                return value
            if self._process is not None and self._process.poll() is not None:
                raise DaemonProcessError(f"ended with {self._process.returncode} before {what}\n{self.log}")
            if time.monotonic() > deadline:
                raise DaemonProcessError(f"not {what} within {timeout_s:g} s\n{self.log}")
            time.sleep(POLL_S)

    def _variables(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("FTRACKD_", "FTRACK_"))
        }
        own = {
            "FTRACKD_DAEMON__STATE_DIR": str(self.state_dir),
            "FTRACKD_LOGGING__FORMAT": "json",
            "FTRACKD_CONFIG": os.devnull,
        }
        chosen = {f"FTRACKD_{name}": value for name, value in self._settings.items()}
        return {**inherited, **own, **self._sandbox.environment, **chosen, **self.environment}
