"""Restart policy, lanes, output, failures, file systems: the parts without a process."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections import namedtuple

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

import ftrackd.hosting
from ftrackd.api.exception import ServerError
from ftrackd.hosting.changes import Changes
from ftrackd.hosting.child import failures
from ftrackd.hosting.child.event_hub import shapes_session
from ftrackd.hosting.child.lanes import Lane, Turnstile
from ftrackd.hosting.child.output import LineBudget, LineStream, shortened
from ftrackd.hosting.restart import RestartPolicy
from ftrackd.hosting.watcher import Scan, is_on_network
from ftrackd.settings import HostingSettings


def test_when_every_public_name_is_asked_for_then_it_is_there() -> None:
    for name in ftrackd.hosting.__all__:
        assert getattr(ftrackd.hosting, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        ftrackd.hosting.nonsense


@given(first=st.floats(0.01, 10), cap=st.floats(10, 1000), count=st.integers(1, 200))
def test_when_failures_go_on_then_delays_grow_to_the_cap(first: float, cap: float, count: int) -> None:
    policy = RestartPolicy(first, cap, 3)
    delays = [policy.failed() for _ in range(count)]
    assert delays[0] == first
    assert delays == sorted(delays)
    assert max(delays) <= cap
    assert policy.is_open == (count >= 3)
    policy.succeeded()
    assert not policy.is_open
    assert policy.failed() == first


def test_when_a_plugin_is_missing_for_a_moment_then_it_is_not_removed() -> None:
    changes = Changes(HostingSettings())

    def removed(taken_at: float, grace_s: float = 1.0) -> list[str]:
        return changes.confirmed_removals(["plugin"], Scan((), {}, {}, taken_at=taken_at), grace_s)

    assert (removed(10.0), removed(10.9)) == ([], [])
    assert changes.awaits_confirmation
    assert changes.confirmed_removals([], Scan((), {}, {}, taken_at=11.0), 1.0) == []
    assert not changes.awaits_confirmation
    assert (removed(11.5), removed(12.4), removed(12.5)) == ([], [], ["plugin"])
    assert removed(20.0, grace_s=0.0) == ["plugin"], "an operator asked"


def test_when_somebody_must_be_alone_then_running_work_ends_first_and_menus_are_not_held_up() -> None:
    turnstile = Turnstile()
    log: list[str] = []
    inside, release, waiting = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        turnstile.enter(patient=True)
        inside.set()
        release.wait(30)
        log.append("work")
        turnstile.give_way(patient=True)
        log.append("more work")
        turnstile.leave()

    def alone() -> None:
        inside.wait(30)
        waiting.set()
        with turnstile.alone():
            log.append("alone")

    threads = [threading.Thread(target=target) for target in (work, alone)]
    for thread in threads:
        thread.start()
    waiting.wait(30)
    deadline = time.monotonic() + 30
    while not turnstile._waiting and time.monotonic() < deadline:
        time.sleep(0.001)
    turnstile.enter(patient=False)
    log.append("menu")
    turnstile.leave()
    patient = threading.Thread(target=lambda: _pass(turnstile, log))
    patient.start()
    release.set()
    for thread in (*threads, patient):
        thread.join(30)
    assert log[:3] == ["menu", "work", "alone"]
    assert sorted(log[3:]) == ["more work", "patient"]


def _pass(turnstile: Turnstile, log: list[str]) -> None:
    turnstile.enter(patient=True)
    log.append("patient")
    turnstile.leave()


def test_when_a_lane_finishes_then_what_was_put_before_has_run() -> None:
    lane = Lane("test", 1)
    done: list[int] = []
    for number in range(50):
        lane.put(lambda number=number: done.append(number))
    lane.start()
    assert lane.finish(time.monotonic() + 5)
    assert done == list(range(50))


def test_when_a_job_hangs_then_finishing_the_lane_gives_up_in_time() -> None:
    lane = Lane("test", 1)
    release = threading.Event()
    lane.put(lambda: release.wait(10) and None)
    lane.start()
    assert not lane.finish(time.monotonic() + 0.05)
    release.set()


def test_when_lines_come_too_fast_then_the_rest_is_counted() -> None:
    now = [0.0]
    budget = LineBudget(10, lambda: now[0])
    assert [budget.take() for _ in range(15)] == [True] * 10 + [False] * 5
    assert budget.dropped == 5
    now[0] = 0.5
    assert [budget.take() for _ in range(6)] == [True] * 5 + [False]


def test_when_text_is_printed_in_pieces_then_whole_lines_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    stream = LineStream(io.StringIO(), "print", logging.INFO)
    with caplog.at_level(logging.INFO, "print"):
        print("one", 1, file=stream)
        stream.write("two ")
        stream.write("halves\nrest")
        stream.flush()
    assert [record.getMessage() for record in caplog.records] == ["one 1", "two halves"]


def test_when_a_line_is_endless_then_it_is_shortened_in_the_middle() -> None:
    text = shortened("a" * 100_000 + "end")
    assert len(text) < 9_000
    assert text.endswith("end")
    assert "92003 characters left out" in text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError("no"), True),
        (TimeoutError("late"), True),
        (requests.ConnectionError("no"), True),
        (requests.ReadTimeout("late"), True),
        (ServerError("gateway", status=503), True),
        (ServerError("wrong query", status=200), False),
        (ServerError("broken", status=500), False),
        (ValueError("mine"), False),
        (KeyError("x"), False),
    ],
)
def test_when_trying_again_may_help_then_the_error_is_transient(error: BaseException, expected: bool) -> None:
    assert failures.is_transient(error) is expected
    try:
        try:
            raise error
        except type(error) as cause:
            raise RuntimeError("wrapped") from cause
    except RuntimeError as wrapped:
        assert failures.is_transient(wrapped) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("topic=ftrack.api.session.configure-location", True),
        ('topic="ftrack.api.session.configure-location" and source.user.username=x', True),
        ("topic = ftrack.api.session.construct-entity-type", True),
        ("topic=ftrack.storage-scenario.activate and data.x=1", True),
        ("topic=ftrack.api.session.*", True),
        ("topic=ftrack.api.session.ready", False),
        ("topic=ftrack.api.session.reset", False),
        ("topic=ftrack.update", False),
        ("data.topic=1", False),
        ("topic=*", False),
    ],
)
def test_when_a_subscription_shapes_sessions_then_it_is_known(expression: str, expected: bool) -> None:
    assert shapes_session(expression) is expected


Partition = namedtuple("Partition", "mountpoint fstype")
PARTITIONS = [
    Partition("/", "ext4"),
    Partition("/mnt/studio", "nfs4"),
    Partition("/mnt/studio/local", "xfs"),
    Partition("/home", "fuse.sshfs"),
]


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/mnt/studio/plugins", True),
        ("/mnt/studio", True),
        ("/mnt/studio/local/plugins", False),
        ("/mnt/studio2", False),
        ("/home/me", True),
        ("/opt/plugins", False),
    ],
)
def test_when_a_folder_lies_on_a_network_file_system_then_it_is_polled(folder: str, expected: bool) -> None:
    assert is_on_network(folder, PARTITIONS) is expected
