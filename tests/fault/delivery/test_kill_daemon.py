"""kill -9 of the whole daemon at named points, its plugin in a process of its own, while it catches up."""

import contextlib
import json
import signal
import sqlite3

import pytest

from ftrackd.delivery.journal import State
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


def closed_on_disk(daemon):
    """The descriptions whose delivery is closed, in the journal of a daemon that does not run."""
    with contextlib.closing(sqlite3.connect(daemon.state_dir / "journal.sqlite")) as connection:
        payloads = connection.execute(
            "SELECT payload FROM delivery JOIN event ON seq = event_seq WHERE state = ?", [State.CLOSED]
        ).fetchall()
    return {
        entity["changes"]["description"]["new"]
        for (payload,) in payloads
        for entity in json.loads(payload)["data"]["entities"]
        if "description" in (entity.get("changes") or {})
    }


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
    closed_at_kill = []
    for point in POINTS:
        for number in range(10):
            expected.append(f"{point} {number}")
            task["description"] = expected[-1]
            sandbox_session.commit()
        die_at(daemon, point)
        closed_at_kill.append((len(descriptions(recording, task["id"])), closed_on_disk(daemon)))
    daemon.start()
    seen = daemon.wait_for(
        lambda: set(found := descriptions(recording, task["id"])) >= set(expected) and found,
        20,
        "all handled",
    )
    daemon.wait_for(lambda: daemon.status()["journal"]["open"] == 0, what="all closed")
    assert list(dict.fromkeys(seen)) == expected, "in order"
    assert any(closed for _, closed in closed_at_kill)
    for handled, closed in closed_at_kill:
        assert not closed.intersection(seen[handled:])
    assert daemon.status()["journal"]["dead"] == 0
