"""What the control surface answers."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import ftrackd
from ftrackd.daemon.control import Answer, Arguments, Route
from ftrackd.daemon.errors import DaemonError
from ftrackd.daemon.lifecycle import State
from ftrackd.daemon.wiring import reason_of, shown_subscriptions
from ftrackd.delivery import DeadLetter, PluginBacklog, Replay

if TYPE_CHECKING:
    from ftrackd.daemon.parts import Parts
    from ftrackd.hosting import PluginStatus

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Reports:
    """Answers for one daemon."""

    def __init__(self, parts: Parts, *, lends_credentials: bool) -> None:
        self._parts = parts
        self._lends_credentials = lends_credentials
        self._started = time.monotonic()

    def routes(self) -> dict[str, Route]:
        """Return the control server's routes."""
        return {
            "GET /healthz": self.health,
            "GET /readyz": self.readiness,
            "GET /status": self.status,
            "GET /metrics": lambda _: (200, self._parts.metrics.render()),
            "GET /plugins": lambda _: (
                200,
                [plugin_document(status) for status in self._parts.host.statuses()],
            ),
            "POST /reload": self.reload,
            "POST /reset": self.reset,
            "GET /events/tail": self.tail,
            "POST /events/replay": self.replay,
            "POST /events/forget": self.forget,
            "GET /dead": self.dead,
            "GET /dead/show": self.dead_show,
            "POST /dead/retry": lambda arguments: self._settle(arguments, self._parts.delivery.retry_dead),
            "POST /dead/drop": lambda arguments: self._settle(arguments, self._parts.delivery.drop_dead),
            "GET /credentials": self.credentials,
        }

    def health(self, _: Arguments) -> Answer:
        """200 while the hub's reader, the dispatcher and the supervisor make progress."""
        stuck = self._parts.stuck()
        return (503, {"stuck": stuck}) if stuck else (200, {"state": self._parts.lifecycle.state})

    def readiness(self, _: Arguments) -> Answer:
        """200 while live: plugins registered, hub connected and subscribed, journal writable."""
        lifecycle = self._parts.lifecycle
        status = 200 if lifecycle.state is State.LIVE else 503
        return status, {"state": lifecycle.state, "degradations": lifecycle.degradations}

    def status(self, _: Arguments) -> Answer:
        """Everything in brief."""
        parts = self._parts
        hub = parts.session.event_hub
        last = hub.last_packet_at
        statuses = parts.host.statuses()
        return 200, {
            "version": ftrackd.__version__,
            "pid": os.getpid(),
            "state": parts.lifecycle.state,
            "degradations": parts.lifecycle.degradations,
            "uptime_s": time.monotonic() - self._started,
            "server": {
                "url": parts.session.server_url,
                "api_user": parts.session.api_user,
                "version": parts.session.server_information.get("version"),
            },
            "hub": {
                "state": str(hub.state.value),
                "reason": hub.state_reason,
                "last_packet_s": None if last is None else max(0.0, time.time() - last),
                "reconnects": hub.reconnect_count,
            },
            "plugin_paths": [str(path) for path in parts.settings.hosting.plugin_paths],
            "plugins": dict(Counter(status.state for status in statuses)),
            "starting": [status.name for status in statuses if status.state == "starting"],
            "journal": self._journal(statuses),
            "loops": [asdict(loop) for loop in parts.delivery.loops()],
            "catch_up": parts.catch_up_report(),
            "unsafe_paths_allowed": parts.settings.hosting.allow_unsafe_paths,
        }

    def _journal(self, hosted: Sequence[PluginStatus]) -> dict[str, Any]:
        stats, health = self._parts.delivery.stats(), self._parts.delivery.health
        absent = self._absent(stats.plugins, hosted)
        oldest = [backlog.oldest_at for backlog in stats.plugins if backlog.oldest_at is not None]
        return {
            "file": str(self._parts.journal_path),
            "events": stats.events,
            "open": sum(backlog.unfinished for backlog in stats.plugins),
            "absent": {backlog.plugin: backlog.waiting for backlog in absent if backlog.waiting},
            "dead": sum(backlog.parked for backlog in stats.plugins),
            "megabytes": round(stats.size_bytes / 1e6, 1),
            "waiting": health.waiting,
            "dropped": health.lost,
            "oldest_open_s": round(time.time() - min(oldest), 1) if oldest else None,
        }

    def _knows_plugins(self) -> bool:
        return self._parts.lifecycle.state in (State.LIVE, State.DEGRADED)

    def _absent(
        self, backlogs: Sequence[PluginBacklog], hosted: Sequence[PluginStatus]
    ) -> list[PluginBacklog]:
        """Return what is kept for plugins that are not hosted; nothing while they are still looked for."""
        if not self._knows_plugins():
            return []
        names = {status.name for status in hosted}
        return [backlog for backlog in backlogs if backlog.plugin not in names]

    def reload(self, arguments: Arguments) -> Answer:
        """Load the present code of one plugin, or of all."""
        name = arguments.get("plugin")
        known = [status.name for status in self._parts.host.statuses()]
        if name is not None and name not in known:
            raise DaemonError(f"no plugin is named {name!r}; there are {', '.join(known) or 'none'}")
        self._parts.host.reload(name)
        return 200, {"plugins": [name] if name else known}

    def reset(self, _: Arguments) -> Answer:
        """Reset the Session of every plugin between two deliveries."""
        return 200, {"plugins": self._parts.reset_sessions()}

    def tail(self, arguments: Arguments) -> Answer:
        """Stream what happens."""
        return 200, self._parts.tail.read(arguments.get("topic"), arguments.get("plugin"))

    def replay(self, arguments: Arguments) -> Answer:
        """Deliver events of the journal again, or say which would be; only to plugins that are hosted, unless
        one is named.
        """
        since = arguments.get("since")
        what = Replay(
            since=moment(since) if since else None,
            event_id=arguments.get("id"),
            plugin=arguments.get("plugin"),
        )
        delivery, hosted = self._parts.delivery, [status.name for status in self._parts.host.statuses()]
        absent: Counter[str] = Counter()
        if what.plugin is None:
            absent.update(
                item.plugin for item in delivery.replay(what, dry_run=True) if item.plugin not in hosted
            )
        made = delivery.replay(what, hosted=hosted, dry_run=bool(arguments.get("dry_run")))
        rows = [{**asdict(item), "received_at": _iso(item.received_at)} for item in made]
        return 200, {"deliveries": rows, "absent": dict(absent)}

    def forget(self, arguments: Arguments) -> Answer:
        """Close what is kept for a plugin that is not hosted, or say how much that would be."""
        name = arguments.get("plugin")
        if not self._knows_plugins():
            raise DaemonError(
                f"the daemon is {self._parts.lifecycle.state} and does not know its plugins; "
                "ask again when it is live"
            )
        hosted = self._parts.host.statuses()
        if any(status.name == name for status in hosted):
            raise DaemonError(
                f"{name} is one of this daemon's plugins: remove it from the plugin paths first, "
                f"or give up only its dead letters: `ftrackd dead drop --all --plugin {name}`"
            )
        absent = {
            backlog.plugin: backlog for backlog in self._absent(self._parts.delivery.stats().plugins, hosted)
        }
        if name not in absent:
            raise DaemonError(
                f"nothing waits for a plugin named {name!r}; "
                f"plugins that are not there and have something waiting: {', '.join(absent) or 'none'}"
            )
        kept = absent[name]
        if kept.claimed:
            raise DaemonError(f"{name} was removed and still runs what it has begun; ask again in a moment")
        count = kept.waiting + kept.parked if arguments.get("dry_run") else self._parts.delivery.forget(name)
        return 200, {"plugin": name, "count": count}

    def dead(self, arguments: Arguments) -> Answer:
        """List the newest dead letters, newest first."""
        limit = int(arguments.get("limit") or 1000)
        letters = self._parts.delivery.dead_letters(arguments.get("plugin"), limit)
        return 200, [letter_document(letter) for letter in letters]

    def dead_show(self, arguments: Arguments) -> Answer:
        """Show one dead letter with its event."""
        letter = self._parts.delivery.dead_letter(_number(arguments.get("id")))
        return 200, {**letter_document(letter), "error": letter.error, "event": json.loads(letter.payload)}

    def _settle(self, arguments: Arguments, change: Any) -> Answer:
        delivery = self._parts.delivery
        if arguments.get("all"):
            ids = delivery.dead_ids(arguments.get("plugin"))
        else:
            ids = [_number(text) for text in arguments.get("ids") or []]
            for delivery_id in ids:
                delivery.dead_letter(delivery_id)  # an unknown one is refused before anything is changed
        return 200, {"count": change(ids) if ids else 0}

    def credentials(self, _: Arguments) -> Answer:
        """The embedded sandbox's credentials, for the author commands; those of a real server are never
        given.
        """
        if not self._lends_credentials:
            return 404, {"error": "only a daemon on its embedded sandbox lends its credentials"}
        session = self._parts.session
        return 200, {
            "server_url": session.server_url,
            "api_user": session.api_user,
            "api_key": session.api_key,
        }


def plugin_document(status: PluginStatus) -> dict[str, Any]:
    """Return one plugin's status for JSON."""
    return {**asdict(status), "subscriptions": shown_subscriptions(status)}


def moment(text: str, now: float | None = None) -> float:
    """Return seconds since 1970 for ``2026-05-01T10:00`` (local time without an offset) or ``6h`` (ago).

    Raises DaemonError for anything else.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return (time.time() if now is None else now) - float(ago[1]) * _SECONDS[ago[2]]
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except ValueError as error:
        raise DaemonError(
            f"{text!r} is no time; write 2026-05-01T10:00, or 30m, 6h, 2d for that long ago"
        ) from error


def letter_document(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as lists show it."""
    return {
        "id": letter.delivery_id,
        "plugin": letter.plugin,
        "topic": letter.topic,
        "event_id": letter.event_id,
        "attempts": letter.attempts,
        "held": letter.held,
        "error_id": letter.error_id,
        "received_at": _iso(letter.received_at),
        "parked_at": _iso(letter.parked_at),
        "reason": reason_of(letter.error),
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(timespec="seconds")


def _number(text: Any) -> int:
    try:
        return int(text)
    except (TypeError, ValueError) as error:
        raise DaemonError(f"{text!r} is no id of a dead letter") from error
