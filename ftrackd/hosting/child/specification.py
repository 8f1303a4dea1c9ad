"""What the main process tells a plugin process to run, as it travels over the link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ftrackd.api._plugin_discovery import PluginSource


@dataclass(frozen=True)
class PluginSpecification:
    """One plugin to load: where it lies, what ``register`` is offered, how many deliveries run at once."""

    source: PluginSource
    arguments: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int = 1


@dataclass(frozen=True)
class ProcessSpecification:
    """Everything a plugin process needs to know.

    ``guests`` are the session plugins that shape the Sessions in it, ``roots`` the folders whose modules are
    read afresh and checked. The API key is in it: it travels over the link alone.
    """

    plugins: tuple[PluginSpecification, ...]
    guests: tuple[PluginSpecification, ...]
    server_url: str
    api_user: str
    api_key: str
    identity_map_limit: int | None
    connect_timeout_s: float
    read_timeout_s: float
    roots: tuple[str, ...]
    allows_unsafe_paths: bool
    log_level: int
    log_lines_per_s: int
    memory_limit_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the specification as JSON values."""
        values = asdict(self)
        values["plugins"] = [encode_plugin(plugin) for plugin in self.plugins]
        values["guests"] = [encode_plugin(plugin) for plugin in self.guests]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProcessSpecification:
        """Return the specification that :meth:`to_json` described."""
        plain = dict(values)
        plain["plugins"] = decode_plugins(values["plugins"])
        plain["guests"] = decode_plugins(values["guests"])
        plain["roots"] = tuple(values["roots"])
        return cls(**plain)


def encode_plugin(plugin: PluginSpecification) -> dict[str, Any]:
    """Return one plugin as JSON values."""
    source = plugin.source
    return {
        "arguments": dict(plugin.arguments),
        "concurrency": plugin.concurrency,
        "source": {
            "name": source.name,
            "root": str(source.root),
            "kind": source.kind,
            "modules": [str(path) for path in source.modules],
            "search_paths": [str(path) for path in source.search_paths],
            "version": source.version,
            "entry_point": source.entry_point,
        },
    }


def decode_plugins(values: Sequence[Mapping[str, Any]]) -> tuple[PluginSpecification, ...]:
    """Return the plugins that :func:`encode_plugin` described."""
    return tuple(
        PluginSpecification(
            PluginSource(
                name=value["source"]["name"],
                root=Path(value["source"]["root"]),
                kind=value["source"]["kind"],
                modules=tuple(Path(path) for path in value["source"]["modules"]),
                search_paths=tuple(Path(path) for path in value["source"]["search_paths"]),
                version=value["source"]["version"],
                entry_point=value["source"]["entry_point"],
            ),
            value["arguments"],
            value["concurrency"],
        )
        for value in values
    )
