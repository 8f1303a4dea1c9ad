"""Make ``ftrack_api`` and every submodule of it mean :mod:`ftrackd.api`, the same objects under both names.

Plugins bring their own copy of the official client in ``dependencies/`` folders that they put first on
``sys.path``. Two ``Session`` classes in one process would make every ``isinstance(session,
ftrack_api.Session)`` guard fail silently, so a finder stands in front of the path and answers for all
names below ``ftrack_api``.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
from collections.abc import Sequence
from types import ModuleType

_ALIAS = "ftrack_api"
_TARGET = "ftrackd.api"


class _AliasLoader(importlib.abc.Loader):
    """Gives the import system a module that exists already under its real name."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just stamped the alias' spec on the shared module object.
        module.__spec__ = self._spec


class _AliasFinder(importlib.abc.MetaPathFinder):
    """Finds every name at and below ``ftrack_api`` in :mod:`ftrackd.api`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _ALIAS and not fullname.startswith(_ALIAS + "."):
            return None
        real_name = _TARGET + fullname[len(_ALIAS) :]
        if importlib.util.find_spec(real_name) is None:
            # Not ours, and nobody else's either: a submodule of another copy must not mix with ours.
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        module = importlib.import_module(real_name)
        is_package = hasattr(module, "__path__")
        return importlib.machinery.ModuleSpec(fullname, _AliasLoader(module), is_package=is_package)


def install() -> None:
    """Let ``import ftrack_api`` give this library from now on; a second call changes nothing.

    A copy of the official client that was imported before is replaced in ``sys.modules``, with a warning:
    what was taken from it keeps its own classes.
    """
    if any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        return
    foreign = [name for name in sys.modules if name == _ALIAS or name.startswith(_ALIAS + ".")]
    if foreign:
        logging.getLogger("ftrack_api.alias").warning(
            "Replacing an ftrack_api that was imported earlier from %s",
            getattr(sys.modules[foreign[0]], "__file__", "an unknown place"),
        )
    for name in foreign:
        del sys.modules[name]
    sys.meta_path.insert(0, _AliasFinder())


def uninstall() -> None:
    """Undo :func:`install`: forget the alias and the modules imported through it."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _AliasFinder)]
    for name in [name for name in sys.modules if name == _ALIAS or name.startswith(_ALIAS + ".")]:
        del sys.modules[name]
