"""Sandbox, hub, engine, plugin and reply, over real sockets and in real processes."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ftrackd.api.event.base import Event
from ftrackd.testing.daemon import DaemonProcess
from ftrackd.testing.events import discover_data, launch_data
from ftrackd.testing.sandbox import SandboxProcess
from tests.daemon_fixtures import RECORDER, Recording

Run = Callable[..., DaemonProcess]


def ask(session: Any, topic: str, data: dict[str, Any], timeout_s: float = 30.0) -> Any:
    """Publish an event from a second client and return the data of the first reply."""
    replies: list[Any] = []
    session.event_hub.publish(
        Event(topic=topic, data=data), on_reply=lambda reply: replies.append(reply["data"])
    )
    deadline = time.monotonic() + timeout_s
    while not replies and time.monotonic() < deadline:
        session.event_hub.wait(0.05)
    return replies[0] if replies else None


def test_a_change_of_data_reaches_the_plugin(
    run_daemon: Run, recording: Recording, sandbox_session: Any, task: Any
) -> None:
    daemon = run_daemon()
    task["status"] = sandbox_session.query('Status where name is "In progress"').one()
    sandbox_session.commit()
    change = daemon.wait_for(
        lambda: [
            line
            for line in recording.lines()
            for entity_id, keys, _ in line["changes"]
            if entity_id == task["id"] and "statusid" in keys
        ],
        what="recorded",
    )
    assert len(change) == 1


class TestOneDaemon:
    """What daemons as they come do, one for all: its end comes before the others start on the same server."""

    @pytest.fixture(scope="class")
    @classmethod
    def recording(cls, tmp_path_factory: pytest.TempPathFactory) -> Recording:
        return Recording(tmp_path_factory.mktemp("recording"))

    @pytest.fixture(scope="class")
    @classmethod
    def daemon(cls, sandbox: SandboxProcess, recording: Recording) -> Iterator[DaemonProcess]:
        with DaemonProcess(sandbox, [recording.plugins], environment=recording.environment) as daemon:
            yield daemon

    def test_an_action_answers_discover_and_launch_of_a_second_client(
        self, daemon: DaemonProcess, sandbox_session: Any, task: Any
    ) -> None:
        sandbox_session.event_hub.connect()
        offered = ask(sandbox_session, "ftrack.action.discover", discover_data([task]))
        assert offered["items"][0]["actionIdentifier"] == "recorder"
        assert ask(sandbox_session, "ftrack.action.launch", launch_data("recorder", [task])) == {
            "success": True,
            "message": "1 selected",
        }

    def test_an_action_that_raises_says_so_with_an_id_that_is_in_the_log(
        self, daemon: DaemonProcess, sandbox_session: Any, task: Any
    ) -> None:
        sandbox_session.event_hub.connect()
        answer = ask(
            sandbox_session, "ftrack.action.launch", {**launch_data("recorder", [task]), "explode": True}
        )
        assert answer["success"] is False
        assert "as asked" not in answer["message"], "an artist does not need our internals"
        error_id = daemon.wait_for(
            lambda: next(
                (
                    word.strip(".,()")
                    for word in answer["message"].split()
                    if word.strip(".,()") in daemon.log
                ),
                None,
            ),
            what="the error id in the log",
        )
        assert error_id
        daemon.wait_for(lambda: "callback failed" in daemon.log, what="the failure in the log")
        assert daemon.log.count("Traceback") == 1, "one failure, one traceback"

    def test_sighup_resets_the_sessions_and_nothing_else(
        self, daemon: DaemonProcess, recording: Recording
    ) -> None:
        before = daemon.plugin("recorder")["pid"]
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for(lambda: daemon.status()["state"] == "live", what="live")
        assert daemon.plugin("recorder")["pid"] == before

    def test_a_saved_edit_is_live_within_a_second(
        self, daemon: DaemonProcess, recording: Recording, sandbox_session: Any
    ) -> None:
        sandbox_session.event_hub.connect()
        recording.write_version(2)
        daemon.wait_for(lambda: daemon.plugin("recorder")["generation"] == 2, what="reloaded")
        sandbox_session.event_hub.publish(Event("studio.count", data={"number": 1}))
        daemon.wait_for(lambda: recording.numbers() == [1], what="recorded")
        assert recording.lines()[-1]["version"] == 2


def test_when_a_plugin_takes_long_to_import_then_the_others_are_live_and_it_misses_nothing(
    run_daemon: Run, recording: Recording, sandbox_session: Any, task: Any, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    wait = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    (recording.plugins / "late.py").write_text(
        wait + RECORDER.read_text().replace("VERSION = 1", "VERSION = 7")
    )
    hanging = "import time\ntime.sleep(1e6)\ndef register(session): pass\n"
    (recording.plugins / "hanging.py").write_text(hanging)
    settings = {
        "HOSTING__LATE_START_S": "0.3",
        "HOSTING__START_TIMEOUT_S": "3",
        "HOSTING__RESTART_DELAY_S": "60",
    }
    daemon = run_daemon(settings=settings)
    assert "live; still starting: hanging, late" in daemon.log
    task["status"] = sandbox_session.query('Status where name is "In progress"').one()
    sandbox_session.commit()

    def versions() -> list[int]:
        return [
            line["version"]
            for line in recording.lines()
            if any(task["id"] in change for change in line["changes"])
        ]

    daemon.wait_for(lambda: versions() == [1], what="handled by the plugin that is there")
    gate.touch()
    daemon.wait_for(lambda: sorted(versions()) == [1, 7], what="handled by the late one, too")
    daemon.wait_for(lambda: daemon.plugin("hanging")["state"] == "failed", what="reported as hanging")
    assert "did not return within 3 s" in daemon.plugin("hanging")["error"]
    assert daemon.status()["state"] == "live"
    assert versions().count(7) == 1


def test_a_burst_that_is_faster_than_the_journal_is_handled_whole_and_a_menu_opens_behind_it(
    run_daemon: Run, recording: Recording, sandbox_session: Any, task: Any
) -> None:
    hub = sandbox_session.event_hub
    daemon = run_daemon(settings={"DELIVERY__DURABLE_TOPICS": '["studio.*"]', "DELIVERY__INTAKE_LIMIT": "10"})
    hub.connect()
    for number in range(1000):
        hub.publish(Event(topic="studio.count", data={"number": number}))
    offered = ask(sandbox_session, "ftrack.action.discover", discover_data([task]), 20)
    assert offered["items"][0]["actionIdentifier"] == "recorder"
    daemon.wait_for(lambda: len(recording.numbers()) >= 1000, 20, "all handled")
    assert recording.numbers() == list(range(1000))
    assert daemon.status()["journal"]["dropped"] == 0


def test_an_action_whose_plugin_is_not_there_in_time_says_so_with_an_id_that_is_in_the_log(
    run_daemon: Run, sandbox_session: Any, task: Any
) -> None:
    daemon = run_daemon(settings={"HOSTING__RESTART_DELAY_S": "30", "DELIVERY__INTERACTIVE_EXPIRY_S": "0.5"})
    sandbox_session.event_hub.connect()
    os.kill(daemon.plugin("recorder")["pid"], signal.SIGKILL)
    daemon.wait_for(lambda: daemon.plugin("recorder")["pid"] is None, what="gone")
    answer = ask(sandbox_session, "ftrack.action.launch", launch_data("recorder", [task]))
    assert answer["success"] is False
    error_id = answer["message"].split()[-1]
    daemon.wait_for(lambda: error_id in daemon.log, what="the error id in the log")


def test_ctrl_c_stops_everything_and_leaves_nothing_running(run_daemon: Run) -> None:
    daemon = run_daemon()
    family = psutil.Process(daemon.pid).children(recursive=True)
    assert family
    assert daemon.stop(number=signal.SIGINT) == 0
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive, alive
    assert not (daemon.state_dir / "control.sock").exists()


def test_when_the_main_process_is_killed_then_no_plugin_process_is_left(run_daemon: Run) -> None:
    daemon = run_daemon()
    family = psutil.Process(daemon.pid).children(recursive=True)
    daemon.kill()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive, alive


def test_the_secret_is_nowhere_in_what_the_daemon_says(
    run_daemon: Run, sandbox: SandboxProcess, sandbox_session: Any, task: Any
) -> None:
    daemon = run_daemon(options=["--log-level", "debug"])
    sandbox_session.event_hub.connect()
    ask(sandbox_session, "ftrack.action.launch", {**launch_data("recorder", [task]), "explode": True})
    said = (
        daemon.log
        + str(daemon.status())
        + str(daemon.control.get("/plugins"))
        + daemon.control.get("/metrics")
    )
    assert sandbox.api_key not in said
    commands = [" ".join(p.cmdline()) for p in psutil.Process(daemon.pid).children(recursive=True)]
    assert not any(sandbox.api_key in command for command in commands)
