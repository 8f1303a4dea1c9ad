"""Which plugins this daemon hosts: what lies on the plugin paths, minus what settings or trust refuse."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ftrackd.api._plugin_discovery import PluginSource, find_plugins
from ftrackd.hosting import trust
from ftrackd.hosting.child.specification import PluginSpecification, ProcessSpecification
from ftrackd.hosting.errors import UntrustedPathError
from ftrackd.hosting.model import ServerAccess
from ftrackd.settings import GroupSettings, HostingSettings, PluginSettings

ENTRY_POINT_GROUP: Final = "ftrackd.plugins"
_SHAPING_TEXT: Final = re.compile(
    rb"ftrack\.api\.session\.(construct-entity-type|configure-location|get-file-type-from-string)"
    rb"|ftrack\.storage-scenario\."
)


@dataclass(frozen=True)
class HostedEntry:
    """One plugin that is there; ``refusal`` says why it may not be loaded."""

    source: PluginSource
    settings: PluginSettings
    group: str
    is_enabled: bool = True
    refusal: str = ""

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.source.name


def find_entries(
    hosting: HostingSettings,
    plugin_settings: Mapping[str, PluginSettings],
    groups: Sequence[GroupSettings],
) -> list[HostedEntry]:
    """Return every plugin on the configured paths, in load order, loadable or not."""
    group_of = {plugin: group.name for group in groups for plugin in group.plugins}
    entries = []
    for source in [*find_plugins(hosting.plugin_paths), *_installed(hosting)]:
        settings = plugin_settings.get(source.name, PluginSettings())
        group = "in-process" if hosting.in_process else group_of.get(source.name, source.name)
        refusal = "" if hosting.allow_unsafe_paths or source.entry_point else refusal_of(source)
        entries.append(HostedEntry(source, settings, group, settings.enabled, refusal))
    return entries


def refusal_of(source: PluginSource) -> str:
    """Return why code of *source* may not be loaded, empty when it may."""
    try:
        trust.check_tree(source.root)
        for folder in source.search_paths:
            trust.check_trusted(folder)
    except UntrustedPathError as error:
        return str(error)
    return ""


def specification_of(entry: HostedEntry, hosting: HostingSettings) -> PluginSpecification:
    """Return what the plugin's process is told about it."""
    return PluginSpecification(
        source=entry.source,
        arguments={**hosting.arguments, **entry.settings.arguments},
        concurrency=entry.settings.concurrency or hosting.concurrency,
    )


def may_shape_sessions(source: PluginSource) -> bool:
    """Guess from its text whether *source* is a session plugin; its subscriptions tell for certain later.

    The guess lets the other plugins' Sessions be right from their first moment.
    """
    return any(_mentions_shaping(file) for file in _own_files(source))


def _own_files(source: PluginSource) -> list[Path]:
    if not source.root.is_dir():
        return list(source.modules)
    libraries = source.root / "dependencies"
    return [file for file in sorted(source.root.rglob("*.py")) if not file.is_relative_to(libraries)]


def _mentions_shaping(file: Path) -> bool:
    try:
        return _SHAPING_TEXT.search(file.read_bytes()) is not None
    except OSError:
        # Loading it will fail with the same error and report it.
        return False


def _installed(hosting: HostingSettings) -> list[PluginSource]:
    if not hosting.entry_points:
        return []
    from importlib.metadata import entry_points

    return [
        PluginSource(
            name=point.name, root=Path(point.value), kind="entry point", modules=(), entry_point=point.name
        )
        for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)
    ]


def process_specification(
    plugins: tuple[PluginSpecification, ...],
    guests: tuple[PluginSpecification, ...],
    server: ServerAccess,
    settings: HostingSettings,
    roots: Iterable[Path],
    memory_limit_mb: float,
) -> ProcessSpecification:
    """Return what the process of these plugins is told; *roots* are where its code may come from."""
    return ProcessSpecification(
        plugins=plugins,
        guests=guests,
        server_url=server.url,
        api_user=server.api_user,
        api_key=server.api_key.get_secret_value(),
        identity_map_limit=server.identity_map_limit,
        connect_timeout_s=server.connect_timeout_s,
        read_timeout_s=server.read_timeout_s,
        roots=tuple(map(str, roots)),
        allows_unsafe_paths=settings.allow_unsafe_paths,
        log_level=logging.getLogger().getEffectiveLevel(),
        log_lines_per_s=settings.log_lines_per_s,
        memory_limit_bytes=int(memory_limit_mb * 1024 * 1024),
    )
