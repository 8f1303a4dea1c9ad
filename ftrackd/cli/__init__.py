"""The command line: every command is a call into a room."""

from __future__ import annotations

import gc
import signal
import sys
from typing import Final

NEW_OBJECTS_BEFORE_COLLECTION: Final = 20_000
"""Modules and models leave no cycles behind: to look for some again and again takes a tenth of a start."""

INTERRUPTED: Final = 128 + signal.SIGINT
"""The exit code that shells give to what Ctrl-C ended."""


def main() -> None:
    """Entry point of the ``ftrackd`` command; an error is one clear message and its exit code."""
    gc.set_threshold(NEW_OBJECTS_BEFORE_COLLECTION)
    try:
        _run()
    except KeyboardInterrupt:
        # While modules are imported, before a command can say what Ctrl-C means to it.
        sys.exit(INTERRUPTED)


def _run() -> None:
    from ftrackd.errors import FtrackdError, SettingsError, UsageError

    try:
        from ftrackd.cli.app import app

        app(prog_name="ftrackd")
    except (SettingsError, UsageError) as error:
        _fail(error, 2)
    except FtrackdError as error:
        _fail(error, int(getattr(error, "exit_code", 1)))
    except BrokenPipeError:
        # `ftrackd events tail | head` closes our output on purpose.
        sys.stderr.close()


def _fail(error: Exception, exit_code: int) -> None:
    for line in str(error).splitlines():
        print(f"ftrackd: {line}", file=sys.stderr)
    sys.exit(exit_code)
