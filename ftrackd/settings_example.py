"""The configuration file's documentation, written from the settings model."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ftrackd.settings import GroupSettings, PluginSettings, Settings

HEADER = """\
# ftrackd's configuration. Every setting is here with its default, commented out.
# The same names work in the environment: FTRACKD_<SECTION>__<NAME>, as in FTRACKD_DAEMON__DRAIN_LIMIT_S=5.
# The server is usually given by FTRACK_SERVER, FTRACK_API_USER and FTRACK_API_KEY.
"""

_NO_DEFAULT = {
    "state_dir": "the platform's state folder, e.g. ~/.local/state/ftrackd",
}
"""Defaults that depend on the machine: described, not printed."""


def render_example() -> str:
    """Return the text of ``config.example.toml``."""
    parts = [HEADER]
    for name, described in Settings.model_fields.items():
        model = described.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            parts.append(_table(f"[{name}]", model, enabled=True))
    parts.append(_table("# [plugins.some_plugin]", PluginSettings, enabled=False))
    parts.append(_table("# [[groups]]", GroupSettings, enabled=False))
    return "\n".join(parts)


def _table(header: str, model: type[BaseModel], *, enabled: bool) -> str:
    summary = (model.__doc__ or "").strip().splitlines()[0]
    lines = [f"# {summary}", header]
    for name, described in model.model_fields.items():
        lines.extend(_setting(name, described, indent="" if enabled else "  "))
    return "\n".join(lines) + "\n"


def _setting(name: str, described: FieldInfo, indent: str) -> Iterator[str]:
    yield f"# {indent}{described.description}" + _choices(described.annotation)
    default = described.get_default(call_default_factory=True) if not described.is_required() else None
    if name in _NO_DEFAULT:
        yield f"# {indent}{name} = ...  ({_NO_DEFAULT[name]})"
    elif default is None:
        yield f"# {indent}{name} = ...  ({'required' if described.is_required() else 'unset'})"
    else:
        yield f"# {indent}{name} = {_toml(default)}"


def _choices(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        return f" One of: {', '.join(typing.get_args(annotation))}."
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return "".join(_choices(part) for part in typing.get_args(annotation))
    return ""


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Path):
        return json.dumps(str(value))
    return json.dumps(value)
