"""The main process's view of one plugin process: its pipes, what it runs, what it has said."""

from __future__ import annotations

import collections
import itertools
import operator
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import psutil

from ftrackd.hosting.capture import OutputLines
from ftrackd.hosting.errors import LinkError
from ftrackd.hosting.flights import Flight, Flights, topic_of
from ftrackd.hosting.group import PluginGroup
from ftrackd.hosting.link import READ_BYTES, Frame, FrameDecoder, encode_frame, returned_reports
from ftrackd.hosting.loop import HostLoop
from ftrackd.hosting.model import HostedDelivery, PluginSubscription, RunningCallback
from ftrackd.hosting.stacks import plugin_stacks
from ftrackd.hosting.tally import Tally

ProcessState = Literal["spawning", "starting", "running", "finishing", "ended"]
_OUTPUT_PAUSE_S: Final = 0.005
_STACK_LIMIT_BYTES: Final = 60_000
_STACK_QUIET_S: Final = 0.2
_KIND: Final = operator.attrgetter("kind")


@dataclass(frozen=True)
class ProcessEnd:
    """How a process ended: ``code`` is negative for a signal, ``None`` when unknown."""

    code: int | None
    stack: str


@dataclass
class StartReport:
    """What a process said about loading its plugins: the fate of each module, and errors by plugin.

    ``sessionless`` are plugins whose Session could not be started, ``failed`` they and all files that failed.
    """

    modules: dict[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    sessionless: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, plugins: list[Mapping[str, Any]]) -> StartReport:
        """Return the report that a process sent."""
        report = cls()
        for plugin in plugins:
            modules = tuple(plugin["modules"])
            errors = [
                f"{module['file']}: {module['stage']}: {module['error']}\n{module['traceback']}"
                for module in modules
                if module["error"]
            ]
            if plugin["failure"]:
                errors.append(plugin["failure"])
                report.sessionless.add(plugin["plugin"])
                report.failed.add(plugin["plugin"])
            report.failed.update(module["file"] for module in modules if module["error"])
            report.modules[plugin["plugin"]] = modules
            if errors:
                report.errors[plugin["plugin"]] = "\n".join(errors)
        return report

    def require_registered(self, former: StartReport) -> None:
        """Count files as failed that registered with *former* and have no ``register`` now.

        Such a file was read while it was being written; what is to be no plugin any more is removed.
        """
        for plugin, modules in self.modules.items():
            before = former.registered_files(plugin)
            for module in modules:
                if module["stage"] == "no register" and module["file"] in before:
                    self.failed.add(module["file"])
                    error = f"{module['file']}: it has no register function any more"
                    self.errors[plugin] = f"{self.errors.get(plugin, '')}\n{error}".strip()

    def registered_files(self, plugin: str) -> frozenset[str]:
        """Return the files of *plugin* that registered."""
        return frozenset(
            module["file"] for module in self.modules.get(plugin, ()) if module["stage"] == "registered"
        )

    @property
    def registered(self) -> list[str]:
        """The plugins of which at least one module registered."""
        return [plugin for plugin in self.modules if self.is_registered(plugin)]

    def is_registered(self, plugin: str) -> bool:
        """Return whether at least one module of *plugin* registered."""
        if plugin in self.sessionless:
            return False
        return any(module["stage"] == "registered" for module in self.modules.get(plugin, ()))


class HostedProcess:
    """One plugin process. Everything but :meth:`send` and :meth:`deliver` runs in the host's loop."""

    def __init__(
        self,
        loop: HostLoop,
        group: PluginGroup,
        generation: int,
        concurrency: Mapping[str, int],
        on_frame: Callable[[HostedProcess, Frame], None],
        on_done: Callable[[HostedProcess, Sequence[Frame]], None],
        on_returned: Callable[[HostedProcess, Sequence[tuple[int, float]]], None],
        on_end: Callable[[HostedProcess], None],
        output: OutputLines,
    ) -> None:
        self._loop = loop
        self._concurrency = concurrency
        self._on_frame = on_frame
        self._on_done = on_done
        self._on_returned = on_returned
        self._on_end = on_end
        self._decoder = FrameDecoder()
        self._unsent: collections.deque[memoryview] = collections.deque()
        # Guards the link's writing side and the flights: deliveries come from other threads.
        self._lock = threading.Lock()
        self._stack = bytearray()
        self._last_stack = 0.0
        self._is_link_ended = False
        self._ready: frozenset[str] = frozenset()
        self._facts: psutil.Process | None = None
        self.group = group
        self.generation = generation
        self.plugins = plugins = tuple(concurrency)
        self.state: ProcessState = "spawning"
        self.pid: int | None = None
        # When it was asked for, and then when it came to be.
        self.started_at = time.monotonic()
        self.loading: tuple[str, float] | None = None
        """The plugin whose code it loads or loaded last, and since when."""
        self.loading_guest: tuple[str, float] | None = None
        """The session plugin that it loads for that one's Session, and since when."""
        self.running_since: float | None = None
        self.flights = Flights(concurrency)
        self.subscriptions: dict[str, dict[str, PluginSubscription]] = {plugin: {} for plugin in plugins}
        self.published: list[Frame] = []
        self.report = StartReport()
        self.end_reason = ""
        self.timed_out: set[int] = set()
        self.kill_at: float | None = None
        self.kill_without_stack_at: float | None = None
        self.is_doomed = False
        self.finish_by: float | None = None
        self.stack_due: tuple[float, Flight] | None = None
        self.used_at = self.asked_at = self.measured_at = 0.0
        """When it last had a delivery or said something, was asked whether it is there, and was measured."""
        self.unanswered_since: float | None = None
        """Since when it owes an answer to that question."""
        self.is_responsive = True
        self.memory_bytes = 0
        self.dropped_lines = 0
        self.output = output
        self.reported_drops = 0
        self.exit: ProcessEnd | None = None
        self.link, self._child_link = socket.socketpair()
        self._output, self._child_output = os.pipe()
        self._diagnostics, self._child_diagnostics = os.pipe()
        self._child_tally = Tally.create(len(plugins))
        self._tally = Tally(self._child_tally)
        self.link.setblocking(False)
        os.set_blocking(self._output, False)
        os.set_blocking(self._diagnostics, False)

    @property
    def child_descriptors(self) -> list[int]:
        """What the process gets: its ends of link, output and diagnostics, and the tally."""
        return [self._child_link.fileno(), self._child_output, self._child_diagnostics, self._child_tally]

    def take_child_ends(self) -> tuple[socket.socket, Tally]:
        """Return the other end of the link and the tally, for a plugin process that is a thread here."""
        link = self._child_link
        self._child_link = socket.socket(socket.AF_UNIX)
        return link, Tally(self._child_tally)

    def concurrency_of(self, plugin: str) -> int:
        """Return how many event deliveries of *plugin* run side by side."""
        return self._concurrency.get(plugin, 1)

    def begin(self) -> None:
        """Watch the pipes; the process has its ends."""
        self._child_link.close()
        for descriptor in (self._child_output, self._child_diagnostics, self._child_tally):
            os.close(descriptor)
        self._child_output = self._child_diagnostics = self._child_tally = -1
        self._loop.watch(self.link, self._read_link)
        if self._unsent:
            self._write_rest_when_possible()
        self._loop.watch(self._output, self._read_output)
        self._loop.watch(self._diagnostics, self._read_diagnostics)

    def send(self, kind: str, header: Mapping[str, Any] | None = None, payload: bytes = b"") -> None:
        """Send a frame without waiting; what does not fit now follows. From any thread."""
        with self._lock:
            self._send(encode_frame(kind, header, payload))

    def deliver(self, plugin: str, deliveries: Sequence[HostedDelivery]) -> bool:
        """Send deliveries of one lane, to be run in turn; return whether the process takes any. From any
        thread.
        """
        lane_name = deliveries[0].lane
        items = [
            (
                delivery.delivery_id,
                delivery.token,
                delivery.attempt,
                delivery.replayed,
                delivery.expires_at,
                len(delivery.payload),
            )
            for delivery in deliveries
        ]
        data = encode_frame(
            "deliver",
            {"plugin": plugin, "lane": lane_name, "items": items},
            b"".join([delivery.payload for delivery in deliveries]),
        )
        with self._lock:
            if self.state != "running" or plugin not in self._ready:
                return False
            self.used_at = time.monotonic()
            self.flights.add(plugin, lane_name, deliveries)
            self._send(data)
        return True

    def run(self) -> None:
        """Take deliveries from now on."""
        with self._lock:
            self.state = "running"
            self._ready = frozenset(self.report.registered)
        self.running_since = time.monotonic()

    def heard_loading(self, plugin: str, guest: str) -> None:
        """Note what the process begins to load: *plugin*, or first *guest* for its Session."""
        now = time.monotonic()
        self.loading_guest = (guest, now) if guest else None
        if not guest or self.loading is None or self.loading[0] != plugin:
            self.loading = (plugin, now)

    def retire(self) -> None:
        """Take no more deliveries."""
        with self._lock:
            self.state = "finishing"

    def landed(self, delivery_ids: Sequence[int]) -> list[Flight | None]:
        """Return the flights that ended, and let the next ones of their lanes begin."""
        with self._lock:
            return self.flights.land(delivery_ids)

    def take_flights(self) -> list[Flight]:
        """Return all flights, which end with the process."""
        with self._lock:
            return self.flights.take_all()

    @property
    def is_quiet(self) -> bool:
        """Whether it only waits for deliveries: nothing is there that could take too long."""
        return (
            self.state == "running" and not self.flights and self.kill_at is None and self.stack_due is None
        )

    def is_due(self, looked_at: float, idle_s: float, now: float) -> bool:
        """Return whether to look at it again: it was used since *looked_at*, or that is *idle_s* ago."""
        return not self.is_quiet or self.used_at >= looked_at or now - looked_at >= idle_s

    def begun_flights(self) -> list[Flight]:
        """Return the flights whose callbacks run."""
        with self._lock:
            return self.flights.begun()

    def catch_up(self) -> None:
        """Count as returned what the process noted as such and did not report yet.

        It holds reports back for a moment, which is as long as its next callback takes, or for ever when
        that is its end.
        """
        if not self.flights:
            return
        # First: what was reported before a note was written is then in the link.
        latest = [self._tally.latest(place) for place in range(len(self.plugins))]
        if not self._read_until_empty(self._read_link):
            return
        for plugin, (delivery_id, token) in zip(self.plugins, latest, strict=True):
            with self._lock:
                unreported = self.flights.until(plugin, delivery_id, token)
            if unreported:
                self._on_returned(self, [(returned, 0.0) for returned in unreported])

    def running(self, plugin: str) -> tuple[RunningCallback, ...]:
        """Return what callbacks of *plugin* run, and since when."""
        now = time.monotonic()
        return tuple(
            RunningCallback(
                flight.delivery.delivery_id,
                flight.delivery.lane,
                topic_of(flight),
                now - (flight.began_at or now),
                flight.is_reported,
            )
            for flight in self.begun_flights()
            if flight.plugin == plugin
        )

    def measure_memory(self) -> int:
        """Return the process's resident memory in bytes, 0 when it has none of its own."""
        if self.pid is None:
            return 0
        self.measured_at = time.monotonic()
        try:
            # Kept: making one reads when the process began, which costs more than the question.
            self._facts = self._facts or psutil.Process(self.pid)
            self.memory_bytes = int(self._facts.memory_info().rss)
        except psutil.Error:
            # It is ending; its end is handled where it is noticed.
            return self.memory_bytes
        return self.memory_bytes

    def describe_end(self) -> str:
        """Return why the process ended, in words."""
        if self.end_reason:
            return self.end_reason
        code = self.exit.code if self.exit is not None else None
        if code is None:
            return "its process is gone"
        if code == -signal.SIGKILL:
            # Not by us, then: that has its reason above.
            causes = "the kernel short of memory, somebody's kill, or it closed its connection to the daemon"
            return f"its process died by SIGKILL ({causes})"
        if code < 0:
            return f"its process died by {signal_name(-code)}"
        if self.state == "ended" and self.finish_by is not None and code == 0:
            return "finished"
        return f"its process ended with code {code}"

    def take_drops(self) -> int:
        """Return how many lines of log and output were left out since the last call."""
        dropped = self.dropped_lines + self.output.dropped
        new, self.reported_drops = dropped - self.reported_drops, dropped
        return new

    def take_stack(self) -> str:
        """Return what the plugin does by the stacks that the process wrote since the last call."""
        text = self._stack.decode("utf-8", "replace")
        self._stack.clear()
        return plugin_stacks(text)

    def has_stack(self, now: float) -> bool:
        """Return whether a stack has arrived, as a whole: on a busy machine it comes in pieces."""
        return bool(self._stack) and now - self._last_stack >= _STACK_QUIET_S

    def drain(self) -> None:
        """Read everything that an ended process left in its pipes."""
        self._read_until_empty(self._read_link)
        self._read_until_empty(self._read_diagnostics)
        self._read_until_empty(self._read_output)
        self.output.end()
        self.catch_up()

    def close(self) -> None:
        """Let go of all descriptors."""
        for file in (self.link, self._output, self._diagnostics):
            self._loop.forget(file)
        with self._lock:
            self.state = "ended"
            self.link.close()
            self._child_link.close()
        self._tally.close()
        own = (self._child_output, self._child_diagnostics, self._child_tally)
        for descriptor in (self._output, self._diagnostics, *own):
            if descriptor >= 0:
                os.close(descriptor)
        self._output = self._diagnostics = -1
        self._child_output = self._child_diagnostics = self._child_tally = -1

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        if not self._unsent:
            try:
                view = view[self.link.send(view) :]
            except BlockingIOError:
                pass
            except OSError:
                # The process is gone; its end is handled in the loop and every flight with it.
                return
        if view:
            is_first = not self._unsent
            self._unsent.append(view)
            if is_first:
                self._loop.call(self._write_rest_when_possible)

    def _write_rest_when_possible(self) -> None:
        if self.state != "ended":
            self._loop.watch_writing(self.link, self._read_link, self._write_rest)

    def _write_rest(self) -> None:
        with self._lock:
            try:
                while self._unsent:
                    rest = self._unsent[0][self.link.send(self._unsent[0]) :]
                    if rest:
                        self._unsent[0] = rest
                        return
                    self._unsent.popleft()
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()
            self._loop.watch_writing(self.link, self._read_link, None)

    def _read_link(self) -> bool:
        try:
            data = self.link.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            return self._end_link()
        try:
            frames = self._decoder.feed(data)
            for kind, some in itertools.groupby(frames, _KIND):
                self._heard(kind, some)
        except LinkError as error:
            self.end_reason = f"it sent something unreadable: {error}"
            return self._end_link()
        return True

    def _heard(self, kind: str, frames: Iterator[Frame]) -> None:
        if kind == "returned":
            self._on_returned(self, [report for frame in frames for report in returned_reports(frame)])
        elif kind == "done":
            self._on_done(self, list(frames))
        else:
            if kind != "pong":
                self.used_at = time.monotonic()
            for frame in frames:
                self._on_frame(self, frame)

    def _end_link(self) -> bool:
        self._loop.forget(self.link)
        if not self._is_link_ended:
            self._is_link_ended = True
            self._on_end(self)
        return False

    def _read_output(self) -> bool:
        data = self._read_pipe(self._output, READ_BYTES)
        if not data:
            return False
        self.used_at = time.monotonic()
        if not self.output.take(data):
            # A flood: look again later, so that it waits for us and not everybody else.
            self._loop.forget(self._output)
            self._loop.later(_OUTPUT_PAUSE_S, self._resume_output)
        return True

    def _resume_output(self) -> None:
        if self._output >= 0 and self.state != "ended":
            self._loop.watch(self._output, self._read_output)

    def _read_diagnostics(self) -> bool:
        data = self._read_pipe(self._diagnostics, READ_BYTES)
        if data and len(self._stack) < _STACK_LIMIT_BYTES:
            self._stack += data[: _STACK_LIMIT_BYTES - len(self._stack)]
            self._last_stack = time.monotonic()
        return bool(data)

    def _read_pipe(self, descriptor: int, size: int) -> bytes:
        if descriptor < 0:
            return b""
        try:
            data = os.read(descriptor, size)
        except BlockingIOError:
            return b""
        if not data:
            self._loop.forget(descriptor)
        return data

    def _read_until_empty(self, read: Callable[[], bool]) -> bool:
        # Bounded, so that a leftover that keeps writing cannot hold the host.
        return any(self.state == "ended" or not read() for _ in range(256))


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGSEGV."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
