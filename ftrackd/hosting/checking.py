"""Tell an author what would happen to plugins, and why one would stay silent; for ``ftrackd check``.

The plugins are really loaded, by the same code and in processes of their own, with a Session that has no
server; nothing is delivered to them.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import SecretStr

from ftrackd.api._plugin_discovery import PluginSource, find_plugins, is_skipped_file, is_skipped_folder
from ftrackd.hosting import _silence
from ftrackd.hosting.host import Host
from ftrackd.hosting.model import (
    Acknowledge,
    Bootstrap,
    HostedOutcome,
    PluginStatus,
    PluginSubscription,
    ServerAccess,
)
from ftrackd.settings import HostingSettings, PluginSettings

CheckStage = Literal[
    "registered", "no register", "helper", "refused", "import failed", "register failed", "not started"
]

# Nobody listens there: what needs a server fails at once instead of reaching one.
_NOWHERE: Final = ServerAccess("http://127.0.0.1:9", "ftrackd-check", SecretStr("none"))
_REPLY_EXPRESSION: Final = "topic=ftrack.meta.reply"
_GRACE_S: Final = 5.0


@dataclass(frozen=True)
class CheckResult:
    """What would happen to one file.

    ``problems`` keep the plugin from working, ``notes`` are worth knowing; ``traceback`` belongs to the first
    problem when code raised.
    """

    path: str
    plugin: str
    stage: CheckStage
    subscriptions: tuple[str, ...] = ()
    dropped_arguments: str = ""
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    traceback: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether the file would do what its author wants, as far as can be told."""
        return not self.problems


def check(
    paths: Sequence[Path],
    *,
    arguments: Mapping[str, Any] | None = None,
    plugin_settings: Mapping[str, PluginSettings] | None = None,
    allow_unsafe_paths: bool = False,
    timeout_s: float = 30.0,
    server: ServerAccess = _NOWHERE,
    bootstrap: Bootstrap | None = None,
) -> list[CheckResult]:
    """Load the plugins on *paths* and return what happened to each of their files, in load order.

    *arguments* are offered to every ``register``; import and ``register`` may take *timeout_s*. With *server*
    and *bootstrap* plugins that ask the server while they load get answers.
    """
    missing = [
        CheckResult(str(path), "", "not started", problems=("there is no such file or folder",))
        for path in paths
        if not path.exists()
    ]
    settings = HostingSettings(
        plugin_paths=[path for path in paths if path.exists()],
        allow_unsafe_paths=allow_unsafe_paths,
        start_timeout_s=timeout_s,
        watch=False,
        restart_delay_s=10 * timeout_s,
        restart_delay_cap_s=10 * timeout_s,
        arguments=dict(arguments or {}),
    )
    sources = find_plugins(settings.plugin_paths)
    statuses = _load(settings, plugin_settings or {}, server, bootstrap or _bootstrap())
    results = [result for source in sources for result in _results(source, statuses[source.name], paths)]
    results += _helpers(settings.plugin_paths, sources)
    return [*missing, *_with_copies(results)]


def _load(
    settings: HostingSettings,
    plugin_settings: Mapping[str, PluginSettings],
    server: ServerAccess,
    bootstrap: Bootstrap,
) -> dict[str, PluginStatus]:
    listener = _Listener()
    host = Host(settings, plugin_settings, (), listener, server, bootstrap)
    host.start()
    try:
        listener.wait(host, settings.start_timeout_s + _GRACE_S)
        return {status.name: status for status in host.statuses()}
    finally:
        host.stop(1.0)


def _results(source: PluginSource, status: PluginStatus, paths: Sequence[Path]) -> Iterable[CheckResult]:
    if status.state == "refused":
        yield CheckResult(str(source.root), source.name, "refused", problems=(status.reason,))
        return
    if status.state == "disabled" and not status.modules:
        yield CheckResult(str(source.root), source.name, "not started", notes=(status.reason,))
        return
    if not status.modules:
        text = status.error or status.reason or "it could not be started"
        reason, _, stack = text.partition("\n")
        problem = _silence.explain_stop(reason, stack)
        yield CheckResult(str(source.root), source.name, "not started", problems=(problem,), traceback=stack)
        return
    rest = [one for one in status.subscriptions if one.expression != _REPLY_EXPRESSION]
    twice = _silence.registered_twice(rest)
    attributed = {identifier for module in status.modules for identifier in module["subscribers"]}
    for module in status.modules:
        own = [one for one in rest if one.id in module["subscribers"]]
        if module["stage"] == "registered":
            # What was subscribed after register, by a callback, is shown with the first file.
            own += [one for one in rest if one.id not in attributed]
            attributed.update(one.id for one in own)
        expressions = tuple(one.expression for one in own)
        yield _module_result(source, module, expressions, twice, paths)


def _module_result(
    source: PluginSource,
    module: Mapping[str, Any],
    subscriptions: tuple[str, ...],
    twice: Collection[str],
    paths: Sequence[Path],
) -> CheckResult:
    file = Path(module["file"])
    notes = [f"older version beside it is not loaded: {path}" for path in source.shadowed]
    problems: list[str] = []
    if module["error"]:
        problems.append(_silence.explain(file, module["stage"], module["error"], source, paths))
    elif module["stage"] == "no register":
        problems.append("its register is defined under a condition that does not hold here")
    elif module["stage"] == "registered" and not subscriptions:
        problems.append(_silence.explain_no_subscription(file))
    notes += _silence.notes_on_subscriptions(subscriptions)
    if doubled := sorted(set(subscriptions).intersection(twice)):
        problems.append(f"subscribed twice, so probably registered twice: {', '.join(doubled)}")
    if module["dropped_arguments"]:
        notes.append(f"register does not take these arguments: {module['dropped_arguments']}")
    return CheckResult(
        str(file),
        source.name,
        module["stage"],
        subscriptions,
        module["dropped_arguments"],
        tuple(problems),
        tuple(notes),
        module["traceback"],
    )


def _helpers(paths: Sequence[Path], sources: Sequence[PluginSource]) -> list[CheckResult]:
    """Name the files that no plugin is made of: with whom they lie, and whether they are Python 3 at all."""
    modules = {module.resolve() for source in sources for module in source.modules}
    results = []
    for path in paths:
        for file in _files(path):
            if file.resolve() in modules:
                continue
            broken = _silence.syntax_problem(file)
            notes = ("has no register(session), so it is only there to be imported",)
            results.append(CheckResult(str(file), "", "helper", notes=(*notes, broken) if broken else notes))
    return results


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and not is_skipped_folder(entry):
            yield from _files(entry)
        elif entry.suffix == ".py" and not is_skipped_file(entry):
            yield entry


def _with_copies(results: list[CheckResult]) -> list[CheckResult]:
    """Note registered files of the same contents: each event would be handled once for each of them."""
    contents: dict[bytes, str] = {}
    noted = []
    for result in results:
        if result.stage == "registered":
            text = Path(result.path).read_bytes() if Path(result.path).is_file() else result.path.encode()
            first = contents.setdefault(text, result.path)
            if first != result.path:
                problem = f"registered twice: {first} has the same contents"
                result = CheckResult(**{**vars(result), "problems": (*result.problems, problem)})
        noted.append(result)
    return noted


def _bootstrap() -> Bootstrap:
    """Return what a Session needs to start when there is no server to ask."""
    names = ("Location", "Task", "User", "Project", "AssetVersion", "FileComponent", "Component", "Job")
    properties = {name: {"type": "string"} for name in ("id", "name", "label", "description")}
    schemas = [
        {
            "id": name,
            "type": "object",
            "properties": properties,
            "immutable": ["id"],
            "primary_key": ["id"],
            "required": ["id"],
            "default_projections": ["id"],
        }
        for name in names
    ]
    return Bootstrap({"version": "dev", "schema_hash": "none"}, schemas)


class _Listener:
    """Waits until every plugin is either loaded or known not to be."""

    def __init__(self) -> None:
        self._changed = threading.Event()

    def wait(self, host: Host, timeout_s: float) -> None:
        """Return when nothing is starting any more; supervision ends what hangs."""
        deadline = threading.Event()
        timer = threading.Timer(timeout_s, deadline.set)
        timer.daemon = True
        timer.start()
        while not deadline.is_set():
            self._changed.clear()
            if not any(status.state == "starting" for status in host.statuses()):
                break
            self._changed.wait(0.1)
        timer.cancel()

    def plugin_subscribed(self, plugin: str, subscription: PluginSubscription) -> None:
        """Nothing to do: the status tells."""

    def plugin_unsubscribed(self, plugin: str, subscriber_id: str) -> None:
        """Nothing to do: the status tells."""

    def plugin_published(self, plugin: str, raw: bytes, acknowledge: Acknowledge) -> None:
        """Swallow what a plugin publishes: there is nobody to hear it."""
        acknowledge(True, "")

    def plugin_ready(self, plugin: str, concurrency: int) -> None:
        """Nothing is delivered in a check."""

    def plugin_gone(self, plugin: str, reason: str) -> None:
        """Nothing is delivered in a check."""

    def deliveries_done(self, plugin: str, outcomes: Sequence[HostedOutcome]) -> None:
        """Nothing is delivered in a check."""

    def state_changed(self, status: PluginStatus) -> None:
        """Look again."""
        self._changed.set()
