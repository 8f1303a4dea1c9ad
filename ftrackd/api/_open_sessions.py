"""The sessions of this process: closed when it ends, and given connections of their own in a forked one."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftrackd.api._session_state import SessionState

_logger = logging.getLogger("ftrack_api.session.Session")

#: Each only as long as somebody uses it.
_sessions: weakref.WeakSet[SessionState] = weakref.WeakSet()


def add(session: SessionState) -> None:
    """Take care of `session` until it is closed."""
    _sessions.add(session)


def discard(session: SessionState) -> None:
    """Take no more care of `session`."""
    _sessions.discard(session)


def _close_all() -> None:
    for session in list(_sessions):
        if session._is_inherited:
            # What is pending and connected is the parent's, which still runs.
            continue
        try:
            session.close()
        except Exception:
            # At the end of the process one session must not keep the others open.
            _logger.debug("A session could not be closed at exit", exc_info=True)


def _part_from_parent() -> None:
    for session in list(_sessions):
        session._part_from_parent()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_part_from_parent)
