"""Execute plugin modules under stable, unique names, apart from each other's helper modules."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ftrackd.api._plugin_discovery import PluginSource

NAMESPACE: Final = "ftrackd_plugins"

_HOOK_MARK: Final = "is_ftrackd_source_finder"

ReadSource = Callable[[str], bytes]

# Folders whose modules belong to a plugin, by plugin name: other plugins must not pick up helpers from them.
_folders: dict[str, tuple[str, ...]] = {}
# Reads a module's text after checking who may write it; set once per process by the host.
_read_source: ReadSource | None = None


class SourceLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from its text as it is now, never from a byte code cache.

    Caches are matched by a time stamp in whole seconds and a size: two saves within a second would run old
    code. ``files`` collects each file that was read with the SHA-256 of exactly what was executed.
    """

    files: dict[str, str] = {}

    def get_data(self, path: str) -> bytes:
        """Return the bytes of *path*, through the check that the host installed, if any."""
        data = _read_source(path) if _read_source is not None else super().get_data(path)
        SourceLoader.files[os.path.realpath(path)] = hashlib.sha256(data).hexdigest()
        return data

    def get_code(self, fullname: str) -> types.CodeType:
        """Compile the module; *fullname* is its name."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class ExtensionLoader(importlib.machinery.ExtensionFileLoader):
    """Loads a compiled module after the check that the host installed, if any."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Load the library of *spec*."""
        if _read_source is not None:
            _read_source(self.path)
        return super().create_module(spec)


def install_source_finder(roots: Sequence[Path], read_source: ReadSource | None = None) -> None:
    """Load every module below *roots* with :class:`SourceLoader` in this process, helpers included.

    *read_source* reads a file after checking it; without one files are just read.
    """
    folders = tuple(os.path.realpath(root) for root in roots)
    global _read_source
    _read_source = read_source

    def hook(path: str) -> importlib.machinery.FileFinder:
        real = os.path.realpath(path)
        if not os.path.isdir(real) or not _is_below(real, folders):
            raise ImportError(f"{path} is not below a plugin path", path=path)
        return importlib.machinery.FileFinder(
            path,
            (ExtensionLoader, importlib.machinery.EXTENSION_SUFFIXES),
            (SourceLoader, importlib.machinery.SOURCE_SUFFIXES),
        )

    sys.path_hooks[:] = [former for former in sys.path_hooks if not hasattr(former, _HOOK_MARK)]
    setattr(hook, _HOOK_MARK, True)
    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()


def load_source(modname: str, filename: str | os.PathLike[str]) -> types.ModuleType:
    """Execute *filename* as the module *modname* and return it.

    The module is in ``sys.modules`` before it executes, so that dataclasses, pickling and relative imports
    work; it is taken out again when it raises.
    """
    path = os.path.abspath(os.fspath(filename))
    search = [os.path.dirname(path)] if os.path.basename(path) == "__init__.py" else None
    loader = SourceLoader(modname, path)
    spec = importlib.util.spec_from_file_location(
        modname, path, loader=loader, submodule_search_locations=search
    )
    if spec is None:
        raise ImportError(f"{path} cannot be loaded as a module", path=path)
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(modname)
    sys.modules[modname] = module
    try:
        loader.exec_module(module)
    except BaseException:
        if previous is None:
            sys.modules.pop(modname, None)
        else:
            sys.modules[modname] = previous
        raise
    return module


def load_module(source: PluginSource, file: Path) -> types.ModuleType:
    """Load a module of *source* under its stable name; the caller holds :func:`isolated_imports`."""
    *parents, (name, _) = _module_chain(source, file)
    for parent, folder in parents:
        _make_parent(parent, folder)
    return load_source(name, file)


def module_name(source: PluginSource, file: Path) -> str:
    """Return the stable name of the module *file* of *source*.

    A package keeps its own name when nothing else has it, because its modules may import each other by it.
    """
    return _module_chain(source, file)[-1][0]


def identifier(name: str) -> str:
    """Return *name* with everything that a module name cannot hold replaced by an underscore."""
    return re.sub(r"\W", "_", name)


@contextlib.contextmanager
def isolated_imports(source: PluginSource) -> Iterator[None]:
    """Import helpers of *source* while other plugins' folders and helper modules are out of sight.

    Two plugins that each ``import structure`` get each their own file. What was hidden comes back at the end,
    except where *source* loaded a module of the same name.
    """
    own = tuple(os.path.realpath(path) for path in (_folder(source), *source.search_paths))
    _folders[source.name] = own
    others = tuple(
        folder
        for name, folders in _folders.items()
        if name != source.name
        for folder in folders
        if not _is_below(folder, own) and not any(_is_below(mine, (folder,)) for mine in own)
    )
    hidden_modules = {
        name: module for name, module in list(sys.modules.items()) if _is_helper_of(name, module, others)
    }
    for name in hidden_modules:
        del sys.modules[name]
    hidden_paths = [path for path in sys.path if _is_below(os.path.realpath(path), others)]
    for path in hidden_paths:
        sys.path.remove(path)
    for folder in map(os.fspath, source.search_paths):
        if folder not in sys.path:
            sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.extend(path for path in hidden_paths if path not in sys.path)
        for name, module in hidden_modules.items():
            sys.modules.setdefault(name, module)


def forget_modules(source: PluginSource) -> None:
    """Drop the modules of *source* and its helpers, so that loading it again reads them afresh."""
    folders = tuple(os.path.realpath(path) for path in (_folder(source), *source.search_paths))
    prefix = f"{NAMESPACE}.{identifier(source.name)}"
    for name, module in list(sys.modules.items()):
        if name == prefix or name.startswith(prefix + ".") or _is_helper_of(name, module, folders):
            del sys.modules[name]
    importlib.invalidate_caches()


def _folder(source: PluginSource) -> Path:
    return source.root if source.root.is_dir() else source.root.parent


def _is_helper_of(name: str, module: object, folders: tuple[str, ...]) -> bool:
    if name == NAMESPACE or name.startswith(NAMESPACE + "."):
        return False
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and bool(folders) and _is_below(os.path.realpath(file), folders)


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def _package_name(source: PluginSource) -> str:
    name = source.root.name
    if name.isidentifier() and name not in sys.stdlib_module_names:
        loaded = sys.modules.get(name)
        file = getattr(loaded, "__file__", None)
        if loaded is None or (
            file is not None and _is_below(os.path.realpath(file), (str(source.root.resolve()),))
        ):
            spec = importlib.util.find_spec(name) if loaded is None else None
            if spec is None or spec.origin is None or _is_below(spec.origin, (str(source.root),)):
                return name
    return f"{NAMESPACE}.{identifier(source.name)}"


def _module_chain(source: PluginSource, file: Path) -> list[tuple[str, Path | None]]:
    """Return the dotted names from the top package down to *file*, each with its folder or file."""
    if source.kind == "package":
        top = _package_name(source)
    else:
        top = f"{NAMESPACE}.{identifier(source.name)}"
    chain: list[tuple[str, Path | None]] = [(NAMESPACE, None)] if top.startswith(NAMESPACE + ".") else []
    chain.append((top, source.root))
    if source.root != file:
        name, path = top, source.root
        for part in file.relative_to(source.root).parts:
            path = path / part
            if part == "__init__.py":
                break
            name = f"{name}.{identifier(part.removesuffix('.py'))}"
            chain.append((name, path))
    return chain


def _make_parent(name: str, folder: Path | None) -> None:
    """Put the package *name* into ``sys.modules``, so that relative imports find their way."""
    if name in sys.modules:
        return
    if folder is not None and (folder / "__init__.py").is_file():
        load_source(name, folder / "__init__.py")
        return
    package = types.ModuleType(name)
    package.__path__ = [] if folder is None else [os.fspath(folder)]
    package.__package__ = name
    sys.modules[name] = package
