"""Why a plugin would not be loaded, or loaded and say nothing: from its error and its text."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from ftrackd.api._plugin_discovery import PluginSource
from ftrackd.hosting.model import PluginSubscription
from ftrackd.hosting.stacks import place_of

_PYTHON_2: Final = re.compile(
    r"""^\s*print\s+["'\w]             # print statement
      | ^\s*except\s+[\w.()\s,]+,\s*\w+\s*:   # except X, error:
      | ^\s*raise\s+\w+\s*,            # raise X, "text"
      | ^\s*exec\s+["'\w]              # exec statement
      | \b0[0-7]{2,}\b                 # old octal numbers
      | \bur["']                       # ur"" strings
      | <>                             # the other way to write !=
    """,
    re.VERBOSE | re.MULTILINE,
)
_MISSING_MODULE: Final = re.compile(r"No module named '([\w.]+)'")
_OWN_USER: Final = re.compile(r"""source\.user\.username\s*=\s*["']?([^"'\s)]+)""")
_WAITING: Final = re.compile(r"/ftrackd/api/event/\w+\.py\", line \d+ in wait\b")
_LEGACY: Final = frozenset({"ftrack", "ftrack_legacy"})
# Enough to find a studio's shared folder without walking a whole file server.
_FOLDERS_SEARCHED: Final = 2000


def explain(file: Path, stage: str, error: str, source: PluginSource, paths: Sequence[Path]) -> str:
    """Return in one line what went wrong with *file* at *stage*, and where possible the remedy."""
    problem = syntax_problem(file) if "SyntaxError" in error or "IndentationError" in error else ""
    if problem:
        return problem
    missing = _MISSING_MODULE.search(error)
    if missing is not None:
        return _explain_missing(missing[1], source, paths)
    if stage == "register failed":
        return f"register raised {error}"
    if error.startswith("SystemExit"):
        return f"it left at import with {error}; move what runs at import into register or a main block"
    if "ServerConnectionError" in error or "EventHubConnectionError" in error:
        return f"it connects to a server while it is imported, move that into register or later: {error}"
    return f"import raised {error}"


def syntax_problem(file: Path) -> str:
    """Return why *file* is no Python 3, empty when it is."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        message = getattr(error, "msg", None) or str(error)
        if _PYTHON_2.search(text):
            return f"is written for Python 2{where}: {message}; convert it (2to3 does most of it)"
        return f"has a syntax error{where}: {message}"
    except OSError as error:
        return f"cannot be read: {error}"
    return ""


def explain_no_subscription(file: Path) -> str:
    """Return why ``register`` may have returned without subscribing to anything."""
    guard = _guard(file)
    if guard is not None:
        line, text = guard
        return (
            f"registered without subscribing: the guard in line {line} ({text}) may have rejected the "
            "session; compare with ftrack_api.Session"
        )
    return "registered without subscribing to anything, so it stays silent"


def notes_on_subscriptions(subscriptions: Iterable[str]) -> list[str]:
    """Return what is worth knowing about what a plugin subscribes to."""
    users = sorted({match[1] for expression in subscriptions for match in _OWN_USER.finditer(expression)})
    return [
        f"answers only to events of user {user!r}: under a service account nobody else sees it"
        for user in users
    ]


def registered_twice(subscriptions: Sequence[PluginSubscription]) -> list[str]:
    """Return the expressions of callbacks that were registered twice; empty when none were.

    Several actions of one file each subscribe to discover, so only a file is suspected of which every
    callback is there more than once for the same expression.
    """
    counts = Counter((one.file, one.callback, one.expression) for one in subscriptions)
    once = {file for (file, _, _), count in counts.items() if count == 1}
    return sorted({expression for (file, _, expression) in counts if file not in once})


def explain_stop(reason: str, stack: str) -> str:
    """Return why a process ended, or had to be ended, while it loaded a plugin, and where that was."""
    place = place_of(stack)
    where = f", at {place}" if place else ""
    if place and _WAITING.search(stack.partition(place)[0]):
        return f"{reason}{where}: event_hub.wait() is for scripts, register subscribes and returns"
    return f"{reason}{where}" if "register()" in reason else f"while it was loaded {reason}{where}"


def _explain_missing(name: str, source: PluginSource, paths: Sequence[Path]) -> str:
    top = name.partition(".")[0]
    if top in _LEGACY:
        return (
            f"uses the legacy {top!r} module, which ended with ftrack 3; it must be rewritten for ftrack_api"
        )
    folders = _folders_with(top, source, paths)
    if folders:
        found = ", ".join(str(folder) for folder in folders[:3])
        return f"module {name!r} is missing here, but {found} has it: put that folder on sys.path"
    return f"module {name!r} is missing: install it, or put it into dependencies/ beside the plugin"


def _folders_with(module: str, source: PluginSource, paths: Sequence[Path]) -> list[Path]:
    root = source.root if source.root.is_dir() else source.root.parent
    found: list[Path] = []
    count = 0
    for start in dict.fromkeys((root, *paths, *(path.parent for path in paths))):
        if not start.is_dir():
            continue
        for folder in _walk(start):
            count += 1
            if count > _FOLDERS_SEARCHED:
                return found
            is_there = (folder / f"{module}.py").is_file() or (folder / module / "__init__.py").is_file()
            if is_there and folder not in found:
                found.append(folder)
    return found


def _walk(folder: Path) -> Iterable[Path]:
    yield folder
    try:
        children = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())
    except OSError:
        # A folder that may not be read has nothing that a plugin could import.
        return
    for child in children:
        if not child.name.startswith((".", "__pycache__")):
            yield from _walk(child)


def _guard(file: Path) -> tuple[int, str] | None:
    """Return line and text of the first ``if ... isinstance(...): return`` in ``register``."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return None
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name == "register":
            for statement in function.body:
                if isinstance(statement, ast.If) and any(
                    isinstance(inner, ast.Return) for inner in statement.body
                ):
                    return statement.lineno, f"if {ast.unparse(statement.test)}"
    return None
