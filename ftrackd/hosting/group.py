"""The plugins that share a process (by default one alone), and where they stand."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ftrackd.hosting.entries import HostedEntry
from ftrackd.hosting.model import PluginState, PluginStatus, PluginSubscription
from ftrackd.hosting.restart import RestartPolicy

if TYPE_CHECKING:
    from ftrackd.hosting.process import HostedProcess, StartReport


class PluginGroup:
    """A seat for one plugin process at a time.

    ``current`` takes the deliveries; ``candidate`` loads new code aside; ``retiring`` finish what they run.
    All but :attr:`current` belongs to the host's loop.
    """

    def __init__(self, name: str, restart: RestartPolicy) -> None:
        self.name = name
        self.restart = restart
        self.entries: dict[str, HostedEntry] = {}
        self.candidate: HostedProcess | None = None
        self.retiring: list[HostedProcess] = []
        self.announced: dict[str, dict[str, PluginSubscription]] = {}
        self.errors: dict[str, str] = {}
        self.stacks: dict[str, str] = {}
        self.counters: dict[str, Counter[str]] = {}
        self.last_report: StartReport | None = None
        self.reason = ""
        self.state: PluginState = "starting"
        self.attempted_files: dict[str, str] = {}
        self.attempted_tree: dict[str, str] = {}
        self.attempted_at = 0.0
        self.attempted_modules: dict[str, tuple[str, ...]] = {}
        self.has_failed_attempt = False
        self.wants_reload = False
        self.retry_at: float | None = None
        self.generation = 0
        # Guards `current`, which other threads read when they deliver.
        self._lock = threading.Lock()
        self._current: HostedProcess | None = None

    @property
    def current(self) -> HostedProcess | None:
        """The process that takes deliveries."""
        return self._current

    @current.setter
    def current(self, process: HostedProcess | None) -> None:
        with self._lock:
            self._current = process

    def loadable(self) -> list[HostedEntry]:
        """The plugins that settings and trust allow."""
        return [entry for entry in self.entries.values() if entry.is_enabled and not entry.refusal]

    def processes(self) -> Iterable[HostedProcess]:
        """Every process of the group that has not ended."""
        for process in (self.current, self.candidate, *self.retiring):
            if process is not None:
                yield process

    def count(self, plugin: str, what: str, number: int = 1) -> None:
        """Add to one of the counters shown for a plugin."""
        self.counters.setdefault(plugin, Counter())[what] += number

    def status(self, plugin: str, *, is_session_plugin: bool) -> PluginStatus:
        """Return what an operator asks about *plugin*."""
        entry = self.entries[plugin]
        state, reason = self._state_of(entry)
        process = self.current
        report = process.report if process is not None else self.last_report
        counters = dict(self.counters.get(plugin, Counter()))
        if process is not None:
            counters["dropped_lines"] = (
                counters.get("dropped_lines", 0) + process.dropped_lines + process.output.dropped
            )
        now = time.monotonic()
        return PluginStatus(
            name=plugin,
            path=str(entry.source.root),
            state=state,
            reason=reason,
            error=self.errors.get(plugin, ""),
            group=self.name if self.name != plugin else "",
            version=entry.source.version,
            pid=process.pid if process is not None else None,
            generation=process.generation if process is not None else self.generation,
            uptime_s=now - process.running_since if process and process.running_since else 0.0,
            memory_bytes=process.memory_bytes if process is not None else 0,
            concurrency=process.concurrency_of(plugin) if process is not None else 1,
            subscriptions=tuple(self.announced.get(plugin, {}).values()),
            running=process.running(plugin) if process is not None else (),
            is_session_plugin=is_session_plugin,
            is_responsive=process.is_responsive if process is not None else True,
            modules=report.modules.get(plugin, ()) if report is not None else (),
            counters=counters,
            failures=self.restart.failures,
            retry_in_s=max(0.0, self.retry_at - now) if self.retry_at is not None else None,
            loading_s=now - self.candidate.loading[1] if self.candidate and self.candidate.loading else None,
            stack=self.stacks.get(plugin, ""),
        )

    def _state_of(self, entry: HostedEntry) -> tuple[PluginState, str]:
        if entry.refusal and self.current is None:
            return "refused", entry.refusal
        if not entry.is_enabled:
            return "disabled", "disabled in the settings"
        process = self.current
        if self.state == "running" and process is not None and not process.report.is_registered(entry.name):
            return "failed", process.report.errors.get(
                entry.name, "none of its files has a register function"
            )
        return self.state, self.reason
