"""Each thing that can be wrong at the start gives one clear line and the documented exit code."""

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ftrackd.delivery._sqlite_schema import APPLICATION_ID
from ftrackd.testing.sandbox import SandboxProcess


def run(folder: Path, *arguments: str, **variables: str) -> tuple[int, list[str]]:
    """Run ``ftrackd`` and return its exit code and the lines it addressed to a person."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FTRACKD_", "FTRACK_"))}
    result = subprocess.run(
        [sys.executable, "-m", "ftrackd", *arguments],
        env={
            **kept,
            "FTRACKD_DAEMON__STATE_DIR": str(folder),
            "FTRACKD_CONFIG": os.devnull,
            "FTRACKD_HOSTING__WATCH": "false",
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return result.returncode, [line for line in result.stderr.splitlines() if line.startswith("ftrackd: ")]


def server(url: str, user: str = "u", key: str = "canary-key") -> dict[str, str]:
    return {"FTRACK_SERVER": url, "FTRACK_API_USER": user, "FTRACK_API_KEY": key}


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken but refuses connections, so that nobody else answers there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_without_a_server_two_lines_say_what_to_do(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "run")
    assert code == 2
    assert len(lines) == 2
    assert "FTRACK_SERVER, FTRACK_API_USER, FTRACK_API_KEY" in lines[0]
    assert "--sandbox" in lines[1]


def test_a_refused_connection(tmp_path: Path, closed_port: int) -> None:
    code, lines = run(tmp_path, "run", **server(f"http://127.0.0.1:{closed_port}"))
    assert code == 69
    assert len(lines) == 1
    assert "Connection refused" in lines[0]


@pytest.mark.parametrize("url", ["studio.ftrackapp.com", "http://127.0.0.1:99999"])
def test_a_wrong_url(tmp_path: Path, url: str) -> None:
    code, lines = run(tmp_path, "run", **server(url))
    assert code == 2
    assert "looks like https://studio.ftrackapp.com" in lines[0]


def test_something_else_that_answers(tmp_path: Path) -> None:
    with SandboxProcess(options=["--fault", '{"fault": "fail_requests", "status": 502}']) as other:
        code, lines = run(tmp_path, "run", **server(other.url))
    assert code == 69
    assert len(lines) == 1
    assert other.url in lines[0]


def test_a_server_that_does_not_answer_in_the_time_set(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        code, lines = run(tmp_path, "run", FTRACKD_SERVER__READ_TIMEOUT_S="0.1", **server(url))
    assert code == 69
    assert len(lines) == 1
    assert url in lines[0]


def test_a_server_that_does_not_answer_keeps_nobody_from_stopping(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        variables = {**os.environ, "FTRACKD_DAEMON__STATE_DIR": str(tmp_path), **server(url)}
        command = [sys.executable, "-m", "ftrackd", "run"]
        with subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL) as daemon:
            asking = silent.accept()[0]
            daemon.terminate()
            assert daemon.wait(30) == 0, "long before the time for an answer is over"
            asking.close()


def test_a_wrong_key(tmp_path: Path, sandbox: SandboxProcess) -> None:
    code, lines = run(tmp_path, "run", **server(sandbox.url, sandbox.api_user))
    assert code == 77
    assert len(lines) == 1
    assert sandbox.api_user in lines[0]
    assert "canary-key" not in lines[0]


def test_an_unreadable_configuration(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "run", "--config", str(tmp_path))
    assert code == 2
    assert len(lines) == 1
    assert str(tmp_path) in lines[0]


def test_an_unknown_setting(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[hub]\nreconect_attempts = 3\n")
    code, lines = run(tmp_path, "run", "--config", str(file))
    assert code == 2
    assert len(lines) == 1
    assert (
        f"{file}, line 2: hub.reconect_attempts: no such setting (did you mean reconnect_attempts" in lines[0]
    )


def test_a_plugin_path_that_is_not_there(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "run", "--plugins", str(tmp_path / "none"), **server("http://127.0.0.1:9"))
    assert code == 2
    assert "no such file or folder" in lines[0]


def test_a_state_folder_that_cannot_be_made(tmp_path: Path, sandbox: SandboxProcess) -> None:
    (tmp_path / "file").write_text("")
    code, lines = run(
        tmp_path / "file" / "state", "run", **server(sandbox.url, sandbox.api_user, sandbox.api_key)
    )
    assert code == 1
    assert "daemon.state_dir" in lines[-1]


def test_a_metrics_port_that_is_taken(tmp_path: Path, sandbox: SandboxProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, lines = run(
            tmp_path,
            "run",
            FTRACKD_DAEMON__METRICS_PORT=str(port),
            **server(sandbox.url, sandbox.api_user, sandbox.api_key),
        )
    assert code == 1
    assert lines == [f"ftrackd: daemon.metrics_port: port {port} of 127.0.0.1: Address already in use"]
    assert not (tmp_path / "control.sock").exists()


def test_a_journal_of_a_newer_version_is_refused_for_good(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Exit code 2 keeps a service manager from starting it again and again."""
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as journal:
        journal.execute("CREATE TABLE later (it TEXT)")
        journal.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        journal.execute("PRAGMA user_version = 999")
    before = (tmp_path / "journal.sqlite").read_bytes()
    code, lines = run(tmp_path, "run", **server(sandbox.url, sandbox.api_user, sandbox.api_key))
    assert code == 2
    assert len(lines) == 1
    assert "written by a newer ftrackd (schema 999" in lines[0]
    assert (tmp_path / "journal.sqlite").read_bytes() == before


def test_a_second_daemon_on_the_same_state(tmp_path: Path, sandbox: SandboxProcess) -> None:
    from ftrackd.testing.daemon import DaemonProcess

    plugins = tmp_path / "plugins"
    plugins.mkdir()
    with DaemonProcess(sandbox, [plugins]) as first:
        code, lines = run(first.state_dir, "run", **server(sandbox.url, sandbox.api_user, sandbox.api_key))
        assert first.status()["state"] == "live"
    assert code == 1
    assert len(lines) == 1
