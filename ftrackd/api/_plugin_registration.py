"""Load plugins and call their ``register``: for a Session in a script and for every hosted plugin process.

A plugin that cannot be imported or registered is reported with its traceback and keeps nobody else from
loading.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ftrackd.api._plugin_discovery import PluginSource, find_plugins
from ftrackd.api._plugin_loading import isolated_imports, load_module, module_name
from ftrackd.api._plugin_registry import CallFailure, PluginRegistry, plugin_traceback
from ftrackd.api.event.hub import EventHub

_logger = logging.getLogger("ftrack_api.plugin.discover")


@dataclass(frozen=True)
class ModuleReport:
    """What happened to one module: ``stage`` is where it ended, ``error`` and ``traceback`` why.

    ``subscribers`` are the identifiers of what its ``register`` subscribed.
    """

    name: str
    file: str
    stage: str
    error: str = ""
    traceback: str = ""
    dropped_arguments: str = ""
    subscribers: tuple[str, ...] = ()

    @property
    def is_registered(self) -> bool:
        """Whether ``register`` was called and returned."""
        return self.stage == "registered"


@dataclass
class LoadReport:
    """What happened to each module of a plugin."""

    source: PluginSource
    modules: list[ModuleReport] = field(default_factory=list)

    @property
    def errors(self) -> list[ModuleReport]:
        """The modules that did not get to the end of ``register``."""
        return [module for module in self.modules if module.error]


def discover(
    paths: Iterable[str], positional_arguments: Sequence[Any], keyword_arguments: Mapping[str, Any]
) -> list[LoadReport]:
    """Load and register the plugins on *paths*, as :func:`ftrackd.api.plugin.discover` says."""
    registry = PluginRegistry()
    return [
        load_plugin(source, registry, positional_arguments, keyword_arguments)
        for source in find_plugins(paths)
    ]


@dataclass(frozen=True)
class LoadedModule:
    """A module of a plugin after import: ``module`` is ``None`` when that failed, as ``report`` says."""

    module: ModuleType | None
    report: ModuleReport


def load_plugin(
    source: PluginSource,
    registry: PluginRegistry,
    positional_arguments: Sequence[Any] = (),
    keyword_arguments: Mapping[str, Any] | None = None,
    loaded_modules: list[LoadedModule] | None = None,
) -> LoadReport:
    """Load the modules of one plugin and call ``register`` of each through *registry*; never raises.

    A module registers before the next one is imported, so that a plugin's files may build on each other. What
    was imported is added to *loaded_modules*, to be registered with further Sessions.
    """
    report = LoadReport(source)
    with isolated_imports(source):
        for loaded in _modules(source):
            if loaded_modules is not None:
                loaded_modules.append(loaded)
            report.modules.append(
                _registered(loaded, registry, positional_arguments, keyword_arguments or {})
            )
    return report


def load_modules(source: PluginSource) -> list[LoadedModule]:
    """Import the modules of one plugin without registering them; never raises."""
    with isolated_imports(source):
        return list(_modules(source))


def register_modules(
    source: PluginSource,
    modules: Sequence[LoadedModule],
    registry: PluginRegistry,
    positional_arguments: Sequence[Any] = (),
    keyword_arguments: Mapping[str, Any] | None = None,
) -> LoadReport:
    """Call ``register`` of modules that :func:`load_modules` imported; never raises."""
    with isolated_imports(source):
        reports = [
            _registered(loaded, registry, positional_arguments, keyword_arguments or {}) for loaded in modules
        ]
    return LoadReport(source, reports)


def _modules(source: PluginSource) -> Iterator[LoadedModule]:
    if source.entry_point:
        yield _load_entry_point(source)
        return
    for file in source.modules:
        yield _load_file(source, file)


def _load_file(source: PluginSource, file: Path) -> LoadedModule:
    name = module_name(source, file)
    try:
        return LoadedModule(load_module(source, file), ModuleReport(name, str(file), "imported"))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - contains what a plugin does at import
        return LoadedModule(None, _import_failure(name, str(file), error))


def _load_entry_point(source: PluginSource) -> LoadedModule:
    # Only entry points need the metadata reader, which is slow to import.
    from importlib.metadata import entry_points

    try:
        (point,) = entry_points(group="ftrackd.plugins", name=source.entry_point)
        loaded = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - contains what a plugin does at import
        return LoadedModule(None, _import_failure(source.entry_point, source.entry_point, error))
    if isinstance(loaded, ModuleType):
        module = loaded
    else:
        module = ModuleType(f"{loaded.__module__}:{getattr(loaded, '__qualname__', source.entry_point)}")
        vars(module)["register"] = getattr(loaded, "register", loaded)
        vars(module)["unregister"] = getattr(loaded, "unregister", None)
    file = getattr(module, "__file__", None) or source.entry_point
    return LoadedModule(module, ModuleReport(module.__name__, file, "imported"))


def _import_failure(name: str, file: str, error: BaseException) -> ModuleReport:
    trace = plugin_traceback(error)
    _logger.error("Failed to load plugin %s: %s: %s\n%s", file, type(error).__name__, error, trace)
    return ModuleReport(
        name,
        file,
        "import failed",
        f"{type(error).__name__}: {error}",
        trace,
    )


def _registered(
    loaded: LoadedModule,
    registry: PluginRegistry,
    positional_arguments: Sequence[Any],
    keyword_arguments: Mapping[str, Any],
) -> ModuleReport:
    module, file = loaded.module, loaded.report.file
    if module is None:
        return loaded.report
    if not callable(getattr(module, "register", None)):
        _logger.debug("%s has no register function, so it is a helper", file)
        return ModuleReport(module.__name__, file, "no register")
    before = _subscribers(positional_arguments)
    outcome = registry.register(module, positional_arguments, keyword_arguments)
    new = tuple(identifier for identifier in _subscribers(positional_arguments) if identifier not in before)
    if isinstance(outcome, CallFailure):
        _logger.error(
            "Failed to register plugin %s: %s: %s\n%s",
            file,
            type(outcome.error).__name__,
            outcome.error,
            outcome.traceback,
        )
        error = f"{type(outcome.error).__name__}: {outcome.error}"
        return ModuleReport(
            module.__name__, file, "register failed", error, outcome.traceback, subscribers=new
        )
    dropped = outcome.describe()
    if dropped:
        _logger.warning(
            "register of %s does not take these arguments, so they were left out: %s", file, dropped
        )
    return ModuleReport(module.__name__, file, "registered", dropped_arguments=dropped, subscribers=new)


def _subscribers(positional_arguments: Sequence[Any]) -> list[str]:
    """Return who is subscribed to the hub of the session that plugins are registered with."""
    hub = getattr(positional_arguments[0], "event_hub", None) if positional_arguments else None
    return [str(one.metadata["id"]) for one in hub._subscribers] if isinstance(hub, EventHub) else []
