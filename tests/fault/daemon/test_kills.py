"""What was received is handled, whoever is killed, and in order."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from ftrackd.api.event.base import Event
from ftrackd.delivery.journal import State
from ftrackd.testing.daemon import DaemonProcess
from ftrackd.testing.sandbox import SandboxProcess
from tests.daemon_fixtures import Recording

Run = Callable[..., DaemonProcess]

DURABLE = {"DELIVERY__DURABLE_TOPICS": '["studio.*"]', "DELIVERY__RETRY_DELAY_S": "0.05"}


@pytest.fixture
def publish(sandbox_session: Any) -> Callable[[Sequence[int]], None]:
    """Publish numbered events from a second client."""
    sandbox_session.event_hub.connect()

    def send(numbers: Sequence[int]) -> None:
        for number in numbers:
            sandbox_session.event_hub.publish(Event("studio.count", data={"number": number}))

    return send


def check_in_order(numbers: list[int], count: int) -> None:
    """Each number is there, for the first time in order."""
    assert list(dict.fromkeys(numbers)) == list(range(count))


def closed_on_disk(daemon: DaemonProcess) -> set[int]:
    """The numbers whose delivery the journal of a daemon that is not running has closed."""
    with contextlib.closing(sqlite3.connect(daemon.state_dir / "journal.sqlite")) as connection:
        payloads = connection.execute(
            "SELECT payload FROM delivery JOIN event ON seq = event_seq WHERE state = ?", [State.CLOSED]
        ).fetchall()
    return {json.loads(payload)["data"]["number"] for (payload,) in payloads}


def test_when_the_main_process_is_killed_under_load_then_nothing_is_lost_nor_handled_after_closing(
    run_daemon: Run, recording: Recording, publish: Callable[[Sequence[int]], None]
) -> None:
    count, kills = 300, 4
    closed_at_kill: list[tuple[int, set[int]]] = []
    daemon = run_daemon(settings=DURABLE, environment={**recording.environment, "RECORDER_DELAY_S": "0.005"})
    publish(range(count))
    daemon.wait_for(lambda: daemon.status()["journal"]["events"] == count, what="all in the journal")
    for kill in range(1, kills + 1):
        daemon.wait_for(lambda kill=kill: len(recording.numbers()) > kill * 30, what="some handled")
        daemon.kill()
        closed = closed_on_disk(daemon)
        closed_at_kill.append((len(recording.numbers()), closed))
        assert closed
        daemon.start()
    daemon.wait_for(lambda: len(set(recording.numbers())) == count, 20, "all handled")
    numbers = recording.numbers()
    check_in_order(numbers, count)
    for handled, closed in closed_at_kill:
        assert not closed.intersection(numbers[handled:])
    daemon.wait_for(lambda: daemon.status()["journal"]["open"] == 0, what="all closed")
    assert daemon.status()["journal"]["dead"] == 0


def test_when_a_plugin_process_is_killed_under_load_then_nothing_is_lost(
    run_daemon: Run, recording: Recording, publish: Callable[[Sequence[int]], None]
) -> None:
    count, kills = 200, 3
    daemon = run_daemon(settings=DURABLE, environment={**recording.environment, "RECORDER_DELAY_S": "0.005"})
    publish(range(count))
    for kill in range(1, kills + 1):
        daemon.wait_for(lambda kill=kill: len(recording.numbers()) > kill * 20, what="some handled")
        before = daemon.plugin("recorder")["pid"]
        os.kill(before, signal.SIGKILL)
        daemon.wait_for(
            lambda before=before: daemon.plugin("recorder")["pid"] not in (None, before), 20, "restarted"
        )
    daemon.wait_for(lambda: len(set(recording.numbers())) == count, 20, "all handled")
    check_in_order(recording.numbers(), count)
    # Only what ran at a kill ran again.
    assert len(recording.numbers()) - count <= kills


def test_when_sigterm_comes_under_load_then_the_rest_waits_and_nothing_runs_twice(
    run_daemon: Run, recording: Recording, publish: Callable[[Sequence[int]], None]
) -> None:
    count = 200
    daemon = run_daemon(settings=DURABLE, environment={**recording.environment, "RECORDER_DELAY_S": "0.005"})
    publish(range(count))
    daemon.wait_for(lambda: daemon.status()["journal"]["events"] == count, what="all in the journal")
    assert daemon.stop() == 0
    assert len(recording.numbers()) < count
    daemon.start()
    daemon.wait_for(lambda: len(recording.numbers()) >= count, 20, "all handled")
    assert recording.numbers() == list(range(count))


def test_when_the_server_restarts_then_the_daemon_is_live_again_and_receives(recording: Recording) -> None:
    from ftrackd.api.session import Session

    with SandboxProcess(seed="minimal") as server:
        with DaemonProcess(
            server,
            [recording.plugins],
            settings={**DURABLE, "HUB__RECONNECT_DELAY_CAP_S": "0.5"},
            environment=recording.environment,
        ) as daemon:
            server.kill()
            daemon.wait_for(lambda: daemon.status()["state"] == "degraded", what="degraded")
            assert "hub" in daemon.status()["degradations"]
            server.start()
            daemon.wait_for(lambda: daemon.status()["state"] == "live", 15, "live again")
            with Session(server.url, server.api_key, server.api_user, plugin_paths=[]) as session:
                session.event_hub.connect()
                session.event_hub.publish(Event("studio.count", data={"number": 1}))
                daemon.wait_for(lambda: recording.numbers() == [1], what="received again")


def test_when_the_connection_goes_half_open_then_it_is_noticed_and_replaced(recording: Recording) -> None:
    from ftrackd.api.session import Session

    with SandboxProcess(seed="minimal", options=["--heartbeat", "0.3"]) as server:
        with DaemonProcess(
            server,
            [recording.plugins],
            settings={**DURABLE, "HUB__RECONNECT_DELAY_CAP_S": "0.5", "HUB__SILENCE_LIMIT_S": "1"},
            environment=recording.environment,
        ) as daemon:
            server.fault("half_open_sockets")
            daemon.wait_for(lambda: daemon.status()["hub"]["reconnects"] >= 1, 15, "reconnected")
            daemon.wait_for(lambda: daemon.status()["state"] == "live", 15, "live again")
            with Session(server.url, server.api_key, server.api_user, plugin_paths=[]) as session:
                session.event_hub.connect()
                session.event_hub.publish(Event("studio.count", data={"number": 1}))
                daemon.wait_for(lambda: recording.numbers() == [1], what="received again")


def test_what_changed_while_the_daemon_was_away_is_handled_once_and_in_order(
    run_daemon: Run, recording: Recording, sandbox_session: Any, task: Any
) -> None:
    """Many changes of one task: every one of them, once, in the order in which they were made."""
    count = 200
    daemon = run_daemon()
    daemon.wait_for(lambda: daemon.status()["catch_up"]["state"] == "done", what="the cursor set")
    assert daemon.stop() == 0
    for number in range(count):
        task["description"] = f"change {number}"
        sandbox_session.commit()
    daemon.start()
    seen = daemon.wait_for(
        lambda: (found := descriptions(recording, task["id"])) and len(found) >= count and found,
        30,
        "all handled",
    )
    assert seen == [f"change {number}" for number in range(count)]


def descriptions(recording: Recording, task_id: str) -> list[str]:
    return [
        change[2]
        for line in recording.lines()
        for change in line["changes"]
        if change[0] == task_id and change[2] is not None
    ]


def test_when_a_second_signal_comes_then_the_drain_ends_at_once_and_the_event_waits(
    run_daemon: Run, recording: Recording, publish: Callable[[Sequence[int]], None]
) -> None:
    """A callback sleeps for ever: the first SIGTERM waits for it, the second does not."""
    stuck = {**recording.environment, "RECORDER_DELAY_S": "1000"}
    daemon = run_daemon(settings={**DURABLE, "DAEMON__DRAIN_LIMIT_S": "100"}, environment=stuck)
    publish([0])
    daemon.wait_for(lambda: daemon.plugin("recorder")["running"], what="running")
    family = psutil.Process(daemon.pid).children(recursive=True)
    os.kill(daemon.pid, signal.SIGTERM)
    daemon.wait_for(lambda: daemon.status()["state"] == "draining", what="draining")
    time.sleep(0.6)  # within half a second a second signal is the same Ctrl-C, delivered twice
    assert daemon.stop() == 0, "within 30 s, though the drain may take 100"
    assert not psutil.wait_procs(family, timeout=30)[1]

    daemon.environment.update(recording.environment, RECORDER_DELAY_S="0")
    daemon.start()
    daemon.wait_for(lambda: recording.numbers() == [0], what="handled by the next daemon")


def test_when_a_callback_outlives_the_drain_then_its_attempt_does_not_count(
    run_daemon: Run, recording: Recording, publish: Callable[[Sequence[int]], None]
) -> None:
    """With one attempt a delivery, one that counted would be a dead letter."""
    daemon = run_daemon(
        settings={**DURABLE, "DELIVERY__MAX_ATTEMPTS": "1", "DAEMON__DRAIN_LIMIT_S": "0.1"},
        environment={**recording.environment, "RECORDER_DELAY_S": "60"},
    )
    publish([1])
    daemon.wait_for(lambda: daemon.plugin("recorder")["running"], what="running")
    assert daemon.stop() == 0
    daemon.start()
    daemon.wait_for(lambda: daemon.plugin("recorder")["running"], what="running again")
    assert daemon.status()["journal"]["dead"] == 0
    daemon.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_it_is_stopped_while_its_sandbox_starts_then_nothing_is_left(
    number: signal.Signals, tmp_path: Path
) -> None:
    variables = {**os.environ, "TMPDIR": str(tmp_path), "FTRACKD_CONFIG": os.devnull}
    command = [sys.executable, "-m", "ftrackd", "run", "--sandbox"]
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, start_new_session=True) as daemon:
        process = psutil.Process(daemon.pid)
        deadline = time.monotonic() + 30
        while not (children := process.children(recursive=True)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        daemon.send_signal(signal.SIGHUP)
        for _ in range(20):  # as often as an impatient person presses Ctrl-C, and until nobody listens
            daemon.send_signal(number)
            time.sleep(0.01)
        written = daemon.stderr.read() if daemon.stderr else b""
    assert (daemon.returncode, written) == (0, b"")
    assert not psutil.wait_procs(children, timeout=30)[1]
    assert not list(tmp_path.iterdir())
