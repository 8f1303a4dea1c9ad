"""What faulthandler writes about a process, reduced to what its plugin does."""

from __future__ import annotations

import os
import re
import sysconfig
from pathlib import Path
from typing import Final

_THREAD: Final = re.compile(r"^(?:Current thread|Thread) 0x.*:$")
_FRAME: Final = re.compile(r'^  File "(?P<file>.*)", line \d+ in ')
_PACKAGE: Final = str(Path(__file__).parents[1]) + os.sep
_STANDARD_LIBRARY: Final = sysconfig.get_path("stdlib") + os.sep
_INSTALLED: Final = ("site-packages", "dist-packages")


def plugin_stacks(text: str) -> str:
    """Return of faulthandler's *text* the threads that run plugin code, each from where that begins.

    Our own threads, and our frames around the plugin's, say nothing to its author. What stands before the
    first thread (the name of a crash) is kept; with no plugin code in sight everything is.
    """
    head, *threads = _blocks(text)
    reduced = [stack for thread in threads if (stack := _from_plugin(thread))]
    if not reduced:
        return text.strip()
    return "\n\n".join("\n".join(block) for block in (head, *reduced) if block)


def place_of(stack: str) -> str:
    """Return file, line and function of the plugin's innermost frame in *stack*, empty without one."""
    for line in stack.splitlines():
        frame = _FRAME.match(line)
        if frame is not None and not _is_library(frame["file"]):
            return line.strip().removeprefix("File ")
    return ""


def _blocks(text: str) -> list[list[str]]:
    """Split into what stands before the first thread, and one block for each thread."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if _THREAD.match(line):
            blocks.append([line])
        elif line.strip() and (len(blocks) == 1 or line.startswith("  ")):
            blocks[-1].append(line)
    return blocks


def _from_plugin(thread: list[str]) -> list[str]:
    """Cut the frames that called the plugin; they come last. Empty without a frame of a plugin."""
    last = 0
    for number, line in enumerate(thread):
        frame = _FRAME.match(line)
        if frame is not None and not _is_library(frame["file"]):
            last = number
    return thread[: last + 1] if last else []


def _is_library(file: str) -> bool:
    if file.startswith(("<", _PACKAGE)):
        return True
    return file.startswith(_STANDARD_LIBRARY) and not any(name in file for name in _INSTALLED)
