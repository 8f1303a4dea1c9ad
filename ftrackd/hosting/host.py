"""The host: every plugin in its own process, supervised, reloaded without losing an event."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog

from ftrackd.api import _json
from ftrackd.hosting.capture import OutputLines, PluginLog
from ftrackd.hosting.changes import REMOVAL_GRACE_S, Changes
from ftrackd.hosting.child.specification import encode_plugin
from ftrackd.hosting.entries import process_specification, specification_of
from ftrackd.hosting.errors import PluginNotRunningError, UnknownPluginError
from ftrackd.hosting.group import PluginGroup
from ftrackd.hosting.link import Frame
from ftrackd.hosting.loop import HostLoop
from ftrackd.hosting.model import Bootstrap, HostedDelivery, HostListener, PluginStatus, ServerAccess
from ftrackd.hosting.process import HostedProcess, StartReport
from ftrackd.hosting.relay import Relay
from ftrackd.hosting.session_plugins import SessionPlugins
from ftrackd.hosting.spawning import Spawner
from ftrackd.hosting.supervision import TICK_S, Supervision
from ftrackd.hosting.watcher import Scan, Scanner, Watcher, code_roots
from ftrackd.settings import GroupSettings, HostingSettings, PluginSettings

_DELIVER_ATTEMPTS: Final = 3
_FINISH_GRACE_S: Final = 5.0
_GUESTS_DELAY_S: Final = 0.05
_STABLE_S: Final = 60.0
_log = structlog.stdlib.get_logger("ftrackd.hosting.host")


class Host:
    """Runs the plugins that *settings* name and carries deliveries to them.

    *listener* hears of subscriptions, publishes and outcomes from the host's own thread. Subscriptions of a
    plugin that crashed stay announced until its next process has its own, so that no event is missed in
    between; only a plugin that is removed, or the end of the host, takes them back.
    """

    def __init__(
        self,
        settings: HostingSettings,
        plugin_settings: Mapping[str, PluginSettings],
        groups: Sequence[GroupSettings],
        listener: HostListener,
        server: ServerAccess,
        bootstrap: Bootstrap,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._server = server
        self._loop = HostLoop()
        self._relay = Relay(listener, server)
        self._log = PluginLog()
        self._spawner = Spawner(self._loop, bootstrap, self._ended, in_process=settings.in_process)
        self._supervision = Supervision(settings, plugin_settings, self)
        self._scanner = Scanner(settings, plugin_settings, groups)
        self._watcher = Watcher(settings, self._scanner, self._scanned)
        self._changes = Changes(settings)
        self._session_plugins = SessionPlugins()
        self._changed_guests: set[str] | None = None
        self._groups: dict[str, PluginGroup] = {}
        self._group_of: dict[str, PluginGroup] = {}
        self._is_stopping = False
        self._all_ended = threading.Event()

    # What the daemon asks for, from any thread.

    def start(self) -> None:
        """Find the plugins and start their processes; returns before they are registered.

        Raises :class:`ftrackd.hosting.errors.TemplateError` when no process can be started at all.
        """
        for path in self._settings.plugin_paths:
            if not path.exists():
                _log.warning("plugin path does not exist", path=str(path))
        self._spawner.start()
        scan = self._scanner.scan()
        for plugin in self._scanner.unknown_plugins(scan):
            _log.warning("settings name a plugin that is not there", plugin=plugin)
        self._loop.start()
        self._loop.ask(lambda: self._apply(scan))
        self._loop.call(self._tick)
        self._watcher.start()

    def stop(self, deadline_s: float = 20.0) -> None:
        """Let running callbacks finish for *deadline_s*, then end every process; nothing is left behind."""
        self._watcher.stop()
        self._loop.ask(lambda: self._begin_stop(deadline_s))
        self._all_ended.wait(deadline_s + _FINISH_GRACE_S)
        self._loop.ask(self._spawner.close, timeout_s=30.0)
        self._loop.stop()

    def reload(self, name: str | None = None) -> list[str]:
        """Start one plugin anew, or all of them, each taking over only when it loaded; return their names.

        Raises :class:`UnknownPluginError`. New and removed plugins are looked for as well.
        """
        if name is not None:
            self._group(name)
        scan = self._scanner.scan()
        return self._loop.ask(lambda: self._reload(scan, name))

    def reset(self) -> list[str]:
        """Reset the Session of every plugin between two deliveries; return the plugins' names."""
        return self._loop.ask(self._reset)

    def statuses(self) -> list[PluginStatus]:
        """Return where every plugin stands, in load order."""
        return self._loop.ask(self._statuses)

    def deliver(self, plugin: str, *deliveries: HostedDelivery) -> None:
        """Send deliveries of one lane to *plugin*; their outcomes go to the listener. Does not wait.

        Several are run in turn: the next begins when the one before returned and that is noted, after one
        that ended otherwise none; the rest has the outcome ``unbegun``. Raises
        :class:`UnknownPluginError` for a name that is not hosted, and :class:`PluginNotRunningError` for a
        plugin without a process: the listener hears when it is ready.
        """
        group = self._group(plugin)
        for _ in range(_DELIVER_ATTEMPTS):
            process = group.current
            if process is not None and process.deliver(plugin, deliveries):
                return
        raise PluginNotRunningError(f"{plugin} is not running")

    def recall(self, plugin: str) -> None:
        """Let *plugin* begin none of the event lane's deliveries that it was sent; they end ``unbegun``."""
        process = self._group(plugin).current
        if process is not None:
            process.send("recall", {"plugin": plugin})

    def answer_launch(self, plugin: str, raw: bytes, error_id: str) -> None:
        """Tell whoever launched an action that it failed; for one that never reached the plugin's process.

        Other events than launches are left unanswered. ``error_id`` is what the artist reads out to the
        administrator, so it has to be in the log.
        """
        self._loop.call(lambda: self._relay.answer_launch(plugin, raw, error_id))

    def relay(self, plugin: str, raw: bytes) -> None:
        """Hand *plugin* the reply *raw* to something that it published."""
        process = self._group(plugin).current
        if process is not None:
            process.send("reply", {"plugin": plugin}, raw)

    # What supervision asks for.

    def kill(self, process: HostedProcess) -> None:
        """End a process and everything it started."""
        self._spawner.kill(process)

    def signal(self, process: HostedProcess, number: signal.Signals) -> None:
        """Send a signal to a process."""
        self._spawner.signal(process, number)

    def replace(self, group: PluginGroup, reason: str) -> None:
        """Start the group's process anew, aside, and let it take over between two deliveries."""
        _log.info("plugin process is replaced", group=group.name, reason=reason)
        self._spawn(group)

    def give_up_guest(self, process: HostedProcess, guest: str, reason: str) -> None:
        """Start the plugins of *process* without the session plugin that keeps them from starting."""
        group, host_of_guest = process.group, self._group_of.get(guest)
        if self._settings.in_process or (host_of_guest is not None and host_of_guest.current is not None):
            # It runs well in its own process: everybody keeps it, and this one tries again.
            self._supervision.end_with_stack(process, reason)
            return
        _log.warning("plugins start without a session plugin", plugins=process.plugins, reason=reason)
        if self._session_plugins.fail(guest):
            self._guests_changed(guest)
        group.candidate = None
        group.retiring.append(process)
        self.kill(process)
        self._spawn(group)

    def changed(self, group: PluginGroup) -> None:
        """Tell the listener that the status of the group's plugins changed."""
        for plugin in group.entries:
            self._listener.state_changed(self._status(group, plugin))

    # Everything below runs in the loop.

    def _group(self, plugin: str) -> PluginGroup:
        group = self._group_of.get(plugin)
        if group is None:
            known = ", ".join(sorted(self._group_of)) or "none"
            raise UnknownPluginError(f"no plugin is called {plugin!r}; there are: {known}")
        return group

    def _status(self, group: PluginGroup, plugin: str) -> PluginStatus:
        return group.status(plugin, is_session_plugin=plugin in self._session_plugins)

    def _statuses(self) -> list[PluginStatus]:
        return [
            self._status(group, plugin) for plugin, group in self._group_of.items() if plugin in group.entries
        ]

    def _scanned(self, scan: Scan) -> None:
        self._loop.call(lambda: self._apply(scan))

    def _apply(self, scan: Scan, *, is_final: bool = False) -> None:
        """Bring groups and processes in line with what lies on the plugin paths now.

        With *is_final* what is missing is removed at once.
        """
        if self._is_stopping:
            return
        scan = self._changes.with_running_files(scan, self._group_of)
        removed = self._changes.confirmed_removals(self._group_of, scan, 0.0 if is_final else REMOVAL_GRACE_S)
        if self._changes.awaits_confirmation:
            self._loop.later(REMOVAL_GRACE_S, self._watcher.look_again)
        for plugin in removed:
            self._remove(plugin)
        touched: dict[str, PluginGroup] = {}
        for entry in scan.entries:
            group = self._groups.get(entry.group)
            if group is None:
                group = self._groups[entry.group] = PluginGroup(entry.group, self._changes.new_policy())
            if group.entries.get(entry.name) != entry:
                touched[group.name] = group
            group.entries[entry.name] = entry
            self._group_of[entry.name] = group
            self._session_plugins.guess(entry)
        self._changes.use(scan)
        shaping = [plugin for plugin in self._group_of if plugin in self._session_plugins]
        for group in list(self._groups.values()):
            is_whole = not self._changes.is_missing_some([*group.entries, *shaping])
            if group.name in touched or (is_whole and self._changes.is_changed(group)):
                self._change(group)

    def _change(self, group: PluginGroup) -> None:
        refused = {name: entry.refusal for name, entry in group.entries.items() if entry.refusal}
        if refused and group.current is not None:
            # What runs was loaded when it could be trusted: it goes on, and the refusal is shown.
            group.errors.update(refused)
            self.changed(group)
        elif not group.loadable():
            for process in list(group.processes()):
                self._retire(group, process)
            group.current = group.candidate = None
            self.changed(group)
        elif group.candidate is not None:
            group.wants_reload = True
        else:
            group.restart.succeeded()
            self._spawn(group)

    def _remove(self, plugin: str) -> None:
        group = self._group_of.pop(plugin)
        status = self._status(group, plugin)
        del group.entries[plugin]
        self._relay.take_back(group, plugin)
        if not any(plugin in process.plugins for process in group.processes()):
            self._listener.plugin_gone(plugin, "removed")
        if self._session_plugins.forget(plugin):
            self._guests_changed(plugin)
        if group.entries:
            self._change(group)
        else:
            for process in list(group.processes()):
                self._retire(group, process)
            group.current = group.candidate = None
        self._listener.state_changed(replace(status, state="stopped", reason="removed"))
        _log.debug("plugin removed", plugin=plugin, path=status.path)

    def _reload(self, scan: Scan, name: str | None) -> list[str]:
        self._apply(scan, is_final=True)
        chosen = [self._group(name)] if name is not None else list(self._groups.values())
        names = []
        for group in chosen:
            if group.loadable():
                names += [entry.name for entry in group.loadable()]
                if group.candidate is not None:
                    group.wants_reload = True
                elif not any(entry.refusal for entry in group.entries.values()):
                    group.restart.succeeded()
                    self._spawn(group)
        return names

    def _reset(self) -> list[str]:
        for group in self._groups.values():
            if group.current is not None:
                group.current.send("reset")
        return [status.name for status in self._statuses() if status.state == "running"]

    def _spawn(self, group: PluginGroup) -> None:
        """Start a candidate for the group."""
        entries = group.loadable()
        specifications = tuple(specification_of(entry, self._settings) for entry in entries)
        self._changes.attempt(group)
        group.generation += 1
        group.retry_at = None
        process = HostedProcess(
            self._loop,
            group,
            group.generation,
            {plugin.source.name: plugin.concurrency for plugin in specifications},
            self._heard,
            self._done,
            self._returned,
            self._closed,
            OutputLines([plugin.source.name for plugin in specifications], self._settings.log_lines_per_s),
        )
        group.candidate = process
        if group.current is None:
            group.state = "starting" if group.restart.failures == 0 else group.state
        self._spawner.spawn(process)
        limits = [self._supervision.limit(entry.name, "memory_limit_mb") for entry in entries]
        specification = process_specification(
            specifications,
            self._session_plugins.guests(self._group_of, self._settings),
            self._server,
            self._settings,
            self._changes.roots(group, code_roots(self._settings.plugin_paths)),
            max(limits),
        )
        process.state = "starting"
        process.send("start", {}, _json.dumps(specification.to_json()))

    def _heard(self, process: HostedProcess, frame: Frame) -> None:
        group = process.group
        match frame.kind:
            case "published":
                if process is group.candidate:
                    process.published.append(frame)
                else:
                    self._relay.published(process, frame)
            case "subscribed":
                self._relay.subscribed(group, process, frame)
            case "unsubscribed":
                self._relay.unsubscribed(group, process, frame)
            case "log":
                self._log.frame(frame)
            case "pong":
                self._ponged(process, frame)
            case "loading":
                process.heard_loading(frame.header["plugin"], frame.header["guest"])
            case "started":
                self._started(process, frame)
            case "finished":
                process.finish_by = time.monotonic() + _FINISH_GRACE_S

    def _returned(self, process: HostedProcess, reports: Sequence[tuple[int, float]]) -> None:
        self._relay.returned(process.group, process, reports)

    def _done(self, process: HostedProcess, frames: Sequence[Frame]) -> None:
        self._relay.done(process.group, process, frames)

    def _ponged(self, process: HostedProcess, frame: Frame) -> None:
        process.unanswered_since = None
        process.dropped_lines = frame.header["dropped_lines"]
        if left_out := process.take_drops():
            _log.warning("plugin says too much, lines were left out", plugins=process.plugins, lines=left_out)
        if frame.header["files"] and process is process.group.current:
            process.group.attempted_files.update(frame.header["files"])
            self._note_executed_files()
        if not process.is_responsive:
            process.is_responsive = True
            self.changed(process.group)

    def _started(self, process: HostedProcess, frame: Frame) -> None:
        """A process loaded its plugins: it takes over, or shows why it cannot."""
        group = process.group
        if process is not group.candidate or self._is_stopping:
            return
        process.report = group.last_report = StartReport.read(frame.header["plugins"])
        self._changes.loaded(group, frame.header["files"])
        self._note_executed_files()
        if group.current is not None:
            process.report.require_registered(group.current.report)
        errors = process.report.errors
        group.errors = dict(errors)
        group.has_failed_attempt = bool(errors)
        # A file that never loaded must not keep the others of its folder from being reloaded.
        known = group.current.report.failed if group.current is not None else process.report.failed
        if errors and (not process.report.registered or not process.report.failed <= known):
            process.end_reason = "; ".join(errors.values())
            self.kill(process)
            return
        self._take_over(group, process)

    def _note_executed_files(self) -> None:
        """Have the files that plugins executed watched, wherever they are."""
        files = self._changes.executed_files(self._groups.values())
        if files != self._scanner.executed_files:
            self._scanner.executed_files = files
            self._watcher.look_again()

    def _take_over(self, group: PluginGroup, process: HostedProcess) -> None:
        old = group.current
        process.run()
        group.candidate = None
        group.current = process
        group.state, group.reason = "running", ""
        self._relay.announce(group, process)
        for plugin in process.plugins:
            if process.report.is_registered(plugin):
                concurrency = process.concurrency_of(plugin)
                was_ready = old is not None and old.report.is_registered(plugin)
                if old is None or not was_ready or old.concurrency_of(plugin) != concurrency:
                    self._listener.plugin_ready(plugin, concurrency)
            self._learn(group, process, plugin, is_reload=group.generation > 1)
        if old is not None:
            self._retire(group, old)
        _log.debug(
            "plugin loaded",
            plugins=process.plugins,
            generation=process.generation,
            seconds=round(time.monotonic() - process.started_at, 3),
        )
        self.changed(group)
        self._reload_if_wanted(group)

    def _learn(self, group: PluginGroup, process: HostedProcess, plugin: str, *, is_reload: bool) -> None:
        differs = self._session_plugins.learn(plugin, process.subscriptions.get(plugin, {}).values())
        if differs or (is_reload and plugin in self._session_plugins):
            self._guests_changed(plugin)

    def _guests_changed(self, plugin: str) -> None:
        """Tell every process soon which session plugins there are, and that *plugin* has new code."""
        if self._changed_guests is None:
            self._changed_guests = set()
            self._loop.later(_GUESTS_DELAY_S, self._send_guests)
        self._changed_guests.add(plugin)

    def _send_guests(self) -> None:
        changed, self._changed_guests = self._changed_guests or set(), None
        guests = self._session_plugins.guests(self._group_of, self._settings)
        payload = _json.dumps(
            {"guests": [encode_plugin(guest) for guest in guests], "changed": sorted(changed)}
        )
        for group in self._groups.values():
            for process in (group.current, group.candidate):
                if process is not None and not set(process.plugins) <= changed:
                    process.send("guests", {}, payload)

    def _reload_if_wanted(self, group: PluginGroup) -> None:
        if group.wants_reload or self._changes.is_changed(group):
            group.wants_reload = False
            if group.candidate is None and group.loadable() and not self._is_stopping:
                self._spawn(group)

    def _retire(self, group: PluginGroup, process: HostedProcess) -> None:
        """Let a process finish what it runs, then end."""
        process.retire()
        group.retiring.append(process)
        hard = max(self._supervision.limit(plugin, "hard_limit_s") for plugin in process.plugins)
        seconds = hard + _FINISH_GRACE_S if process.flights else _FINISH_GRACE_S
        process.finish_by = time.monotonic() + seconds + _FINISH_GRACE_S
        process.send("finish", {"seconds": seconds})

    def _closed(self, process: HostedProcess) -> None:
        self._spawner.link_closed(process)

    def _ended(self, process: HostedProcess) -> None:
        """A process is gone: give its deliveries their outcomes, and decide what follows for its group."""
        group = process.group
        reason = process.describe_end()
        now = time.monotonic()
        self._relay.lost(group, process, process.take_flights(), now, reason)
        if process in group.retiring:
            group.retiring.remove(process)
            self._retired(group, process)
        elif process is group.candidate:
            group.candidate = None
            if self._is_stopping:
                # We ended it ourselves; that says nothing about the plugin.
                self._stopped(group)
            else:
                self._attempt_failed(group, process, reason)
        elif process is group.current:
            group.current = None
            self._crashed(group, process, reason)
        if self._is_stopping and not any(list(other.processes()) for other in self._groups.values()):
            self._all_ended.set()
        if not group.entries and not list(group.processes()):
            self._groups.pop(group.name, None)

    def _retired(self, group: PluginGroup, process: HostedProcess) -> None:
        """A process finished after it was asked to: its plugins are gone, unless another one has them.

        The listener hears that only now, after the last outcomes: what it thought to be cut short would be
        run again should the plugin come back.
        """
        if self._is_stopping:
            for plugin in process.plugins:
                self._listener.plugin_gone(plugin, "the daemon stops")
            self._stopped(group)
            return
        for plugin in process.plugins:
            if plugin not in self._group_of:
                self._listener.plugin_gone(plugin, "removed")

    def _stopped(self, group: PluginGroup) -> None:
        group.state = "stopped"
        self.changed(group)

    def _attempt_failed(self, group: PluginGroup, process: HostedProcess, reason: str) -> None:
        group.has_failed_attempt = True
        if not process.report.errors:
            stack = process.exit.stack if process.exit is not None else ""
            group.errors = dict.fromkeys(process.plugins, f"{reason}\n{stack}".strip())
        for plugin in process.plugins:
            group.count(plugin, "failed_loads")
        _log.debug(
            "plugin not loaded",
            plugins=process.plugins,
            keeps_old=group.current is not None,
            errors=group.errors,
        )
        if group.current is None:
            for plugin in process.plugins:
                if self._session_plugins.fail(plugin):
                    self._guests_changed(plugin)
            self._schedule(group, "failed", reason)
        self.changed(group)
        self._reload_if_wanted(group)

    def _crashed(self, group: PluginGroup, process: HostedProcess, reason: str) -> None:
        if process.exit is not None and process.exit.stack:
            group.stacks.update(dict.fromkeys(process.plugins, process.exit.stack))
        for plugin in process.plugins:
            group.count(plugin, "deaths")
            self._listener.plugin_gone(plugin, reason)
        _log.debug("plugin process died", plugins=process.plugins, reason=reason)
        if process.running_since is not None and time.monotonic() - process.running_since > _STABLE_S:
            # A crash now and then is no crash loop, also when no delivery came in between.
            group.restart.succeeded()
        if not self._is_stopping:
            self._schedule(group, "restarting", reason)
            self.changed(group)

    def _schedule(self, group: PluginGroup, state: str, reason: str) -> None:
        """Try again after the delay that the failures in a row ask for."""
        delay = group.restart.failed()
        group.retry_at = time.monotonic() + delay
        group.reason = reason
        group.state = (
            "disabled" if group.restart.is_open else ("failed" if state == "failed" else "restarting")
        )
        if group.restart.is_open:
            group.reason = f"disabled after {group.restart.failures} failures in a row, the last: {reason}"
            _log.error("plugin disabled", group=group.name, failures=group.restart.failures, retry_in_s=delay)

    def _tick(self) -> None:
        now = time.monotonic()
        self._supervision.tick(list(self._groups.values()))
        for group in self._groups.values():
            if group.retry_at is not None and now >= group.retry_at and not self._is_stopping:
                group.retry_at = None
                if group.candidate is None and group.current is None and group.loadable():
                    self._spawn(group)
        self._loop.later(TICK_S, self._tick)

    def _begin_stop(self, deadline_s: float) -> None:
        self._is_stopping = True
        for group in self._groups.values():
            group.retry_at = None
            group.state, group.reason = "stopping", "the daemon stops"
            if group.candidate is not None:
                self.kill(group.candidate)
            process, group.current = group.current, None
            if process is None:
                continue
            process.retire()
            group.retiring.append(process)
            process.finish_by = time.monotonic() + deadline_s
            process.send("finish", {"seconds": deadline_s})
        self._loop.later(deadline_s, self._kill_all)
        if not any(list(group.processes()) for group in self._groups.values()):
            self._all_ended.set()

    def _kill_all(self) -> None:
        for group in self._groups.values():
            for process in list(group.processes()):
                process.end_reason = process.end_reason or "it did not finish before the daemon stopped"
                self.kill(process)
