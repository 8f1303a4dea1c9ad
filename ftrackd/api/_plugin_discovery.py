"""Find plugins on disk: which entries a plugin path holds, and which of their modules register.

Nothing is imported here. A file is looked at as text: without a module-level ``register`` it is a helper.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

PluginKind = Literal["file", "package", "folder", "entry point"]

_SKIPPED_FOLDERS: Final = frozenset(
    {"__pycache__", "test", "tests", "dependencies", "node_modules", "site-packages", "virtualenv", "venv"}
)
_SKIPPED_FILES: Final = frozenset({"setup.py", "conftest.py"})
_BUILD_FOLDERS: Final = frozenset({"build", "dist"})
_HOOK_FOLDERS: Final = ("hook", os.path.join("resource", "hook"), "location")
# Connect names plugin folders `name-1.2.3`, optionally followed by a platform.
_CONNECT_NAME: Final = re.compile(
    r"^(?P<name>.+?)-v?(?P<version>\d+(?:\.\d+)+[\w.]*)(?:-(?P<platform>[\w-]+))?$"
)
_REGISTER_TEXT: Final = re.compile(rb"^(?:def\s+register\b|register\s*=)", re.MULTILINE)


@dataclass(frozen=True)
class PluginSource:
    """One plugin as it lies on disk.

    ``root`` is the entry itself (a file or a folder), ``modules`` the files to load, in order,
    ``search_paths`` the folders that its own imports may come from, ``version`` the version in a Connect
    folder's name.
    """

    name: str
    root: Path
    kind: PluginKind
    modules: tuple[Path, ...]
    search_paths: tuple[Path, ...] = ()
    version: str = ""
    entry_point: str = ""
    shadowed: tuple[Path, ...] = ()


def find_plugins(paths: Iterable[str | os.PathLike[str]]) -> list[PluginSource]:
    """Return the plugins on *paths* in load order: paths as given, entries of each sorted by name.

    Blank and missing paths are skipped, an entry reached twice is returned once. Of several versions of one
    Connect folder the newest is returned, with the others in ``shadowed``. Names are unique: a second plugin
    of the same name is called ``<folder>.<name>``.
    """
    found: list[PluginSource] = []
    seen: set[Path] = set()
    for text in paths:
        stripped = os.fspath(text).strip()
        if not stripped:
            continue
        for source in _newest_versions(list(_entries(Path(stripped).absolute()))):
            real = source.root.resolve()
            if real not in seen:
                seen.add(real)
                found.append(source)
    return _with_unique_names(found)


def binds_register(source: bytes) -> bool:
    """Return whether the module *source* binds ``register`` at module level.

    Text that this Python cannot parse counts when it looks as if it would register, so that the mistake is
    shown instead of hidden.
    """
    if b"register" not in source and b"import *" not in source:
        return False
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _REGISTER_TEXT.search(source) is not None
    return _block_binds_register(tree.body)


def is_skipped_folder(folder: Path) -> bool:
    """Return whether *folder* is never searched: hidden, tests, environments, dependencies, builds."""
    name = folder.name
    if name.startswith(".") or name in _SKIPPED_FOLDERS or name.endswith((".egg-info", ".dist-info")):
        return True
    if name in _BUILD_FOLDERS:
        return (folder.parent / "setup.py").exists() or (folder.parent / "pyproject.toml").exists()
    return (folder / "pyvenv.cfg").exists()


def is_skipped_file(file: Path) -> bool:
    """Return whether *file* is never a plugin: hidden, a test, or packaging."""
    name = file.name
    return name.startswith((".", "test_")) or name in _SKIPPED_FILES or name.endswith("_test.py")


def _entries(path: Path) -> Iterator[PluginSource]:
    if path.is_file():
        if path.suffix == ".py":
            yield _file_source(path)
        return
    if not path.is_dir():
        return
    if path.name == "hook" and not (path / "__init__.py").exists():
        # Connect hands `<plugin>/hook` to its discovery; the plugin is the folder around it.
        parent = path.parent.parent if path.parent.name == "resource" else path.parent
        yield _folder_source(parent, [path])
        return
    own = _own_source(path)
    if own is not None:
        yield own
        return
    yield from _children(path)


def _children(folder: Path) -> Iterator[PluginSource]:
    """Yield the entries of a folder that is itself no plugin, going down into folders of plugins."""
    for child in sorted(_listed(folder), key=lambda entry: entry.name):
        if child.is_dir():
            if is_skipped_folder(child):
                continue
            source = _own_source(child)
            if source is not None:
                yield source
            elif not _is_link_to_parent(child):
                yield from _children(child)
        elif child.suffix == ".py" and not is_skipped_file(child) and _registers(child):
            yield _file_source(child)


def _own_source(folder: Path) -> PluginSource | None:
    """Return *folder* as one plugin if it is a package that registers or is laid out as for Connect."""
    hooks = [folder / name for name in _HOOK_FOLDERS if (folder / name).is_dir()]
    if hooks and hooks[0].name == "location" and not _CONNECT_NAME.match(folder.name):
        hooks = []
    if hooks:
        # `location/` next to `hook/` is imported by the hooks; loading it as well would register it twice.
        registering = [hook for hook in hooks if any(_registering_modules(hook))]
        return _folder_source(folder, (registering or hooks)[:1])
    initial = folder / "__init__.py"
    if not initial.is_file():
        return None
    if _registers(initial):
        return PluginSource(_readable(folder.name), folder, "package", (initial,), (folder.parent,))
    modules = tuple(_registering_modules(folder))
    if modules:
        return PluginSource(_readable(folder.name), folder, "package", modules, (folder.parent,))
    return None


def _folder_source(folder: Path, hooks: list[Path]) -> PluginSource:
    match = _CONNECT_NAME.match(folder.name)
    modules = tuple(module for hook in hooks for module in _registering_modules(hook))
    search = (
        *dict.fromkeys(module.parent for module in modules),
        folder / "dependencies",
        folder / "location",
    )
    return PluginSource(
        name=_readable(match["name"] if match else folder.name),
        root=folder,
        kind="folder",
        modules=modules,
        search_paths=tuple(path for path in dict.fromkeys(search) if path.is_dir()),
        version=match["version"] if match else "",
    )


def _file_source(path: Path) -> PluginSource:
    return PluginSource(_readable(path.stem), path, "file", (path,), (path.parent,))


def _readable(name: str) -> str:
    """Return the name of a file as text that can be shown and stored; some names are no UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _registering_modules(folder: Path) -> Iterator[Path]:
    files = sorted(entry for entry in _listed(folder) if entry.suffix == ".py" and entry.is_file())
    for file in files:
        if not is_skipped_file(file) and _registers(file):
            yield file
    for child in sorted(entry for entry in _listed(folder) if entry.is_dir()):
        if not is_skipped_folder(child) and not _is_link_to_parent(child):
            yield from _registering_modules(child)


def _listed(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError:
        # A folder that vanished or cannot be read holds no plugins; watching and `check` name it.
        return []


def _registers(file: Path) -> bool:
    try:
        return binds_register(file.read_bytes())
    except OSError:
        # Loading will fail with the same error and report it, so it counts as a plugin here.
        return file.exists()


def _is_link_to_parent(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _block_binds_register(statements: list[ast.stmt]) -> bool:
    return any(_statement_binds_register(statement) for statement in statements)


def _statement_binds_register(statement: ast.stmt) -> bool:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name == "register"
        case ast.Assign(targets=targets):
            return any(isinstance(node, ast.Name) and node.id == "register" for node in _walk(targets))
        case ast.AnnAssign(target=ast.Name(id="register"), value=value):
            return value is not None
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return any((alias.asname or alias.name) in {"register", "*"} for alias in names)
        case ast.If() | ast.Try() | ast.With():
            if isinstance(statement, ast.If) and _is_main_guard(statement):
                return False
            children = [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt)]
            handlers = [
                node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.ExceptHandler)
            ]
            return _block_binds_register(children) or any(
                _block_binds_register(node.body) for node in handlers
            )
    return False


def _walk(nodes: list[ast.expr]) -> Iterator[ast.AST]:
    for node in nodes:
        yield from ast.walk(node)


def _is_main_guard(statement: ast.If) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(statement.test))


def _newest_versions(sources: list[PluginSource]) -> list[PluginSource]:
    """Keep the newest version of each Connect folder; the others are named in its ``shadowed``."""
    groups: dict[str, list[PluginSource]] = {}
    for source in sources:
        key = source.name if source.version else str(source.root)
        groups.setdefault(key, []).append(source)
    kept = []
    for group in groups.values():
        newest = max(group, key=lambda source: _version_key(source.version))
        shadowed = tuple(source.root for source in group if source is not newest)
        kept.append(_replaced(newest, newest.name, shadowed))
    return kept


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _with_unique_names(sources: list[PluginSource]) -> list[PluginSource]:
    taken: set[str] = set()
    named = []
    for source in sources:
        name = source.name
        if name in taken:
            name = f"{_readable(source.root.parent.name)}.{source.name}"
        number = 2
        unique = name
        while unique in taken:
            unique = f"{name}-{number}"
            number += 1
        taken.add(unique)
        named.append(_replaced(source, unique, source.shadowed))
    return named


def _replaced(source: PluginSource, name: str, shadowed: tuple[Path, ...]) -> PluginSource:
    return PluginSource(
        name,
        source.root,
        source.kind,
        source.modules,
        source.search_paths,
        source.version,
        source.entry_point,
        shadowed,
    )
