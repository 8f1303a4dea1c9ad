"""Deliveries that were sent ahead run in turn, and what did not begin comes back as that."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ftrackd.settings import PluginSettings

from .recording import RunningHost, running_host

# Tells when it begins, unless it is quick; then does what the event says.
PLUGIN = """
import os, pathlib, time
import ftrack_api

VERSION = 1

def register(session):
    def handle(event):
        data = event["data"]
        if "name" in data:
            session.event_hub.publish(
                ftrack_api.event.base.Event(topic="test.began", data=dict(name=data["name"], version=VERSION))
            )
        if "until" in data:
            while not pathlib.Path(data["until"]).exists():
                time.sleep(0.005)
        if "seconds" in data:
            time.sleep(data["seconds"])
        if data.get("fails"):
            raise ValueError("as told")
        if data.get("kills"):
            os._exit(3)
    session.event_hub.subscribe("topic=test.event", handle)
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningHost]:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    with running_host(tmp_path) as host:
        host.wait_ready("plugin")
        yield host


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[RunningHost]:
    """A callback may run for a second and a half."""
    (tmp_path / "plugin.py").write_text(PLUGIN)
    limits = {"plugin": PluginSettings(soft_limit_s=0.1, hard_limit_s=1.5)}
    with running_host(tmp_path, plugins=limits) as host:
        host.wait_ready("plugin")
        yield host


def began(running: RunningHost) -> list[str]:
    return [data["name"] for data in running.publish_data("test.began")]


def wait_began(running: RunningHost, name: str) -> None:
    running.listener.wait_for(lambda: name in began(running), what=f"{name} to begin")


def test_when_one_fails_then_none_after_it_begins(running: RunningHost) -> None:
    names = [{"name": name} for name in "abcd"]
    running.wait_statuses(running.send_in_turn("plugin", *names), *["returned"] * 4)
    assert began(running) == ["a", "b", "c", "d"]
    sent = running.send_in_turn("plugin", {"name": "e"}, {"name": "f", "fails": True}, *names)
    running.wait_statuses(sent, "returned", "raised", *["unbegun"] * 4)
    assert began(running) == ["a", "b", "c", "d", "e", "f"]
    assert running.run("plugin", name="g").status == "returned"
    assert running.status("plugin").counters["returned"] == 6


def test_when_one_ends_its_process_then_what_was_sent_ahead_did_not_begin(running: RunningHost) -> None:
    sent = running.send_in_turn("plugin", {"name": "a"}, {"name": "b", "kills": True}, {"name": "c"})
    running.wait_statuses(sent, "returned", "died", "unbegun")
    running.wait_status("plugin", lambda status: status.generation == 2 and status.state == "running")
    never = running.folder / "never"
    sent = running.send_in_turn("plugin", {"name": "d", "until": str(never)}, {"name": "e"}, {"name": "f"})
    wait_began(running, "d")
    os.kill(running.status("plugin").pid or 0, signal.SIGKILL)
    running.wait_statuses(sent, "died", "unbegun", "unbegun")
    assert began(running) == ["a", "b", "d"]


def test_when_quick_ones_are_followed_by_a_fatal_one_then_none_of_them_is_blamed(
    running: RunningHost,
) -> None:
    for quick in (0, 1, 2, 30):
        sent = running.send_in_turn("plugin", *[{}] * quick, {"kills": True}, {})
        running.wait_statuses(sent, *["returned"] * quick, "died", "unbegun")
        generation = running.status("plugin").generation
        running.host.reload("plugin")
        running.wait_status(
            "plugin", lambda status: status.generation > generation and status.state == "running"
        )
        assert running.run("plugin").status == "returned"


def test_when_a_long_one_follows_quick_ones_then_those_are_reported_meanwhile(running: RunningHost) -> None:
    go = running.folder / "go"
    sent = running.send_in_turn("plugin", {}, {}, {}, {"until": str(go)}, {})
    running.listener.wait_for(
        lambda: running.statuses(sent) == ["returned"] * 3 + [None] * 2, what="the quick ones to be reported"
    )
    (callback,) = running.status("plugin").running
    assert callback.delivery_id == sent[3]
    go.touch()
    running.wait_statuses(sent, *["returned"] * 5)
    assert running.status("plugin").counters["returned"] == 5


def test_when_the_first_hangs_then_it_is_the_one_that_is_shown_and_ended(limited: RunningHost) -> None:
    never = limited.folder / "never"
    sent = limited.send_in_turn("plugin", {"name": "a", "until": str(never)}, {"name": "b"}, {"name": "c"})
    (callback,) = limited.wait_status("plugin", lambda status: status.running).running
    assert (callback.delivery_id, callback.topic) == (sent[0], "test.event")
    limited.wait_statuses(sent, "timed_out", "unbegun", "unbegun")
    outcome = limited.listener.outcome(sent[0])
    assert outcome is not None and "in handle" in outcome.error
    assert began(limited) == ["a"]


def test_when_each_is_within_its_limit_then_it_does_not_matter_how_long_it_was_sent_ahead(
    limited: RunningHost,
) -> None:
    sent = limited.send_in_turn("plugin", *({"name": name, "seconds": 0.4} for name in "abcd"))
    limited.wait_statuses(sent, *["returned"] * 4)
    outcome = limited.listener.outcome(sent[-1])
    assert outcome is not None and outcome.seconds < 1.5


def returned_first(running: RunningHost, sent: Sequence[str]) -> int:
    """Wait until all ended, and return how many were returned: those come first, the others had not begun.

    How far a process comes before it reads that it is to begin nothing more is a matter of time.
    """
    running.listener.wait_for(lambda: None not in running.statuses(sent), what="all to end")
    statuses = running.statuses(sent)
    count = statuses.count("returned")
    assert statuses == ["returned"] * count + ["unbegun"] * (len(sent) - count)
    return count


def test_when_a_new_version_takes_over_then_it_gets_what_the_old_one_had_not_begun(
    running: RunningHost,
) -> None:
    go = running.folder / "go"
    names = "abc"
    sent = running.send_in_turn("plugin", {"name": "a", "until": str(go)}, {"name": "b"}, {"name": "c"})
    wait_began(running, "a")
    (running.folder / "plugin.py").write_text(PLUGIN.replace("VERSION = 1", "VERSION = 2"))
    running.host.reload("plugin")
    running.wait_status("plugin", lambda status: status.generation == 2 and status.state == "running")
    go.touch()
    count = returned_first(running, sent)
    again = [{"name": name} for name in names[count:]]
    if again:
        running.wait_statuses(running.send_in_turn("plugin", *again), *["returned"] * len(again))
    handled = [(data["name"], data["version"]) for data in running.publish_data("test.began")]
    assert handled == [(name, 1 if number < count else 2) for number, name in enumerate(names)]


def test_when_recalled_then_what_runs_ends_and_what_comes_later_runs(running: RunningHost) -> None:
    go = running.folder / "go"
    sent = running.send_in_turn("plugin", {"name": "a", "until": str(go)}, {"name": "b"})
    sent += running.send_in_turn("plugin", {"name": "c"})
    wait_began(running, "a")
    running.host.recall("plugin")
    later = running.send_in_turn("plugin", {"name": "d"})
    go.touch()
    count = returned_first(running, sent)
    running.wait_statuses(later, "returned")
    assert count >= 1
    assert began(running) == [*"abc"[:count], "d"]
