"""The command line: every command is a call into a room."""

from __future__ import annotations


def main() -> None:
    """Entry point of the ``ftrackd`` command."""
    raise SystemExit(2)
