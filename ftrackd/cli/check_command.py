"""``ftrackd check``: what would happen to each file, one line each, and the reasons for silence."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ftrackd.cli.output import print_json
from ftrackd.daemon.log import configure_logging
from ftrackd.daemon.redaction import Redactor
from ftrackd.hosting import CheckResult, check
from ftrackd.settings import LoggingSettings


def check_plugins(
    paths: Sequence[Path], *, as_json: bool, allow_unsafe_paths: bool, show_tracebacks: bool
) -> bool:
    """Print what was found and return whether everything would load."""
    _quiet()
    results = check([path.absolute() for path in paths], allow_unsafe_paths=allow_unsafe_paths)
    if as_json:
        print_json([{**asdict(result), "is_ok": result.is_ok} for result in results])
    else:
        for result in results:
            _print_result(result, show_tracebacks=show_tracebacks)
        if not results:
            print("no plugins there")
    return all(result.is_ok for result in results)


def _quiet() -> None:
    # What the plugins log while they load without a server would bury the findings.
    configure_logging(LoggingSettings(level="error", format="console"), Redactor([]))
    logging.getLogger().setLevel(logging.CRITICAL + 1)


def _print_result(result: CheckResult, *, show_tracebacks: bool) -> None:
    if result.is_ok:
        print(f"ok       {result.path}: {result.stage}")
        for subscription in result.subscriptions:
            print(f"         subscribes to {subscription}")
    for problem in result.problems:
        print(f"PROBLEM  {result.path}: {problem}")
    if result.dropped_arguments:
        print(f"         arguments dropped: {result.dropped_arguments}")
    for note in result.notes:
        print(f"         note: {note}")
    if result.traceback and show_tracebacks:
        print("\n".join(f"         {line}" for line in result.traceback.strip().splitlines()))
