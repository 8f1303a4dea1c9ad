"""Everything a running daemon consists of, built and ended in the right order."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import structlog

from ftrackd.api.event.hub import ConnectionState, IncomingEvent, StateChange
from ftrackd.daemon.bootstrap import MainHub, bootstrap_of, open_session
from ftrackd.daemon.errors import DaemonError
from ftrackd.daemon.hooks import Hooks
from ftrackd.daemon.lifecycle import Lifecycle, State
from ftrackd.daemon.metrics import Metrics
from ftrackd.daemon.paths import journal_file
from ftrackd.daemon.progress import STUCK_AFTER_S, Progress
from ftrackd.daemon.relay import HubRelay
from ftrackd.daemon.tail import EventTail
from ftrackd.daemon.wiring import Wiring
from ftrackd.delivery import CatchUp, Delivery, Lane, SqliteJournal
from ftrackd.hosting import Host, PluginStatus, ServerAccess
from ftrackd.settings import Settings

log = structlog.stdlib.get_logger("ftrackd.daemon")


class Parts:
    """The session, hub, journal, engine, host and relay of one daemon, wired together.

    Building opens the journal and asks the server who it is; nothing runs before ``start``. ``close`` ends
    whatever was built, in reverse order.
    """

    def __init__(self, settings: Settings, lifecycle: Lifecycle, hooks: Hooks) -> None:
        self.settings = settings
        self.lifecycle = lifecycle
        self._hooks = hooks
        self._stack = ExitStack()
        self.tail = EventTail()
        # Guards what catch-up is told, and whether the plugins are ready for it.
        self._stream_lock = threading.Lock()
        self._is_ready = False
        self.journal_path = journal_file(settings.daemon, settings.delivery)
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise

    def _build(self) -> None:
        settings = self.settings
        self.session = open_session(settings.server, settings.hub)
        self._stack.callback(self.session.close)
        journal = self._open_journal()
        self._stack.callback(journal.close)
        hub = self.session.event_hub
        self.wiring = Wiring(hub, self.lifecycle, self._hooks, self.tail)
        self.delivery = Delivery(
            settings.delivery,
            settings.plugins,
            journal,
            self.wiring,
            listener=self.wiring,
            own_names=[self.session.api_user],
        )
        self.host = Host(
            settings.hosting,
            settings.plugins,
            settings.groups,
            self.wiring,
            self._server_access(),
            bootstrap_of(self.session),
        )
        self.relay = HubRelay(
            hub,
            self.wiring.receive,
            self.host.relay,
            lambda topic: self.delivery.lane(topic) is Lane.DURABLE,
        )
        self.wiring.host, self.wiring.delivery, self.wiring.relay = self.host, self.delivery, self.relay
        self.catch_up = CatchUp(
            self.delivery,
            settings.delivery,
            self.session.rows,
            self._take_in_replayed,
            behind_s=lambda: hub.behind_s,
        )
        self._progress = Progress(
            {"reader": self._ask_reader, "dispatcher": self._ask_writer, "supervisor": self._ask_supervisor}
        )
        self.metrics = Metrics(self._gauges())
        self._hooks.register(self.metrics, "metrics")

    def _open_journal(self) -> SqliteJournal:
        try:
            self.journal_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise DaemonError(
                f"{self.journal_path.parent}: cannot be made: {error.strerror}; "
                "set daemon.state_dir or delivery.journal"
            ) from error
        return SqliteJournal(self.journal_path)

    def _server_access(self) -> ServerAccess:
        server = self.settings.server
        assert server.api_key is not None  # open_session refuses to go on without
        return ServerAccess(
            url=self.session.server_url,
            api_user=self.session.api_user,
            api_key=server.api_key,
            identity_map_limit=server.identity_map_limit,
            connect_timeout_s=server.connect_timeout_s,
            read_timeout_s=server.read_timeout_s,
        )

    def start(self) -> None:
        """Start the engine, the plugins and the connection; returns while they are on their way."""
        hub = self.session.event_hub
        hub.on_state_change(self._hub_changed)
        hub.tap(self._incoming)
        self.delivery.start()
        self._stack.callback(self.delivery.stop)
        self.catch_up.start()
        self._stack.callback(self.catch_up.stop)
        self.host.start()
        hub.connect_in_background()
        self._progress.start()
        self._stack.callback(self._progress.stop)

    def ready(self, late: Sequence[str]) -> None:
        """Every plugin but the *late* ones has subscribed and the hub is live: ask for what happened in the
        meantime. Call it again when fewer are late; what can wait is kept for those that still are.
        """
        self.relay.expect(late)
        with self._stream_lock:
            self._is_ready = True
            self._stream_changed()

    def drain(self, deadline_s: float) -> bool:
        """Take nothing more in and let running callbacks finish; False when some did not in time."""
        with self._stream_lock:
            # Before, so that it does not take for received what comes from now on.
            self.catch_up.disconnected()
        self.relay.close_intake()
        finished = self.delivery.drain(deadline_s)
        if not finished:
            log.warning(
                "callbacks still run, or the disk refuses what came of them, at the end of the drain; their "
                "events run again at the next start"
            )
        return finished

    def close(self, deadline_s: float) -> None:
        """End the plugins, then everything else."""
        self.host.stop(deadline_s)
        self._stack.close()

    def is_connected(self) -> bool:
        """Whether the hub is live."""
        return self.session.event_hub.state is ConnectionState.LIVE

    def starting(self) -> list[PluginStatus]:
        """Return the plugins that are neither registered nor have failed."""
        return [status for status in self.host.statuses() if status.state == "starting"]

    def reset_sessions(self) -> list[str]:
        """Have every plugin's Session reset between two deliveries; return the plugins' names."""
        names = [status.name for status in self.host.statuses()]
        self.host.reset()
        self._hooks.call("session_reset", plugins=names)
        return names

    def stuck(self) -> list[str]:
        """Return the names of loops that make no progress."""
        return self._progress.stuck()

    def _ask_reader(self) -> None:
        hub = self.session.event_hub
        assert isinstance(hub, MainHub)
        if time.monotonic() - hub.moved_at > STUCK_AFTER_S:
            raise TimeoutError("the hub's reader did nothing")

    def _ask_writer(self) -> None:
        # A disk that refuses is a degradation that is shown, not a loop that hangs: a restart would not help.
        if not self.delivery.health.degraded:
            self.delivery.prove_progress()

    def _ask_supervisor(self) -> None:
        self.host.statuses()

    def catch_up_report(self) -> dict[str, Any]:
        """Return what catch-up did at the start."""
        return asdict(self.catch_up.report)

    def _take_in_replayed(self, raw: bytes, event: Mapping[str, Any]) -> None:
        recipients = self.relay.recipients(event)
        if recipients:
            self.wiring.take_in(raw, event, recipients, replayed=True)

    def _incoming(self, incoming: IncomingEvent) -> None:
        self.relay.incoming(incoming.raw, incoming.event)

    def _hub_changed(self, change: StateChange) -> None:
        if change.current is ConnectionState.LIVE:
            log.info("event hub connected", server=self.session.server_url)
            self.lifecycle.lift("hub")
        is_lost = change.current is not ConnectionState.LIVE and self.lifecycle.is_running
        with self._stream_lock:
            if is_lost:
                self.catch_up.disconnected()
            self._stream_changed()
        if is_lost:
            if self.lifecycle.state is State.CONNECTING:
                log.info("event hub connecting", server=self.session.server_url)
            else:
                log.warning("event hub not connected", state=change.current.value, reason=change.reason)
            self.lifecycle.degrade("hub", f"{change.current.value}: {change.reason}")
        self.wiring.changed.set()

    def _stream_changed(self) -> None:
        """Let catch-up begin when live events come, by what is so now: the hub and a late plugin may both
        have news at the same time.
        """
        if self._is_ready and self.is_connected() and self.lifecycle.is_running:
            self.catch_up.connected()

    def _gauges(self) -> Mapping[str, Any]:
        hub = self.session.event_hub
        return {
            "ftrackd_hub_reconnects": ("Connections established again", lambda: float(hub.reconnect_count)),
            "ftrackd_running_deliveries": (
                "Durable deliveries running",
                lambda: float(self.delivery.running),
            ),
            "ftrackd_open_deliveries": ("Deliveries waiting or running", lambda: float(self._open())),
            "ftrackd_waiting_events": (
                "Received, not in the journal yet",
                lambda: float(self.delivery.health.waiting),
            ),
            "ftrackd_dropped_events": (
                "Dropped since the start, for want of a journal",
                lambda: float(self.delivery.health.lost),
            ),
            "ftrackd_dead_letters": ("Deliveries that failed for good", lambda: float(self._dead())),
        }

    def _open(self) -> int:
        return sum(backlog.unfinished for backlog in self.delivery.stats().plugins)

    def _dead(self) -> int:
        return sum(backlog.parked for backlog in self.delivery.stats().plugins)
