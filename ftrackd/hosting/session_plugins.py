"""Which plugins shape everybody's Session: guessed from their text, then known from their subscriptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ftrackd.hosting.child.event_hub import shapes_session
from ftrackd.hosting.child.specification import PluginSpecification
from ftrackd.hosting.entries import HostedEntry, may_shape_sessions, specification_of
from ftrackd.hosting.group import PluginGroup
from ftrackd.hosting.model import PluginSubscription
from ftrackd.settings import HostingSettings


class SessionPlugins:
    """Remembers for each plugin whether it is a session plugin."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}
        self._guessed: dict[str, bool] = {}

    def __contains__(self, plugin: object) -> bool:
        name = str(plugin)
        return self._known.get(name, self._guessed.get(name, False))

    def guests(
        self, group_of: Mapping[str, PluginGroup], settings: HostingSettings
    ) -> tuple[PluginSpecification, ...]:
        """Return what the processes of other plugins are told to load."""
        entries = [group.entries.get(plugin) for plugin, group in group_of.items() if plugin in self]
        return tuple(
            specification_of(entry, settings)
            for entry in entries
            if entry is not None and not entry.refusal and entry.is_enabled
        )

    def guess(self, entry: HostedEntry) -> None:
        """Look at the text of a plugin that has not been loaded yet."""
        if entry.name not in self._guessed:
            self._guessed[entry.name] = may_shape_sessions(entry.source)

    def learn(self, plugin: str, subscriptions: Iterable[PluginSubscription]) -> bool:
        """Note what a loaded plugin subscribes to; return whether that differs from what was assumed."""
        before = plugin in self
        self._known[plugin] = any(shapes_session(subscription.expression) for subscription in subscriptions)
        return before != self._known[plugin]

    def fail(self, plugin: str) -> bool:
        """Note that a plugin could not be loaded; return whether it was assumed to shape Sessions."""
        before = plugin in self
        self._known[plugin] = False
        return before

    def forget(self, plugin: str) -> bool:
        """Forget a plugin that is gone; return whether it shaped Sessions."""
        before = plugin in self
        self._known.pop(plugin, None)
        self._guessed.pop(plugin, None)
        return before
