"""Limits of plugin processes: time, heartbeat, memory. Names the culprit with its stack, then acts."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog

from ftrackd.hosting.flights import Flight, topic_of
from ftrackd.hosting.group import PluginGroup
from ftrackd.hosting.process import HostedProcess
from ftrackd.settings import HostingSettings, PluginSettings

TICK_S: Final = 0.25
HEARTBEAT_S: Final = 5.0
_MEMORY_S: Final = 2.0
# A process without deliveries changes little, and each look at it wakes it up: thirty of them add up.
_IDLE_HEARTBEAT_S: Final = 4 * HEARTBEAT_S
_IDLE_MEMORY_S: Final = 5 * _MEMORY_S
# So long a question stays unanswered before that is said.
_SILENCE_S: Final = 2 * HEARTBEAT_S
# Time for a stack to be written before the process is ended.
_STACK_WAIT_S: Final = 0.3
_LONGEST_STACK_WAIT_S: Final = 3.0
_FINISH_GRACE_S: Final = 10.0

_log = structlog.stdlib.get_logger("ftrackd.hosting.supervision")


class ProcessControl(Protocol):
    """What supervision does to a process."""

    def kill(self, process: HostedProcess) -> None:
        """End the process and everything it started."""

    def signal(self, process: HostedProcess, number: signal.Signals) -> None:
        """Send a signal to the process."""

    def replace(self, group: PluginGroup, reason: str) -> None:
        """Start the group's process anew, aside, and let it take over between two deliveries."""

    def give_up_guest(self, process: HostedProcess, guest: str, reason: str) -> None:
        """Start the plugins of the process without the session plugin that keeps them from starting."""

    def changed(self, group: PluginGroup) -> None:
        """Tell the listener that the status of the group's plugins changed."""


class Supervision:
    """Looks at every process each :data:`TICK_S`; runs in the host's loop."""

    def __init__(
        self,
        settings: HostingSettings,
        plugin_settings: Mapping[str, PluginSettings],
        control: ProcessControl,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._plugin_settings = plugin_settings
        self._control = control
        self._clock = clock
        self._next_heartbeat = 0.0
        self._next_memory = 0.0
        self._ping_number = 0

    def tick(self, groups: list[PluginGroup]) -> None:
        """Check every process against its limits."""
        now = self._clock()
        is_heartbeat = now >= self._next_heartbeat
        is_memory = now >= self._next_memory
        if is_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_S
            self._ping_number += 1
        if is_memory:
            self._next_memory = now + _MEMORY_S
        for group in groups:
            for process in list(group.processes()):
                if not process.is_quiet:
                    self._check_end(process, now)
                    self._check_start(process, now)
                    process.catch_up()
                    self._check_flights(group, process, now)
                if is_heartbeat:
                    self._check_heartbeat(group, process, now)
                if is_memory and process.is_due(process.measured_at, _IDLE_MEMORY_S, now):
                    self._check_memory(group, process)

    def limit(self, plugin: str, name: str) -> float:
        """Return a limit of *plugin*: its own, or the one of every plugin."""
        own = self._plugin_settings.get(plugin)
        value = getattr(own, name) if own is not None else None
        return float(value if value is not None else getattr(self._settings, name))

    def end_with_stack(self, process: HostedProcess, reason: str) -> None:
        """Take the stacks of a process that must go, then end it."""
        if process.kill_at is None:
            process.end_reason = reason
            self._control.signal(process, signal.SIGUSR1)
            process.kill_at = self._clock() + _STACK_WAIT_S
            process.kill_without_stack_at = self._clock() + _LONGEST_STACK_WAIT_S

    def _check_end(self, process: HostedProcess, now: float) -> None:
        if process.kill_at is None or now < process.kill_at:
            return
        last = process.kill_without_stack_at
        if last is None or now >= last or process.has_stack(now):
            process.kill_at = now + HEARTBEAT_S
            self._control.kill(process)

    def _check_start(self, process: HostedProcess, now: float) -> None:
        if process.state not in ("spawning", "starting"):
            due = process.finish_by if process.state == "finishing" and not process.flights else None
            if due is not None and now >= due:
                self.end_with_stack(process, "it did not end when asked to")
            return
        limit = self._settings.start_timeout_s
        if process.loading_guest is not None:
            guest, since = process.loading_guest
            if now - since >= limit and process.kill_at is None:
                reason = f"session plugin {guest} did not load within {limit:g} s"
                self._control.give_up_guest(process, guest, reason)
        elif process.loading is not None:
            of = f" of {process.loading[0]}" if len(process.plugins) > 1 else ""
            if now - process.loading[1] >= limit:
                self.end_with_stack(process, f"import or register(){of} did not return within {limit:g} s")
        elif process.pid is not None and now - process.started_at >= limit:
            # How long it took to get a process is not the plugin's fault, and counts for nothing.
            self.end_with_stack(process, f"it did not begin to load its plugins within {limit:g} s")

    def _check_flights(self, group: PluginGroup, process: HostedProcess, now: float) -> None:
        for flight in process.begun_flights():
            seconds = now - (flight.began_at or now)
            soft = self.limit(flight.plugin, "soft_limit_s")
            hard = self.limit(flight.plugin, "hard_limit_s")
            if seconds >= hard and not flight.is_condemned:
                flight.is_condemned = True
                process.timed_out.add(flight.delivery.delivery_id)
                self.end_with_stack(process, f"a callback for {topic_of(flight)} ran longer than {hard:g} s")
            elif seconds >= soft and not flight.is_reported:
                flight.is_reported = True
                process.take_stack()
                self._control.signal(process, signal.SIGUSR1)
                process.stack_due = (now + _STACK_WAIT_S, flight)
        due = process.stack_due
        if due is not None and now >= due[0] and (process.has_stack(now) or now >= due[0] + HEARTBEAT_S):
            self._report_slow(group, process, due[1])
            process.stack_due = None

    def _report_slow(self, group: PluginGroup, process: HostedProcess, flight: Flight) -> None:
        stack = process.take_stack()
        group.stacks[flight.plugin] = stack
        group.count(flight.plugin, "slow")
        _log.warning(
            "callback is slow",
            plugin=flight.plugin,
            topic=topic_of(flight),
            delivery=flight.delivery.delivery_id,
            seconds=round(self._clock() - (flight.began_at or 0.0), 1),
            stack=stack,
        )
        self._control.changed(group)

    def _check_heartbeat(self, group: PluginGroup, process: HostedProcess, now: float) -> None:
        if process.state != "running":
            return
        if process.unanswered_since is None:
            if process.is_due(process.asked_at, _IDLE_HEARTBEAT_S, now):
                process.asked_at = process.unanswered_since = now
                process.send("ping", {"number": self._ping_number})
            return
        silent_s = now - process.unanswered_since
        if silent_s >= _SILENCE_S and process.is_responsive:
            process.is_responsive = False
            _log.warning("plugin does not answer", plugins=process.plugins, seconds=round(silent_s, 1))
            self._control.signal(process, signal.SIGUSR1)
            self._control.changed(group)
        hard = max(self.limit(plugin, "hard_limit_s") for plugin in process.plugins)
        if silent_s >= _SILENCE_S + hard:
            self.end_with_stack(process, f"it did not answer for {silent_s:.0f} s")

    def _check_memory(self, group: PluginGroup, process: HostedProcess) -> None:
        limit = int(max(self.limit(plugin, "memory_limit_mb") for plugin in process.plugins)) * 1024 * 1024
        used = process.measure_memory()
        if used <= limit or process.state != "running":
            return
        megabytes = used // (1024 * 1024)
        if used > 2 * limit:
            process.end_reason = f"it used {megabytes} MB, more than twice its limit"
            self._control.kill(process)
        elif group.candidate is None and group.current is process:
            for plugin in process.plugins:
                group.count(plugin, "memory_replacements")
            _log.warning("plugin over its memory limit", plugins=process.plugins, megabytes=megabytes)
            self._control.replace(group, f"it used {megabytes} MB")
