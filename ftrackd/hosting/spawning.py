"""Makes plugin processes: forks of the template, or threads of this process for a debugger."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from ftrackd.hosting.errors import TemplateError
from ftrackd.hosting.link import Link
from ftrackd.hosting.loop import HostLoop
from ftrackd.hosting.model import Bootstrap
from ftrackd.hosting.process import HostedProcess, ProcessEnd
from ftrackd.hosting.template_client import TemplateClient

_TEMPLATE_DELAY_S: Final = 0.5
_END_WAIT_S: Final = 1.0
_log = structlog.stdlib.get_logger("ftrackd.hosting.spawning")


class Spawner:
    """Starts and ends plugin processes and hears of their ends. Runs in the host's loop."""

    def __init__(
        self,
        loop: HostLoop,
        bootstrap: Bootstrap,
        on_end: Callable[[HostedProcess], None],
        *,
        in_process: bool,
    ) -> None:
        self._loop = loop
        self._bootstrap = bootstrap
        self._on_end = on_end
        self._in_process = in_process
        self._template: TemplateClient | None = None
        self._requests: dict[int, HostedProcess] = {}
        self._processes: dict[int, HostedProcess] = {}
        self._numbers = itertools.count(1)
        self._is_closing = False
        self._template_failures = 0

    def start(self) -> None:
        """Start the template; called before the loop runs. Raises :class:`TemplateError`."""
        if not self._in_process:
            self._start_template()

    def spawn(self, process: HostedProcess) -> None:
        """Start *process*; it can be sent frames at once."""
        if self._in_process:
            self._run_here(process)
            return
        if self._template is None:
            # The template is on its way back; the process starts with it.
            self._loop.later(_TEMPLATE_DELAY_S, lambda: self._spawn_late(process))
            return
        number = next(self._numbers)
        self._requests[number] = process
        try:
            self._template.spawn(number, process.child_descriptors)
        except TemplateError as error:
            process.end_reason = str(error)
            self._requests.pop(number, None)
            self._loop.call(lambda: self._ended(process, None))
            return
        process.begin()

    def kill(self, process: HostedProcess) -> None:
        """End *process* and everything it started."""
        process.is_doomed = True
        if process.pid is not None and self._template is not None:
            self._template.kill(process.pid)
        elif self._in_process:
            process.end_reason += " (it runs in the main process, which cannot end it)"

    def signal(self, process: HostedProcess, number: signal.Signals) -> None:
        """Send a signal to *process*."""
        if process.pid is not None and self._template is not None:
            self._template.signal(process.pid, number)

    def link_closed(self, process: HostedProcess) -> None:
        """Deal with a process whose link ended: it is ending, or nothing can be asked of it any more."""
        if self._in_process:
            self._ended(process, 0)
        elif process.kill_at is None:
            process.kill_at = time.monotonic() + _END_WAIT_S

    def close(self) -> None:
        """End the template and every process that is left."""
        self._is_closing = True
        template, self._template = self._template, None
        if template is not None:
            if template.connection is not None:
                self._loop.forget(template.connection)
            template.close()
        for process in [*self._processes.values(), *self._requests.values()]:
            self._ended(process, None)
        self._processes.clear()
        self._requests.clear()

    def _start_template(self) -> None:
        template = TemplateClient(self._bootstrap)
        template.start()
        self._template = template
        self._loop.watch(template.connection, self._hear_template)

    def _spawn_late(self, process: HostedProcess) -> None:
        if process.state != "ended" and not self._is_closing:
            self.spawn(process)

    def _run_here(self, process: HostedProcess) -> None:
        from ftrackd.hosting.child.process import PluginProcess

        connection, tally = process.take_child_ends()
        link = Link(connection)
        bootstrap = {
            "server_information": dict(self._bootstrap.server_information),
            "schemas": list(self._bootstrap.schemas),
        }
        here = PluginProcess(link, tally, bootstrap, is_forked=False)

        def run() -> None:
            try:
                here.serve()
            finally:
                link.close()

        process.begin()
        threading.Thread(target=run, name=f"ftrackd-plugins-{process.generation}", daemon=True).start()

    def _hear_template(self) -> None:
        template = self._template
        if template is None:
            return
        frames = template.receive()
        if frames is None:
            self._template_ended(template)
            return
        for frame in frames:
            if frame.kind == "ready":
                self._template_failures = 0
            elif frame.kind == "spawned":
                self._spawned(int(frame.header["request"]), int(frame.header["pid"]))
            elif frame.kind == "exited":
                process = self._processes.pop(int(frame.header["pid"]), None)
                if process is not None:
                    self._ended(process, int(frame.header["code"]))

    def _spawned(self, number: int, pid: int) -> None:
        process = self._requests.pop(number)
        process.pid = pid
        process.started_at = time.monotonic()
        self._processes[pid] = process
        if process.is_doomed:
            self.kill(process)

    def _ended(self, process: HostedProcess, code: int | None) -> None:
        if process.exit is not None:
            return
        process.drain()
        process.exit = ProcessEnd(code, process.take_stack())
        process.close()
        self._on_end(process)

    def _template_ended(self, template: TemplateClient) -> None:
        """Every plugin process ended with it: report them, and start another one."""
        self._loop.forget(template.connection)
        self._template = None
        template.close()
        _log.error("template process ended", processes=len(self._processes))
        lost = [*self._processes.values(), *self._requests.values()]
        self._processes.clear()
        self._requests.clear()
        for process in lost:
            process.end_reason = process.end_reason or "the template process that it was forked from ended"
            self._ended(process, None)
        delay = _TEMPLATE_DELAY_S * (2 ** min(self._template_failures, 6) - 1)
        self._template_failures += 1
        self._loop.later(delay, self._start_template_again)

    def _start_template_again(self) -> None:
        if self._is_closing:
            return
        try:
            self._start_template()
        except TemplateError as error:
            _log.error("template process does not start", error=str(error))
            self._loop.later(10 * _TEMPLATE_DELAY_S, self._start_template_again)
