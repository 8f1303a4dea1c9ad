"""Call ``register`` and ``unregister`` of plugin modules as pluggy hooks, each in its own guard.

pluggy's own fan-out ends at the first implementation that raises, so every plugin is called through a hook
caller of its own.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import pluggy

from ftrackd.api._plugin_arguments import ReducedArguments, reduce_arguments

PROJECT: Final = "ftrack"
# Frames of the loader, of pluggy and of the import system say nothing to a plugin's author.
_NOT_THE_PLUGINS: Final = (
    os.path.dirname(os.path.abspath(__file__)),
    os.path.dirname(os.path.abspath(pluggy.__file__)),
    "<frozen importlib",
)
_specification = pluggy.HookspecMarker(PROJECT)
_implementation = pluggy.HookimplMarker(PROJECT)


class PluginHooks:
    """What the host calls in a plugin module."""

    @_specification
    def register(self, positional: Sequence[Any], keywords: Mapping[str, Any]) -> ReducedArguments:
        """Called once when the plugin is loaded, before ``session.types`` and locations exist."""
        raise AssertionError("a specification is not called")

    @_specification
    def unregister(self, positional: Sequence[Any]) -> bool:
        """Called once before the plugin's process ends, if the plugin has it; ``True`` when it was there."""
        raise AssertionError("a specification is not called")


@dataclass(frozen=True)
class CallFailure:
    """An exception that left a plugin's ``register`` or ``unregister``."""

    module: str
    error: BaseException
    traceback: str


class PluginRegistry:
    """The modules registered with one session."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(PluginHooks)
        self._adapters: list[_ModuleAdapter] = []

    def register(
        self, module: ModuleType, positional: Sequence[Any], keywords: Mapping[str, Any]
    ) -> ReducedArguments | CallFailure:
        """Call ``module.register`` with the arguments reduced to its signature and return what happened."""
        adapter = _ModuleAdapter(module)
        self._manager.register(adapter, name=f"{module.__name__}#{id(adapter)}")
        self._adapters.append(adapter)
        outcome: ReducedArguments | CallFailure = self._call(
            adapter, "register", positional=positional, keywords=keywords
        )
        if isinstance(outcome, CallFailure):
            self._forget(adapter)
        return outcome

    def unregister_all(self, positional: Sequence[Any]) -> list[CallFailure]:
        """Call ``unregister`` of every module that has it, last registered first; return what failed."""
        failures = []
        for adapter in reversed(list(self._adapters)):
            outcome = self._call(adapter, "unregister", positional=positional)
            if isinstance(outcome, CallFailure):
                failures.append(outcome)
            self._forget(adapter)
        return failures

    def _forget(self, adapter: _ModuleAdapter) -> None:
        self._manager.unregister(adapter)
        self._adapters.remove(adapter)

    def _call(self, adapter: _ModuleAdapter, hook: str, **arguments: Any) -> Any:
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not adapter]
        caller = self._manager.subset_hook_caller(hook, others)
        try:
            return caller(**arguments)[0]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - contains one plugin's register()
            return CallFailure(adapter.module.__name__, error, plugin_traceback(error))


def plugin_traceback(error: BaseException) -> str:
    """Return the traceback of *error* from where the plugin's own code begins."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_NOT_THE_PLUGINS):
        trace = trace.tb_next
    if trace is None:
        trace = error.__traceback__ if not isinstance(error, SyntaxError) else None
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


class _ModuleAdapter:
    """Gives a module's ``register``, whatever its parameters are called, the hook's signature."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    @_implementation
    def register(self, positional: Sequence[Any], keywords: Mapping[str, Any]) -> ReducedArguments:
        reduced = reduce_arguments(self.module.register, positional, keywords)
        self.module.register(*reduced.positional, **reduced.keywords)
        return reduced

    @_implementation
    def unregister(self, positional: Sequence[Any]) -> bool:
        function = getattr(self.module, "unregister", None)
        if not callable(function):
            return False
        reduced = reduce_arguments(function, positional, {})
        function(*reduced.positional, **reduced.keywords)
        return True
