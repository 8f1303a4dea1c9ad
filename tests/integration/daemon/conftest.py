"""The daemon's fixtures."""

from tests.daemon_fixtures import recording, run_daemon, task

__all__ = ["recording", "run_daemon", "task"]
