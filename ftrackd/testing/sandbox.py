"""The sandbox as a process of a test."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Final

from ftrackd.errors import FtrackdError

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 30.0
DEFAULT_USER: Final = "demo"


class SandboxProcessError(FtrackdError):
    """The sandbox did not start, ended, or refused what a test asked of it."""


class SandboxProcess:
    """A sandbox in a process of its own, on a free port of the loopback interface; it ends with its parent.

    A context manager; :meth:`start` and :meth:`stop` do the same by hand. ``url``, ``api_user`` and
    ``api_key`` are what a client needs. Without a *database* rows are in memory and a :meth:`restart`
    begins with the seed again.

    Args:
        seed: ``minimal``, ``demo`` or ``none``.
        database: SQLAlchemy address, such as ``sqlite:////tmp/x/studio.db``.
        user: Name of the user that the key belongs to.
        options: Further command line options, see ``python -m ftrackd.sandbox --help``.
    """

    def __init__(
        self,
        *,
        seed: str = "minimal",
        database: str | None = None,
        user: str = DEFAULT_USER,
        options: Sequence[str] = (),
    ) -> None:
        self._seed = seed
        self._database = database
        self._options = list(options)
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._output: deque[str] = deque(maxlen=1000)
        self._reader: threading.Thread | None = None
        self._port = 0
        self._is_ready = threading.Event()
        self.url = ""
        self.api_user = user
        self.api_key = secrets.token_urlsafe(24)

    def __enter__(self) -> SandboxProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id; raise :class:`SandboxProcessError` when it does not run."""
        return self._running().pid

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which clients find and enter this sandbox."""
        return {"FTRACK_SERVER": self.url, "FTRACK_API_USER": self.api_user, "FTRACK_API_KEY": self.api_key}

    @property
    def log(self) -> str:
        """What the process has written to standard error since its last start."""
        if self._log is None:
            return ""
        with open(self._log.name, encoding="utf-8", errors="replace") as file:
            return file.read()

    def start(self) -> None:
        """Start the process and wait until it is ready.

        Raise :class:`SandboxProcessError` with its output when it ends, or is not ready in time.
        """
        self.launch()
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            self._close_log()
            raise

    def launch(self) -> None:
        """Start the process without waiting for it."""
        if self._process is not None:
            raise SandboxProcessError("The sandbox runs already.")
        command = [sys.executable, "-P", "-m", "ftrackd.sandbox", "--port", str(self._port)]
        command += ["--seed", self._seed, "--user", self.api_user, "--follow-stdin"]
        if self._database is not None:
            command += ["--database", self._database]
        if self._log is not None:
            self._log.close()
        self._log = tempfile.NamedTemporaryFile("w", prefix="ftrackd-sandbox-", suffix=".log")  # noqa: SIM115
        self._process = subprocess.Popen(
            command + self._options,
            stdout=subprocess.PIPE,
            stderr=self._log,
            stdin=subprocess.PIPE,
            text=True,
            # Ctrl+C in the terminal is for the parent, which ends this process in its own time.
            start_new_session=True,
            env={**os.environ, "FTRACKD_SANDBOX_API_KEY": self.api_key},
        )
        self._is_ready.clear()
        self._output.clear()
        self._reader = threading.Thread(
            target=self._read_output, args=(self._process,), name="sandbox-output", daemon=True
        )
        self._reader.start()

    def wait_until_ready(self) -> None:
        """Wait for a launched process to serve.

        Raise :class:`SandboxProcessError` with its output when it ends, or is not ready in time.
        """
        if not self._is_ready.wait(START_TIMEOUT_S) or not self.url:
            output = "\n".join(self._output)
            raise SandboxProcessError(
                f"The sandbox did not start (exit code {self._running().poll()}):\n{output}\n{self.log}"
            )

    def stop(self) -> int | None:
        """End the process with SIGTERM and return its exit code; None when it does not run."""
        if self._process is None:
            self._close_log()
            return None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise SandboxProcessError(
                f"The sandbox did not end within {STOP_TIMEOUT_S} s of SIGTERM."
            ) from None
        code = self._process.returncode
        self._release()
        self._close_log()
        return code

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._release()

    def restart(self, *, kill: bool = False) -> None:
        """End the process, with SIGKILL if *kill*, and start it again on the same port with the same key."""
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    def fault(self, fault: str, **values: Any) -> dict[str, Any]:
        """Ask for a *fault*, such as ``drop_sockets`` or ``fail_requests``; return what is active then.

        See :mod:`ftrackd.sandbox.faults` for their names and values. Raise :class:`SandboxProcessError`
        when the sandbox refuses it.
        """
        return self._administer("POST", {"fault": fault, **values})

    def clear_faults(self) -> dict[str, Any]:
        """End every fault and thaw frozen sockets."""
        return self._administer("DELETE")

    def state(self) -> dict[str, Any]:
        """Return the active faults and the number of the hub's connections, subscriptions and deliveries."""
        return self._administer("GET")

    def call(self, *operations: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> list[Any]:
        """Return the results of *operations* sent as one batch, without any client library.

        Raise :class:`SandboxProcessError` with the error object when the batch fails.
        """
        answer = self._request("POST", "/api", json.dumps(operations).encode(), headers or {})
        if isinstance(answer, dict):
            raise SandboxProcessError(f"{answer.get('exception')}: {answer.get('content')}")
        results: list[Any] = answer
        return results

    def _administer(self, method: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        answer: dict[str, Any] = self._request(method, "/sandbox/faults", content, {})
        return answer

    def _request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the address is our own child's
            self.url + path,
            data=body,
            method=method,
            headers={
                "Content-Type": "application/json",
                "ftrack-user": self.api_user,
                "ftrack-api-key": self.api_key,
                **headers,
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise SandboxProcessError(f"{error.code}: {error.read().decode(errors='replace')}") from error

    def _read_output(self, process: subprocess.Popen[str]) -> None:
        """Read what the process prints until it ends, so that it never waits for a reader."""
        assert process.stdout is not None
        address = ""
        with process.stdout as lines:
            for line in lines:
                self._output.append(line.rstrip("\n"))
                name, _, value = line.strip().partition("=")
                if name == "FTRACK_SERVER":
                    address = value
                if line.startswith("sandbox ready"):
                    self.url = address
                    self._port = int(address.rpartition(":")[2])
                    self._is_ready.set()
        self._is_ready.set()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise SandboxProcessError("The sandbox does not run.")
        return self._process

    def _release(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        if self._reader is not None:
            self._reader.join(STOP_TIMEOUT_S)
        self._reader = None
        self._process = None

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
