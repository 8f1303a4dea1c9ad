"""Find, load and register plugins.

The one code for it: a plain ``Session(plugin_paths=...)`` in a script and every hosted plugin process use the
same loader. It is imported on first use, so that a Session without plugins does not pay for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftrackd.api._plugin_registration import LoadReport

__all__ = ["discover", "load_source"]


def discover(
    paths: Iterable[str | os.PathLike[str]],
    positional_arguments: Sequence[Any] | None = None,
    keyword_arguments: Mapping[str, Any] | None = None,
) -> list[LoadReport]:
    """Load the plugins found on *paths* and call ``register`` of each.

    Each ``register`` gets *positional_arguments* and *keyword_arguments* reduced to what its signature takes;
    one warning names what was left out. Errors are logged, with the traceback, and returned in the reports;
    they keep no other plugin from loading. Blank and missing paths are skipped. Files without ``register``
    are helpers: importable by the plugins beside them and never run on their own.
    """
    given = [text for path in paths if (text := os.fspath(path)).strip()]
    if not given:
        return []
    from ftrackd.api import _plugin_registration

    return _plugin_registration.discover(given, positional_arguments or (), keyword_arguments or {})


def load_source(modname: str, filename: str | os.PathLike[str]) -> ModuleType:
    """Execute *filename* as the module *modname* and return it.

    The module is in ``sys.modules`` before it executes, so that dataclasses, pickling and relative imports
    work; it is taken out again when it raises.
    """
    from ftrackd.api import _plugin_loading

    return _plugin_loading.load_source(modname, filename)
