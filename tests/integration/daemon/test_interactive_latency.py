"""A menu opens at once, however many plugins there are and whatever one of them does."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftrackd.api.event.base import Event
from ftrackd.testing.daemon import DaemonProcess
from ftrackd.testing.events import discover_data
from tests.daemon_fixtures import Recording

Run = Callable[..., DaemonProcess]

IDLE = """
def register(session):
    session.event_hub.subscribe("topic=studio.never", lambda event: None)
"""
BUSY = """
import pathlib, time
def work(event):
    pathlib.Path({begun!r}).touch()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        time.sleep(0.01)
def register(session):
    session.event_hub.subscribe("topic=studio.busy", work)
"""


def median_of_discover(session: Any, task: Any, count: int = 40) -> float:
    """Seconds from publishing a discover to its answer, as the second client sees it."""
    times = []
    for _ in range(count):
        replies: list[Any] = []
        event = Event("ftrack.action.discover", data=discover_data([task]))
        began = time.perf_counter()
        session.event_hub.publish(event, on_reply=replies.append)
        while not replies and time.perf_counter() - began < 10:
            session.event_hub.wait(0.01)
        times.append(time.perf_counter() - began)
        assert replies, "no answer"
    return statistics.median(times)


def test_when_many_plugins_idle_and_one_is_busy_then_a_menu_opens_as_fast_as_ever(
    run_daemon: Run, recording: Recording, sandbox_session: Any, task: Any, tmp_path: Path
) -> None:
    """A ratio, not a time: twenty idle plugins and a busy one with a backlog, against one plugin alone."""
    settings = {
        "DELIVERY__DURABLE_TOPICS": '["studio.*"]',
        "DAEMON__DRAIN_LIMIT_S": "0",
        "HOSTING__WATCH": "false",
    }
    sandbox_session.event_hub.connect()
    alone = run_daemon(settings=settings)
    before = median_of_discover(sandbox_session, task)
    alone.stop()

    begun = tmp_path / "begun"
    for number in range(20):
        (recording.plugins / f"idle_{number:02d}.py").write_text(IDLE)
    (recording.plugins / "busy.py").write_text(BUSY.format(begun=str(begun)))
    crowded = run_daemon(settings=settings)
    for _ in range(50):
        sandbox_session.event_hub.publish(Event("studio.busy"))
    crowded.wait_for(begun.exists, what="busy")
    after = median_of_discover(sandbox_session, task)
    assert crowded.plugin("busy")["running"], "it was busy all the time"
    assert after < 3 * before + 0.005
    crowded.kill()  # a drain would wait for the busy one; plugin processes end with the main one
