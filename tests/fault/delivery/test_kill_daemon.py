"""kill -9 of the whole daemon at named points, its plugin in a process of its own, while it catches up."""

import signal

import pytest

from ftrackd.testing.daemon import DaemonProcess

POINTS = [
    "catchup.before_append",
    "catchup.after_append",
    "handover.after:5",
    "settle.after:3",
    "journal.after_commit:9",
]


@pytest.fixture
def daemon(sandbox, recording):
    """A daemon that is not running, with the plugin that records what it handles."""
    process = DaemonProcess(
        sandbox,
        [recording.plugins],
        settings={"DELIVERY__CATCH_UP_OVERLAP_S": "5"},
        environment=recording.environment,
    )
    yield process
    process.kill()
    process._folder.cleanup()


def descriptions(recording, task_id):
    return [
        change[2]
        for line in recording.lines()
        for change in line["changes"]
        if change[0] == task_id and change[2] is not None
    ]


def die_at(daemon, point):
    """Start the daemon and let it run into the point."""
    daemon.environment["FTRACKD_FAILPOINT"] = point
    daemon.start(until_live=False)
    assert daemon._process.wait(30) == -signal.SIGKILL, daemon.log
    daemon._process = None
    del daemon.environment["FTRACKD_FAILPOINT"]


def test_when_killed_at_each_point_of_a_catch_up_then_every_change_is_handled_in_order(
    daemon, recording, sandbox_session, task
):
    daemon.start()
    daemon.wait_for(lambda: daemon.status()["catch_up"]["state"] == "done", what="the cursor set")
    daemon.kill()
    expected = []
    for point in POINTS:
        for number in range(10):
            expected.append(f"{point} {number}")
            task["description"] = expected[-1]
            sandbox_session.commit()
        die_at(daemon, point)
    daemon.start()
    seen = daemon.wait_for(
        lambda: set(found := descriptions(recording, task["id"])) >= set(expected) and found,
        20,
        "all handled",
    )
    daemon.wait_for(lambda: daemon.status()["journal"]["open"] == 0, what="all closed")
    assert list(dict.fromkeys(seen)) == expected, "in order"
    assert len(seen) - len(expected) <= len(POINTS), "only what ran at a kill ran again"
    assert daemon.status()["journal"]["dead"] == 0
