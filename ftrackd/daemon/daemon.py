"""The main process from its first line to its exit code."""

from __future__ import annotations

import contextlib
import gc
import queue
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import structlog

import ftrackd
from ftrackd.daemon.control import ControlServer
from ftrackd.daemon.errors import ExitCode
from ftrackd.daemon.hooks import Hooks
from ftrackd.daemon.lifecycle import Lifecycle, State
from ftrackd.daemon.memory import share_one_heap
from ftrackd.daemon.notify import ServiceNotifier, Watchdog
from ftrackd.daemon.parts import Parts
from ftrackd.daemon.paths import control_socket
from ftrackd.daemon.reports import Reports
from ftrackd.daemon.signals import SignalHandlers
from ftrackd.hosting import PluginStatus
from ftrackd.settings import Settings

log = structlog.stdlib.get_logger("ftrackd.daemon")

_NEW_OBJECTS_BEFORE_COLLECTION = 20_000

HOST_STOP_LIMIT_S = 5.0
"""Seconds that plugin processes have for ``unregister`` and their exit handlers after the drain."""


_LOOK_S = 0.25
"""Seconds between two looks at how long plugins have been starting; their changes are seen at once."""


SAME_SIGNAL_S = 0.5
"""Terminals and wrappers often deliver one Ctrl-C twice; only a later signal is a second one."""


BETWEEN_RESETS_S = 1.0
"""Seconds in which further SIGHUPs become one, so that plugins do nothing but reset their Sessions."""


class _Forced(BaseException):
    """A second signal came while draining. Not an Exception: nothing on the way out may handle it."""


class Daemon:
    """Boots, runs until told to stop, drains and ends.

    ``lends_credentials``: author commands of the same user may ask for the API key; only for the embedded
    sandbox.
    """

    def __init__(self, settings: Settings, *, lends_credentials: bool = False) -> None:
        self._settings = settings
        self._lends_credentials = lends_credentials
        self._hooks = Hooks()
        self._notifier = ServiceNotifier()
        self._lifecycle = Lifecycle(self._state_changed)
        # Handlers of signals tell the main thread to look: a lock may be what it holds at that moment.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_reset_asked = False
        self._stop_asked_at: float | None = None
        self._can_be_forced = False
        self._shown: State | None = None
        self._late: list[str] = []

    def run(self) -> ExitCode:
        """Run until SIGTERM or SIGINT; return the exit code.

        Until there is something to drain, signals are whoever's they were: a server that does not answer
        must not keep us from stopping. Raises DaemonError (or another FtrackdError) when it cannot start.
        """
        share_one_heap()
        log.info("ftrackd starts", version=ftrackd.__version__, server=self._settings.server.url)
        self._load_extensions()
        parts = Parts(self._settings, self._lifecycle, self._hooks)
        with self._signal_handlers(), ExitStack() as stack:
            try:
                self._can_be_forced = True
                self._serve(parts, stack)
                parts.close(HOST_STOP_LIMIT_S)
                self._can_be_forced = False
            except _Forced:
                self._can_be_forced = False
                log.warning("forced to stop; what still runs is run again at the next start")
                parts.close(0)
            finally:
                self._can_be_forced = False
        self._lifecycle.stopped()
        self._hooks.call("shutdown")
        log.info("ftrackd stopped")
        return ExitCode.STOPPED

    def _serve(self, parts: Parts, stack: ExitStack) -> None:
        control = ControlServer(
            Reports(parts, lends_credentials=self._lends_credentials).routes(),
            control_socket(self._settings.daemon),
            self._settings.daemon.metrics_port,
        )
        control.start()
        stack.callback(control.stop)
        self._lifecycle.connecting()
        parts.start()
        watchdog = Watchdog(self._notifier, lambda: not parts.stuck())
        watchdog.start()
        stack.callback(watchdog.stop)
        threading.Thread(target=self._await_ready, args=(parts,), name="ftrackd-ready", daemon=True).start()
        _look_for_cycles_rarely(stack)
        self._wait_for_work(parts)
        parts.wiring.changed.set()  # whoever waits for readiness looks up and sees that we stop
        self._lifecycle.draining()
        parts.drain(self._settings.daemon.drain_limit_s)

    def _await_ready(self, parts: Parts) -> None:
        began = time.monotonic()
        while not (parts.is_connected() and self._is_quiet(starting := parts.starting())):
            if self._is_stopping():
                return
            parts.wiring.changed.wait(_LOOK_S)
            parts.wiring.changed.clear()
        late = [status.name for status in starting]
        parts.ready(late)
        self._late = late
        self._lifecycle.ready()
        count = len(parts.host.statuses())
        log.info(
            "; ".join(["live", *self._still_starting()]),
            seconds=round(time.monotonic() - began, 2),
            plugins=count,
        )
        self._await_late(parts)
        if not count:
            log.warning(
                "no plugins found", remedy="--plugins PATH, FTRACK_EVENT_PLUGIN_PATH or hosting.plugin_paths"
            )

    def _is_quiet(self, starting: Sequence[PluginStatus]) -> bool:
        """Whether none is left to wait for: those that *starting* names take longer than one should."""
        return all((status.loading_s or 0.0) >= self._settings.hosting.late_start_s for status in starting)

    def _await_late(self, parts: Parts) -> None:
        """Let each late plugin join when it is ready; one that fails is reported by the host."""
        while self._late and not self._is_stopping():
            parts.wiring.changed.wait()
            parts.wiring.changed.clear()
            starting = {status.name for status in parts.starting()}
            still = [name for name in self._late if name in starting]
            if still != self._late:
                self._late = still
                parts.ready(still)
                self._state_changed(self._lifecycle.state, self._lifecycle.degradations)

    def _still_starting(self) -> list[str]:
        return [f"still starting: {', '.join(self._late)}"] if self._late else []

    def _is_stopping(self) -> bool:
        return self._stop_asked_at is not None

    def _wait_for_work(self, parts: Parts) -> None:
        next_reset = 0.0
        while not self._is_stopping():
            rest_s = max(0.0, next_reset - time.monotonic()) if self._is_reset_asked else None
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=rest_s)
            if self._is_reset_asked and time.monotonic() >= next_reset:
                next_reset = time.monotonic() + BETWEEN_RESETS_S
                self._is_reset_asked = False
                self._notifier.reloading()
                parts.reset_sessions()
                self._notifier.ready(self._status_line(self._lifecycle.state, self._lifecycle.degradations))

    def _load_extensions(self) -> None:
        self._hooks.load_installed()
        if self._settings.sentry.dsn is not None:
            from ftrackd.daemon.redaction import Redactor
            from ftrackd.daemon.sentry import SentryReports

            secrets = [self._settings.sentry.dsn, self._settings.server.api_key]
            redact = Redactor(secret.get_secret_value() for secret in secrets if secret is not None)
            self._hooks.register(SentryReports(self._settings.sentry, redact), "sentry")
        self._hooks.call("settings_read", settings=self._settings)

    def _signal_handlers(self) -> SignalHandlers:
        return SignalHandlers(
            {
                signal.SIGTERM: self._on_stop_signal,
                signal.SIGINT: self._on_stop_signal,
                signal.SIGHUP: self._on_reset_signal,
            }
        )

    def _on_stop_signal(self) -> None:
        now = time.monotonic()
        if self._stop_asked_at is None:
            self._stop_asked_at = now
            self._wake.put(None)
        elif self._can_be_forced and now - self._stop_asked_at > SAME_SIGNAL_S:
            raise _Forced

    def _on_reset_signal(self) -> None:
        self._is_reset_asked = True
        self._wake.put(None)

    def _state_changed(self, state: State, degradations: Mapping[str, str]) -> None:
        line = self._status_line(state, degradations)
        is_new, self._shown = state is not self._shown, state
        if state is State.LIVE:
            self._notifier.ready(line)
        elif state is State.DRAINING and is_new:
            log.info("draining", limit_s=self._settings.daemon.drain_limit_s)
            self._notifier.stopping(line)
        else:
            self._notifier.status(line)
        self._hooks.call("state_changed", state=state, degradations=degradations)

    def _status_line(self, state: State, degradations: Mapping[str, str]) -> str:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in degradations.items())
        return "; ".join([f"{state}, {reasons}" if reasons else str(state), *self._still_starting()])


def _look_for_cycles_rarely(stack: ExitStack) -> None:
    """Have the collector go through what lives for long and what waits less often: events hold no cycles."""
    stack.callback(gc.set_threshold, *gc.get_threshold())
    stack.callback(gc.unfreeze)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS_BEFORE_COLLECTION, 20, 20)
