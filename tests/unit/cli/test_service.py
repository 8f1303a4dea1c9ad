"""Service definitions."""

import json
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ftrackd.cli import service_units
from ftrackd.cli.app import app
from ftrackd.cli.service_commands import describe
from ftrackd.daemon.errors import DaemonError
from ftrackd.errors import FtrackdError, SettingsError

ROOT = Path(__file__).resolve().parents[3]


def test_the_packaged_units_are_what_the_command_renders() -> None:
    assert (ROOT / "systemd/ftrackd.service").read_text() == service_units.system_unit()
    assert (ROOT / "systemd/ftrackd@.service").read_text() == service_units.template_unit()
    packaged = plistlib.loads((ROOT / "systemd/com.ftrackd.daemon.plist").read_bytes())
    assert packaged["ProgramArguments"][1] == "run"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this machine")
@pytest.mark.parametrize("name", ["ftrackd.service", "ftrackd@.service"])
def test_systemd_accepts_the_units(name: str, tmp_path: Path) -> None:
    text = (ROOT / "systemd" / name).read_text().replace(service_units.SYSTEM_COMMAND, "/bin/true")
    unit = tmp_path / name
    unit.write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert "Unknown" not in result.stderr
    assert name not in result.stderr


def test_the_user_service_needs_no_root(tmp_path: Path) -> None:
    service = describe(user=True, platform="linux", home=tmp_path)
    assert service.file == tmp_path / ".config/systemd/user/ftrackd.service"
    assert "\nUser=" not in service.text
    assert service.enable[-1][:2] == ["systemctl", "--user"]


def test_macos_gets_a_property_list(tmp_path: Path) -> None:
    service = describe(user=True, platform="darwin", home=tmp_path)
    parsed = plistlib.loads(service.text.encode())
    assert parsed["KeepAlive"] == {"SuccessfulExit": False}
    assert parsed["ProgramArguments"][1:3] == ["run", "--config"]


def test_another_platform_is_told() -> None:
    with pytest.raises(DaemonError, match="win32"):
        describe(user=True, platform="win32")


def test_programs_get_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".config/systemd/user/ftrackd.service"

    def ask(*arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, [*arguments, "--json"])
        assert result.exit_code == 0
        answer: dict[str, Any] = json.loads(result.output)
        return answer

    shown = ask("service", "show")
    assert shown["file"] == str(file)
    assert ask("service", "install", "--no-start") == {"written": str(file), "started": False}
    assert file.read_text() == shown["text"]
    assert ask("config", "init", str(tmp_path / "c.toml")) == {"written": str(tmp_path / "c.toml")}
    assert ask("config", "init", "--stdout")["text"] == (tmp_path / "c.toml").read_text()


def test_a_service_without_a_configuration_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "etc"))
    result = CliRunner().invoke(app, ["service", "install"])
    assert isinstance(result.exception, SettingsError)
    config = tmp_path / "etc/ftrackd/config.toml"
    assert f"`ftrackd config init {config}` writes" in str(result.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", ["echo 'Failed to connect to bus' >&2; exit 1", None])
def test_a_service_is_uninstalled_also_when_systemctl_fails_or_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    if script is not None:
        (tmp_path / "bin/systemctl").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin/systemctl").chmod(0o755)
    file = tmp_path / ".config/systemd/user/ftrackd.service"
    assert CliRunner().invoke(app, ["service", "install", "--no-start"]).exit_code == 0
    result = CliRunner().invoke(app, ["service", "uninstall"])
    assert result.stdout == f"removed {file}\n"
    assert not file.exists()
    assert isinstance(result.exception, DaemonError)
    failed = "systemctl is not on this machine" if script is None else "Failed to connect to bus"
    assert str(result.exception).count(failed) == 2
    assert "removed all the same" in str(result.exception)


@pytest.mark.parametrize(
    "command", [["config", "init", "file/made.py"], ["new", "made", "--folder", "file"]], ids=lambda c: c[0]
)
def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, FtrackdError)
    assert "file/made.py: cannot be written" in str(result.exception)
