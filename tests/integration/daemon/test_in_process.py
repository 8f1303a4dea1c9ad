"""``ftrackd run --in-process``: everything in one process, for a debugger."""

from collections.abc import Callable
from typing import Any

import psutil

from ftrackd.testing.daemon import DaemonProcess
from tests.daemon_fixtures import Recording


def test_the_same_plugin_handles_the_same_events_in_the_main_process(
    run_daemon: Callable[..., DaemonProcess], recording: Recording, sandbox_session: Any, task: Any
) -> None:
    daemon = run_daemon(options=["--in-process"])
    assert psutil.Process(daemon.pid).children() == []
    task["status"] = sandbox_session.query('Status where name is "In progress"').one()
    sandbox_session.commit()
    daemon.wait_for(
        lambda: [line for line in recording.lines() for change in line["changes"] if change[0] == task["id"]],
        what="recorded",
    )
    assert {line["pid"] for line in recording.lines()} == {daemon.pid}
    assert daemon.stop() == 0
