"""What the main thread does while the daemon runs."""

import threading
from types import SimpleNamespace

from ftrackd.daemon.daemon import Daemon
from ftrackd.settings import Settings


def test_when_many_resets_are_asked_for_at_once_then_plugins_are_not_kept_busy_with_them() -> None:
    daemon = Daemon(Settings())
    resets = []
    first = threading.Event()

    def reset_sessions() -> None:
        resets.append("reset")
        first.set()

    waiting = threading.Thread(
        target=daemon._wait_for_work, args=(SimpleNamespace(reset_sessions=reset_sessions),)
    )
    waiting.start()
    daemon._on_reset_signal()
    assert first.wait(30)
    for _ in range(500):
        daemon._on_reset_signal()
    daemon._on_stop_signal()
    waiting.join(30)
    assert not waiting.is_alive(), "a stop is not kept waiting"
    assert len(resets) <= 2
