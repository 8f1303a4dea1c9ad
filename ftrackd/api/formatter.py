"""Entities as text for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ftrackd.api import collection as _collection
from ftrackd.api import inspection
from ftrackd.api.entity.base import Entity
from ftrackd.api.symbol import NOT_SET

_Formatters = Mapping[str, Callable[[str], str]]
_Filter = Callable[[Entity, str, Any], bool]

#: Filters to choose from for `attribute_filter`.
FILTER: dict[str, _Filter] = {"ignore_unset": lambda entity, name, value: value is not NOT_SET}


def _is_coloured() -> bool:
    """Return whether the terminal, or who set its environment, wants colours."""
    if "ANSI_COLORS_DISABLED" in os.environ or "NO_COLOR" in os.environ:
        return False
    if "FORCE_COLOR" in os.environ:
        return True
    return os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def _styled(codes: str) -> Callable[[str], str]:
    def style(text: str) -> str:
        return f"\033[{codes}m{text}\033[0m" if _is_coloured() else text

    return style


_DEFAULT_FORMATTERS: _Formatters = {"header": _styled("1;4"), "label": _styled("34")}


def format(
    entity: Entity,
    formatters: _Formatters | None = None,
    attribute_filter: _Filter | None = None,
    recursive: bool = False,
    indent: int = 0,
    indent_first_line: bool = True,
    _seen: frozenset[Any] = frozenset(),
) -> str:
    """Return `entity`, and the entities it refers to, as lines of names and values, names sorted.

    `formatters` style the type (``header``) and the names (``label``). `attribute_filter`, called with
    entity, name and value, says what is shown; see :data:`FILTER`. With `recursive` the members of
    collections are written out too. An entity within itself is shown as ``Type{...}``. `indent` is the
    number of blanks before each line, the first included if `indent_first_line`.
    """
    styles = {**_DEFAULT_FORMATTERS, **(formatters or {})}
    margin = " " * indent
    header = (margin if indent_first_line else "") + styles["header"](entity.entity_type)
    identity = str(inspection.identity(entity))
    if identity in _seen:
        return header + "{...}"
    lines = [header]
    for name, value in sorted(entity.items()):
        if attribute_filter is not None and not attribute_filter(entity, name, value):
            continue

        def nested(child: Entity, first: bool, width: int = len(name)) -> str:
            return format(
                child,
                formatters=styles,
                attribute_filter=attribute_filter,
                recursive=recursive,
                indent=indent + width + 3,
                indent_first_line=not first,
                _seen=_seen | {identity},
            )

        lines.append(f"{margin} {styles['label'](name)}: {_text(value, recursive, nested)}")
    return "\n".join(lines)


def _text(value: Any, recursive: bool, nested: Callable[[Entity, bool], str]) -> str:
    if isinstance(value, Entity):
        return nested(value, True)
    if isinstance(value, _collection.Collection):
        if not recursive:
            return f"Collection({len(value)})"
        return "\n".join(nested(member, index == 0) for index, member in enumerate(value))
    if isinstance(value, _collection.MappedCollectionProxy):
        return str(dict(value))
    return str(value)
