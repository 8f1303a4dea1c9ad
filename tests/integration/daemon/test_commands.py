"""The commands, run as a person runs them, against a running daemon."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftrackd.testing.daemon import DaemonProcess
from ftrackd.testing.sandbox import SandboxProcess
from tests.daemon_fixtures import Recording

Ftrackd = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def world(
    sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DaemonProcess, Recording]]:
    """One daemon with the recorder plugin for all commands."""
    recording = Recording(tmp_path_factory.mktemp("commands"))
    settings = {
        "DELIVERY__DURABLE_TOPICS": '["studio.*"]',
        "DELIVERY__MAX_ATTEMPTS": "1",
        "DAEMON__DRAIN_LIMIT_S": "1",
    }
    with DaemonProcess(
        sandbox, [recording.plugins], settings=settings, environment=recording.environment
    ) as daemon:
        yield daemon, recording


@pytest.fixture
def ftrackd(world: tuple[DaemonProcess, Recording], sandbox: SandboxProcess) -> Ftrackd:
    """Run a command with the daemon's settings."""
    daemon, _ = world

    def run(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FTRACKD_", "FTRACK_"))}
        own = {
            "FTRACKD_DAEMON__STATE_DIR": str(daemon.state_dir),
            "FTRACKD_CONFIG": os.devnull,
            "COLUMNS": "200",
        }
        return subprocess.run(
            [sys.executable, "-m", "ftrackd", *arguments],
            env={**kept, **own, **sandbox.environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_status_in_words_and_as_json(ftrackd: Ftrackd, world: tuple[DaemonProcess, Recording]) -> None:
    words = ftrackd("status")
    assert words.returncode == 0, words.stderr
    assert words.stdout.startswith(f"live, pid {world[0].pid}")
    report = json.loads(ftrackd("status", "--json").stdout)
    assert report["plugins"] == {"running": 1}


def test_plugins(ftrackd: Ftrackd) -> None:
    assert "recorder" in ftrackd("plugins").stdout
    (plugin,) = json.loads(ftrackd("plugins", "--json").stdout)
    assert plugin["state"] == "running"
    assert "topic=studio.count" in plugin["subscriptions"]


def test_reload_of_an_unknown_plugin_names_the_known_ones(ftrackd: Ftrackd) -> None:
    result = ftrackd("reload", "recoder")
    assert result.returncode == 1
    assert "recorder" in result.stderr


def test_reload_and_reset(ftrackd: Ftrackd, world: tuple[DaemonProcess, Recording]) -> None:
    daemon, _ = world
    before = daemon.plugin("recorder")["generation"]
    assert ftrackd("reload", "recorder").stdout == "reloading recorder\n"
    daemon.wait_for(lambda: daemon.plugin("recorder")["generation"] > before, what="reloaded")
    assert ftrackd("reset").stdout == "resetting recorder\n"


def test_fire_replay_and_the_way_of_a_dead_letter(
    ftrackd: Ftrackd, world: tuple[DaemonProcess, Recording]
) -> None:
    daemon, recording = world
    assert ftrackd("fire", "studio.count", "--data", '{"number": 7}').returncode == 0
    daemon.wait_for(lambda: 7 in recording.numbers(), what="handled")
    dry = json.loads(ftrackd("events", "replay", "--since", "1h", "--dry-run", "--json").stdout)
    assert [item["plugin"] for item in dry["deliveries"]] == ["recorder"]
    assert ftrackd("events", "replay", "--since", "1h").returncode == 0
    daemon.wait_for(lambda: recording.numbers().count(7) == 2, what="handled again")

    assert ftrackd("fire", "studio.count", "--data", '{"number": 8, "entities": 5}').returncode == 0
    (letter,) = daemon.wait_for(lambda: daemon.control.get("/dead"), what="parked")
    shown = ftrackd("dead", "show", str(letter["id"]))
    assert "Traceback" in shown.stdout
    assert "'int' object is not iterable" in shown.stdout
    assert "recorder" in ftrackd("dead", "list").stdout
    mistaken = ftrackd("dead", "retry", str(letter["id"]), "12345")
    assert mistaken.returncode == 1
    assert "No dead letter has the id 12345" in mistaken.stderr
    assert ftrackd("dead", "retry", str(letter["id"])).stdout == "1 delivered again\n"
    (letter,) = daemon.wait_for(lambda: daemon.control.get("/dead"), what="parked again")
    assert ftrackd("dead", "drop", "--all").stdout == "1 dropped\n"
    assert ftrackd("dead", "list").stdout == "no dead letters\n"


def test_what_waits_for_a_removed_plugin_is_shown_and_can_be_given_up(
    ftrackd: Ftrackd, world: tuple[DaemonProcess, Recording]
) -> None:
    daemon, recording = world
    leaver = recording.plugins / "leaver.py"
    leaver.write_text(
        "def register(session):\n"
        "    session.event_hub.subscribe('topic=studio.leave', lambda event: event['data']['number'])\n"
    )
    daemon.control.post("/reload", plugin="recorder")
    daemon.wait_for(lambda: daemon.plugin("leaver")["state"] == "running", what="loaded")
    assert ftrackd("fire", "studio.leave", "--data", "{}").returncode == 0
    daemon.wait_for(lambda: daemon.control.get("/dead", plugin="leaver"), what="parked")
    leaver.unlink()
    daemon.control.post("/reload", plugin="recorder")
    daemon.wait_for(lambda: daemon.status()["plugins"] == {"running": 1}, what="removed")
    assert daemon.status()["journal"]["absent"] == {}
    everybody = ftrackd("events", "replay", "--since", "1h", "--dry-run")
    assert (
        "left out: 1 of leaver, which is not there any more; --plugin leaver includes them"
        in everybody.stdout
    )
    assert daemon.status()["journal"]["absent"] == {}
    daemon.control.post("/events/replay", since="1h", plugin="leaver")

    # Its process may still be on its way out, and then gives back what came.
    daemon.wait_for(lambda: daemon.status()["journal"]["absent"] == {"leaver": 1}, what="waiting")
    assert "leaver (1); " in ftrackd("status").stdout
    hosted = ftrackd("events", "forget", "recorder")
    assert (hosted.returncode, hosted.stdout) == (1, "")
    assert "remove it from the plugin paths first" in hosted.stderr
    unknown = ftrackd("events", "forget", "leavr")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "nothing waits for a plugin named 'leavr'" in unknown.stderr
    assert "leaver" in unknown.stderr
    dry = ftrackd("events", "forget", "leaver", "--dry-run", "--json")
    assert json.loads(dry.stdout) == {"plugin": "leaver", "count": 2}
    assert ftrackd("events", "forget", "leaver").stdout == "deliveries closed for leaver: 2\n"
    assert daemon.status()["journal"]["absent"] == {}
    # The recorder was given its failing event of the last test again, and may have parked it by now.
    assert daemon.control.get("/dead", plugin="leaver") == []


def test_launch_runs_an_action_and_its_failure_is_the_exit_code(ftrackd: Ftrackd, task: Any) -> None:
    launched = ftrackd("launch", "recorder", "--on", f"Task:{task['id']}")
    assert launched.stdout == "1 selected\n", launched.stderr
    unknown = ftrackd("launch", "nonsense", "--on", f"Task:{task['id']}", "--wait", "1")
    assert unknown.returncode == 1
    assert "offered: recorder" in unknown.stderr


def test_set_finds_by_path_and_refers_by_name(ftrackd: Ftrackd, sandbox_session: Any, task: Any) -> None:
    path = "/".join(link["name"] for link in task["link"])
    result = ftrackd("set", path, "status=In progress", "bid=3600")
    assert result.returncode == 0, result.stderr
    row = sandbox_session.query(f'select status.name, bid from Task where id is "{task["id"]}"').one()
    assert (row["status"]["name"], row["bid"]) == ("In progress", 3600)
    assert "no Status has" in ftrackd("set", path, "status=Nonsense").stderr
    assert "no attribute" in ftrackd("set", path, "sttus=x").stderr
    assert "names no entity" in ftrackd("set", "no/such/thing", "bid=1").stderr


def test_fire_builds_the_payload_of_an_update(ftrackd: Ftrackd, task: Any) -> None:
    result = ftrackd(
        "fire", "ftrack.update", "--on", f"Task:{task['id']}", "--changed", "status_id=a:b", "--json"
    )
    data = json.loads(result.stdout)["data"]
    (change,) = data["entities"]
    assert change["keys"] == ["statusid"]
    assert change["changes"]["statusid"] == {"old": "a", "new": "b"}
    assert change["parents"][0]["entityId"] == task["id"]
    assert change["parents"][-1]["entityType"] == "show"


def test_new_writes_plugins_that_check_accepts(ftrackd: Ftrackd, tmp_path: Path) -> None:
    for kind in ("listener", "action", "location"):
        assert ftrackd("new", f"my_{kind}", "--kind", kind, "--folder", str(tmp_path)).returncode == 0
    again = ftrackd("new", "my_action", "--folder", str(tmp_path))
    assert again.returncode == 1
    assert "exists" in again.stderr
    checked = ftrackd("check", str(tmp_path))
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("ok ") == 3
    assert checked.stderr == ""


def test_check_names_the_reason_and_fails(ftrackd: Ftrackd, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nosuchmodule\n\ndef register(session):\n    pass\n")
    checked = ftrackd("check", str(tmp_path))
    assert checked.returncode == 1
    assert "nosuchmodule" in checked.stdout


def test_doctor_is_content(ftrackd: Ftrackd) -> None:
    findings = json.loads(ftrackd("doctor", "--json").stdout)
    named = {finding["name"]: finding["is_well"] for finding in findings}
    assert named["server"] and named["credentials"] and named["hub"] and named["daemon"]
    assert named["journal"] in (True, None)
    assert named["plugin recorder"] is True


def test_doctor_looks_at_the_embedded_server_and_the_plugin_paths_of_a_daemon_that_runs_on_its_own(
    sandbox: SandboxProcess, recording: Recording
) -> None:
    with DaemonProcess(
        sandbox, [recording.plugins], options=["--sandbox"], environment=recording.environment
    ) as daemon:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FTRACKD_", "FTRACK_"))}
        result = subprocess.run(
            [sys.executable, "-m", "ftrackd", "doctor", "--json"],
            env={**kept, "FTRACKD_DAEMON__STATE_DIR": str(daemon.state_dir), "FTRACKD_CONFIG": os.devnull},
            capture_output=True,
            text=True,
            check=False,
        )
        findings = json.loads(result.stdout)
        assert result.returncode == 0, findings
        assert "embedded one of the daemon that runs" in findings[1]["text"]
        texts = {finding["name"]: finding["text"] for finding in findings}
        assert texts["server"].startswith(daemon.status()["server"]["url"])
        assert texts["plugin path"] == str(recording.plugins)


def test_doctor_names_the_plugins_that_a_daemon_would_load(sandbox: SandboxProcess, tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "thing.py").write_text("def register(session): pass\n")
    (folder / "open.py").write_text("def register(session): pass\n")
    (folder / "open.py").chmod(0o666)
    variables = {"FTRACKD_DAEMON__STATE_DIR": str(tmp_path), "FTRACK_EVENT_PLUGIN_PATH": str(folder)}
    result = subprocess.run(
        [sys.executable, "-m", "ftrackd", "doctor", "--json"],
        env={**os.environ, **sandbox.environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert findings["plugins"]["is_well"] is True
    assert findings["plugins"]["text"].startswith("thing;")
    assert "0666" in findings["plugin open"]["text"]


def test_without_a_daemon_the_commands_say_what_to_do(ftrackd: Ftrackd, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ftrackd", "status"],
        env={**os.environ, "FTRACKD_DAEMON__STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "ftrackd run" in result.stderr
