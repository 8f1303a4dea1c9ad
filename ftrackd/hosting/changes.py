"""Whether a group's code differs from what its newest process executed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ftrackd.hosting.group import PluginGroup
from ftrackd.hosting.restart import RestartPolicy
from ftrackd.hosting.watcher import Scan
from ftrackd.settings import HostingSettings

REMOVAL_GRACE_S: Final = 1.0


class Changes:
    """Compares scans with what was loaded; runs in the host's loop."""

    def __init__(self, settings: HostingSettings) -> None:
        self._settings = settings
        self._scan = Scan((), {}, {})
        self._missing: dict[str, float] = {}  # since when

    @property
    def awaits_confirmation(self) -> bool:
        """Whether a plugin was missing in the last scan, which a later one must confirm."""
        return bool(self._missing)

    def new_policy(self) -> RestartPolicy:
        """Return the restart policy of a new group."""
        return RestartPolicy(
            self._settings.restart_delay_s,
            self._settings.restart_delay_cap_s,
            self._settings.disable_after_failures,
        )

    def use(self, scan: Scan) -> None:
        """Compare with *scan* from now on."""
        self._scan = scan

    def confirmed_removals(self, known: Iterable[str], scan: Scan, grace_s: float) -> list[str]:
        """Return the plugins that have been missing for *grace_s* seconds.

        Editors save by writing another file and renaming it, deployments by removing a folder and copying
        another: for a moment the plugin is not there, or not all of it.
        """
        present = {entry.name for entry in scan.entries}
        missing = {name: self._missing.get(name, scan.taken_at) for name in known if name not in present}
        removed = sorted(name for name, since in missing.items() if scan.taken_at - since >= grace_s)
        self._missing = {name: since for name, since in missing.items() if name not in removed}
        return removed

    def with_running_files(self, scan: Scan, group_of: Mapping[str, PluginGroup]) -> Scan:
        """Return *scan* with the files that run and register nothing any more, but are still there.

        Their text may have been read while it was being written. They are loaded, which fails, and the
        version that runs goes on; whoever takes a plugin away removes its file.
        """
        entries = {entry.name: entry for entry in scan.entries}
        modules = dict(scan.modules)
        for name, group in group_of.items():
            former = group.entries.get(name)
            if former is None or group.current is None:
                continue
            running = group.current.report.registered_files(name)
            found = entries.get(name, replace(former, source=replace(former.source, modules=())))
            kept = [
                module
                for module in former.source.modules
                if module in found.source.modules
                or (str(module) in running and os.path.realpath(module) in scan.tree)
            ]
            new = [module for module in found.source.modules if module not in kept]
            if found.source.root == former.source.root and len(kept) + len(new) > len(found.source.modules):
                source = replace(found.source, modules=tuple(sorted((*kept, *new))))
                entries[name] = replace(found, source=source)
                modules[name] = tuple(os.path.realpath(module) for module in source.modules)
        return replace(scan, entries=tuple(entries.values()), modules=modules)

    def is_missing_some(self, plugins: Iterable[str]) -> bool:
        """Return whether one of *plugins* was missing in the last scan, perhaps only for a moment."""
        return not self._missing.keys().isdisjoint(plugins)

    def attempt(self, group: PluginGroup) -> None:
        """Note what lies there as a new process of *group* begins to load."""
        group.attempted_tree = self._own_tree(group)
        group.attempted_modules = self._modules(group)
        group.attempted_files = {}
        group.attempted_at = time.monotonic()
        group.has_failed_attempt = False

    def loaded(self, group: PluginGroup, files: Mapping[str, str]) -> None:
        """Note which files, with which contents, the new process executed."""
        group.attempted_files = dict(files)

    def is_changed(self, group: PluginGroup) -> bool:
        """Return whether loading *group* again would execute something else than the last attempt did."""
        if group.candidate is not None and not group.attempted_files:
            # It is still loading; what it read is compared when it has said so.
            return False
        if self._scan.taken_at < group.attempted_at:
            # The attempt may have seen something newer than this scan; the next one will tell.
            return False
        if not group.entries or self._modules(group) != group.attempted_modules:
            return bool(group.entries)
        for path, digest in group.attempted_files.items():
            seen = self._scan.tree.get(path)
            if seen != digest and (seen is not None or path in self._scan.asked):
                return True
        # What is missing may appear anywhere near: a failed attempt looks at everything around it.
        return group.has_failed_attempt and self._own_tree(group) != group.attempted_tree

    def executed_files(self, groups: Iterable[PluginGroup]) -> frozenset[str]:
        """Return the files that plugins executed, wherever they are."""
        return frozenset(path for group in groups for path in group.attempted_files)

    def roots(self, group: PluginGroup, paths: Sequence[Path]) -> list[Path]:
        """Return the folders from which code is read afresh and checked."""
        folders = [path if path.is_dir() else path.parent for path in paths]
        own = [
            entry.source.root if entry.source.root.is_dir() else entry.source.root.parent
            for entry in group.entries.values()
            if not entry.source.entry_point
        ]
        return list(dict.fromkeys((*folders, *own)))

    def _modules(self, group: PluginGroup) -> dict[str, tuple[str, ...]]:
        return {name: self._scan.modules.get(name, ()) for name in group.entries}

    def _own_tree(self, group: PluginGroup) -> dict[str, str]:
        roots = tuple(
            os.path.realpath(
                entry.source.root if entry.source.root.is_dir() else entry.source.root.parent
            ).rstrip(os.sep)
            + os.sep
            for entry in group.entries.values()
        )
        return {path: digest for path, digest in self._scan.tree.items() if path.startswith(roots)}
