"""What the log says of deliveries."""

from typing import Any

from structlog.testing import capture_logs

from ftrackd.daemon.hooks import Hooks
from ftrackd.daemon.lifecycle import Lifecycle
from ftrackd.daemon.tail import EventTail
from ftrackd.daemon.wiring import Wiring

TRACEBACK = 'Traceback (most recent call last):\n  File "plugin.py", line 3\nConnectionError: no route\n'


def test_a_retry_and_a_dead_letter_are_logged_with_their_reason() -> None:
    hub: Any = None
    wiring = Wiring(hub, Lifecycle(lambda state, degradations: None), Hooks(), EventTail())
    with capture_logs() as logs:
        wiring.retrying("plugin", "event", 1, 0.123456, TRACEBACK)
        wiring.parked("plugin", "event", 7, "a callback ran longer than 5 s\nThread 0x1:\n  in handle")
    assert [entry["reason"] for entry in logs] == [
        "ConnectionError: no route",
        "a callback ran longer than 5 s",
    ]
    assert logs[0]["delay_s"] == 0.12
    assert logs[1]["remedy"] == "ftrackd dead show 7"
