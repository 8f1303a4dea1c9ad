"""Fixtures of the daemon's tests: plugins on disk, what they wrote, and entities to change."""

import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftrackd.testing.daemon import DaemonProcess
from ftrackd.testing.sandbox import SandboxProcess

RECORDER = Path(__file__).with_name("recorder_plugin.py")


class Recording:
    """The recorder plugin in a folder of its own, and what it has handled."""

    def __init__(self, folder: Path) -> None:
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        self.file = folder / "recorded.jsonl"
        self.plugin = self.plugins / "recorder.py"
        shutil.copy(RECORDER, self.plugin)

    @property
    def environment(self) -> dict[str, str]:
        return {"RECORDER_FILE": str(self.file)}

    def lines(self) -> list[dict[str, Any]]:
        """What was recorded; a line that a kill cut counts as not recorded."""
        found = []
        for line in self.file.read_text().splitlines() if self.file.exists() else ():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found

    def numbers(self) -> list[int]:
        return [line["number"] for line in self.lines() if line["number"] is not None]

    def write_version(self, version: int) -> None:
        text = RECORDER.read_text().replace("VERSION = 1", f"VERSION = {version}")
        aside = self.plugin.with_suffix(".new")
        aside.write_text(text)
        aside.replace(self.plugin)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


@pytest.fixture
def run_daemon(sandbox: SandboxProcess, recording: Recording) -> Iterator[Callable[..., DaemonProcess]]:
    """Start daemons with the recorder plugin; all are ended afterwards."""
    daemons: list[DaemonProcess] = []

    def start(*, until_live: bool = True, **arguments: Any) -> DaemonProcess:
        arguments.setdefault("plugins", [recording.plugins])
        arguments.setdefault("environment", recording.environment)
        daemon = DaemonProcess(sandbox, **arguments)
        daemons.append(daemon)
        daemon.start(until_live=until_live)
        return daemon

    yield start
    for daemon in daemons:
        daemon.__exit__(None, None, None)


@pytest.fixture
def task(sandbox_session: Any) -> Any:
    """A task of its own for each test, under a shot of the demo production."""
    shot = sandbox_session.query("Shot").first()
    status = sandbox_session.query('Status where name is "Not started"').one()
    kind = sandbox_session.query("Type where name is Animation").first()
    name = f"task {uuid.uuid4().hex[:8]}"
    created = sandbox_session.create("Task", {"name": name, "parent": shot, "status": status, "type": kind})
    sandbox_session.commit()
    return created
