"""Submodules that are there without having been imported."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType


def on_first_use(package: str, *names: str) -> Callable[[str], ModuleType]:
    """Return a `__getattr__` for the module `package` that imports its submodules `names` when they are used.

    Existing code reads ``ftrack_api.structure.standard`` after ``import ftrack_api`` alone.
    """

    def __getattr__(name: str) -> ModuleType:  # noqa: N807 - it becomes that of the package
        if name in names:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__
