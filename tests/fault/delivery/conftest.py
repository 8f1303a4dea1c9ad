"""The whole daemon, for the tests that kill it at named points."""

from tests.daemon_fixtures import recording, task

__all__ = ["recording", "task"]
