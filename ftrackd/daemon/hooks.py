"""Hooks by which an installed package extends the daemon (pluggy, project name ``ftrackd``).

An extension is a module or object with functions marked by :data:`hookimpl`, found through the entry
point group ``ftrackd.extensions`` or registered in code. Metrics and Sentry are written on these hooks,
like anyone else's::

    from ftrackd.daemon.hooks import hookimpl

    @hookimpl
    def deliveries_done(plugin, outcomes): ...

Hooks run in the daemon's threads: return soon, keep slow work in a thread of your own. What an extension
raises is logged under its name and reaches nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pluggy
import structlog

if TYPE_CHECKING:
    from ftrackd.daemon.lifecycle import State
    from ftrackd.hosting import HostedOutcome
    from ftrackd.settings import Settings

PROJECT = "ftrackd"
ENTRY_POINTS = "ftrackd.extensions"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

log = structlog.stdlib.get_logger("ftrackd.daemon.hooks")


class HookSpecifications:
    """What can be hooked; the class is the manual."""

    @hookspec
    def settings_read(self, settings: Settings) -> None:
        """The settings are known; nothing runs yet."""

    @hookspec
    def state_changed(self, state: State, degradations: Mapping[str, str]) -> None:
        """The main process went to another state, or what is wrong with it changed."""

    @hookspec
    def plugin_loaded(self, plugin: str, status: Mapping[str, Any]) -> None:
        """A plugin (or a new version of it) is registered and handles events."""

    @hookspec
    def plugin_failed(self, plugin: str, status: Mapping[str, Any]) -> None:
        """A plugin could not be loaded, crashed or was disabled; ``status`` says why."""

    @hookspec
    def plugin_ended(self, plugin: str, status: Mapping[str, Any]) -> None:
        """A plugin was removed or the daemon stops."""

    @hookspec
    def event_received(self, event: Mapping[str, Any], plugins: Sequence[str], replayed: bool) -> None:
        """An event came from the hub (or from catch-up and replay) for these plugins; called in the hub's
        reader.
        """

    @hookspec
    def deliveries_done(self, plugin: str, outcomes: Sequence[HostedOutcome]) -> None:
        """Attempts at deliveries ended, one or many; each outcome has status, seconds, error, topic and event
        id.
        """

    @hookspec
    def session_reset(self, plugins: Sequence[str]) -> None:
        """The Sessions of these plugins were told to reset."""

    @hookspec
    def shutdown(self) -> None:
        """The daemon stops; flush what you hold."""


class Hooks:
    """Calls extensions one by one, each in its own guard."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HookSpecifications)
        self._implementations: dict[str, list[pluggy.HookImpl]] = {}  # of the hooks that were called

    def load_installed(self) -> None:
        """Register the extensions of installed packages; one that cannot be is logged and left out."""
        for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
            try:
                self.register(point.load(), point.name)
            except (Exception, SystemExit):  # contains one package
                log.exception("extension could not be loaded", extension=point.name, origin=point.value)

    def register(self, extension: object, name: str) -> None:
        """Register an extension; pluggy refuses one whose arguments do not fit the specification."""
        self._implementations.clear()
        try:
            self._manager.register(extension, name=name)
        except pluggy.PluginValidationError:
            # With some versions it is in by then, with the hooks that came before the one that does not fit.
            if self._manager.is_registered(extension):
                self._manager.unregister(extension)
            raise

    def unregister(self, extension: object) -> None:
        """Take an extension out again."""
        self._implementations.clear()
        self._manager.unregister(extension)

    def call(self, hook: str, **arguments: Any) -> None:
        """Call ``hook`` in every extension; one that raises is logged and the next one runs."""
        found = self._implementations.get(hook)
        if found is None:
            found = self._implementations[hook] = getattr(self._manager.hook, hook).get_hookimpls()
        for implementation in found:
            # pluggy's own fan-out stops at the first error, so each implementation is called by itself.
            chosen = {name: arguments[name] for name in implementation.argnames}
            try:
                implementation.function(**chosen)
            except (Exception, SystemExit):  # contains one extension
                log.exception("extension failed", extension=implementation.plugin_name, hook=hook)
