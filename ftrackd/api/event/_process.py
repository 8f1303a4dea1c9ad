"""What the end of the process, and a fork of it, mean for its hubs."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol


class ProcessMember(Protocol):
    """Whoever wants to know."""

    def flush_at_exit(self) -> None:
        """Let go what waits; the interpreter ends."""

    def forget_after_fork(self) -> None:
        """Give up, without touching it, what belongs to the process that this one was forked from."""


_members: weakref.WeakSet[ProcessMember] = weakref.WeakSet()


def join(member: ProcessMember) -> None:
    """Tell `member` of the process for as long as it lives."""
    _members.add(member)


def members() -> list[ProcessMember]:
    """Return all who have joined and still live."""
    return list(_members)


@atexit.register
def _flush() -> None:
    for member in members():
        member.flush_at_exit()


def _forget() -> None:
    for member in members():
        member.forget_after_fork()


# Not on Windows, where nothing forks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
