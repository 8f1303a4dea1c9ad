"""``ftrackd doctor``: looks at everything an installation needs, one finding at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ftrackd.daemon.control_client import ControlClient
from ftrackd.daemon.errors import ControlError
from ftrackd.daemon.paths import control_socket, journal_file
from ftrackd.errors import FtrackdError, SettingsError
from ftrackd.settings import Settings
from ftrackd.settings_file import load

LEAST_FREE_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; ``is_well`` is None for something worth knowing that is no problem."""

    name: str
    is_well: bool | None
    text: str

    def as_document(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return asdict(self)


def examine(config: Path | None) -> list[Finding]:
    """Run every check and return what they found, in order; a check that cannot run is a finding, not an
    error.
    """
    try:
        loaded = load(config)
    except SettingsError as error:
        return [Finding("settings", False, str(error))]
    findings = [Finding("settings", True, f"read from {loaded.file or 'defaults and environment'}")]
    findings.extend(Finding("settings", False, warning) for warning in loaded.warnings)
    settings = loaded.settings
    if None in (settings.server.url, settings.server.api_user, settings.server.api_key):
        settings, found = _with_running_daemon(settings)
        findings.extend(found)
    for check in _CHECKS:
        try:
            findings.extend(check(settings))
        except FtrackdError as error:
            findings.append(Finding(check.__name__.strip("_"), False, str(error)))
    return findings


def _with_running_daemon(settings: Settings) -> tuple[Settings, list[Finding]]:
    """Return *settings* with the embedded server and the plugin paths of a daemon that runs on its own
    (``ftrackd run --sandbox --plugins ...``), where these settings name none; and what was taken from it.
    """
    client = ControlClient(control_socket(settings.daemon))
    try:
        lent, paths = client.get("/credentials"), client.get("/status")["plugin_paths"]
    except ControlError:
        return settings, []  # there is none, or it lends nothing: the checks say so
    server = settings.server.model_copy(
        update={
            "url": lent["server_url"],
            "api_user": lent["api_user"],
            "api_key": SecretStr(lent["api_key"]),
        }
    )
    text = "none names a server; looking at the embedded one of the daemon that runs"
    taken = settings.model_copy(update={"server": server})
    if not settings.hosting.plugin_paths:
        hosting = settings.hosting.model_copy(update={"plugin_paths": [Path(path) for path in paths]})
        taken = taken.model_copy(update={"hosting": hosting})
        text += ", and at its plugin paths"
    return taken, [Finding("settings", None, text)]


def _server(settings: Settings) -> Iterator[Finding]:
    from ftrackd.daemon.bootstrap import open_session

    session = open_session(settings.server, settings.hub)
    try:
        version = session.server_information.get("version", "unknown")
        yield Finding("server", True, f"{settings.server.url} answers, version {version}")
        yield Finding("credentials", True, f"user {settings.server.api_user} is known")
        session.event_hub.connect()
        yield Finding("hub", True, "the event hub lets us in")
    finally:
        session.close()


def _state_folder(settings: Settings) -> Iterator[Finding]:
    folder = journal_file(settings.daemon, settings.delivery).parent
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        yield Finding("state folder", False, f"{existing} cannot be written; set daemon.state_dir")
        return
    free = shutil.disk_usage(existing).free
    yield Finding("state folder", free > LEAST_FREE_BYTES, f"{folder}, {free / 1e9:.1f} GB free")


def _plugin_paths(settings: Settings) -> Iterator[Finding]:
    from ftrackd.hosting.errors import UntrustedPathError
    from ftrackd.hosting.trust import check_tree
    from ftrackd.hosting.watcher import is_on_network

    if not settings.hosting.plugin_paths and not settings.hosting.entry_points:
        yield Finding("plugin paths", False, "none; set hosting.plugin_paths or FTRACK_EVENT_PLUGIN_PATH")
    for path in settings.hosting.plugin_paths:
        if not path.exists():
            yield Finding("plugin path", False, f"{path} does not exist")
            continue
        try:
            if not settings.hosting.allow_unsafe_paths:
                check_tree(path)
            polled = ", on a network file system, which is polled" if is_on_network(str(path)) else ""
            yield Finding("plugin path", True, f"{path}{polled}")
        except UntrustedPathError as error:
            yield Finding("plugin path", False, str(error))
    if settings.hosting.allow_unsafe_paths:
        yield Finding("plugin paths", None, "hosting.allow_unsafe_paths is on: nothing is refused")


def _daemon(settings: Settings) -> Iterator[Finding]:
    client = ControlClient(control_socket(settings.daemon))
    try:
        report = client.get("/status", timeout_s=3)
    except ControlError as error:
        yield Finding("daemon", None, str(error))
        yield from _found_plugins(settings)
        return
    yield Finding("daemon", report["state"] == "live", f"{report['state']}, pid {report['pid']}")
    for name, reason in report["degradations"].items():
        yield Finding(name, False, reason)
    if settings.server.url is not None and report["server"]["url"] != settings.server.url:
        other = report["server"]["url"]
        yield Finding("daemon", False, f"it runs against {other}, not {settings.server.url}")
    yield _journal(report["journal"])
    for plugin in client.get("/plugins"):
        reason = (plugin["reason"] or plugin["error"]).partition("\n")[0]
        is_well = plugin["state"] in ("running", "starting") and not plugin["error"]
        is_switched_off = plugin["state"] == "disabled" and not plugin["failures"]
        text = f"{plugin['state']}: {reason}" if reason else plugin["state"]
        yield Finding(f"plugin {plugin['name']}", None if is_switched_off else is_well, text)


def _journal(journal: Mapping[str, Any]) -> Finding:
    text = f"{journal['file']}, {journal['open']} deliveries open"
    if not journal["dead"]:
        return Finding("journal", True, text)
    return Finding("journal", None, f"{text}, {journal['dead']} dead letters: see `ftrackd dead list`")


def _found_plugins(settings: Settings) -> Iterator[Finding]:
    """Say which plugins a daemon would load; none of their code is run for that."""
    from ftrackd.hosting.entries import find_entries

    entries = find_entries(settings.hosting, settings.plugins, settings.groups)
    for entry in entries:
        if entry.refusal:
            yield Finding(f"plugin {entry.name}", False, entry.refusal)
    loadable = [entry.name for entry in entries if entry.is_enabled and not entry.refusal]
    names = ", ".join(loadable) or "none"
    yield Finding("plugins", bool(loadable), f"{names}; `ftrackd check` tells whether they would load")


_CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _server,
    _state_folder,
    _plugin_paths,
    _daemon,
)
