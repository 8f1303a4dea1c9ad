"""``ftrackd service``: run at boot or log-in, by systemd or launchd."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from ftrackd.cli import service_units
from ftrackd.cli.files import write_file
from ftrackd.cli.options import JsonOption
from ftrackd.cli.output import print_json
from ftrackd.daemon.errors import DaemonError
from ftrackd.errors import SettingsError

app = typer.Typer(help="Install ftrackd as a service of systemd or launchd.", no_args_is_help=True)

UserOption = Annotated[
    bool, typer.Option("--user/--system", help="For the present user, or for the whole machine (needs root).")
]


@dataclass(frozen=True, slots=True)
class Service:
    """A service definition: its file, its text, the configuration that the service reads, and the commands
    that switch it on and off.
    """

    file: Path
    text: str
    config: Path
    enable: list[list[str]]
    disable: list[list[str]]


def describe(*, user: bool, platform: str = sys.platform, home: Path | None = None) -> Service:
    """Return the service for this platform.

    Raises DaemonError on a platform without systemd or launchd.
    """
    home = home or Path.home()
    command = (
        str(Path(sys.argv[0]).resolve())
        if Path(sys.argv[0]).name == "ftrackd"
        else f"{sys.prefix}/bin/ftrackd"
    )
    if platform == "darwin":
        return _launchd(command, home)
    if not platform.startswith("linux"):
        raise DaemonError(
            f"no service definition for {platform}; run `ftrackd run` under its service manager"
        )
    config = _config_file() if user else Path(service_units.SYSTEM_CONFIG)
    if user:
        text = service_units.user_unit(command, str(config), str(config.with_name("environment")))
        file = home / ".config/systemd/user/ftrackd.service"
        scope = ["systemctl", "--user"]
    else:
        text = service_units.system_unit(command)
        file = Path("/etc/systemd/system/ftrackd.service")
        scope = ["systemctl"]
    return Service(
        file,
        text,
        config,
        enable=[[*scope, "daemon-reload"], [*scope, "enable", "--now", "ftrackd.service"]],
        disable=[[*scope, "disable", "--now", "ftrackd.service"], [*scope, "daemon-reload"]],
    )


def _config_file() -> Path:
    from ftrackd.settings_file import default_files

    return default_files()[0]


def _launchd(command: str, home: Path) -> Service:
    log = home / "Library/Logs/ftrackd.log"
    file = home / "Library/LaunchAgents/com.ftrackd.daemon.plist"
    config = _config_file()
    return Service(
        file,
        service_units.property_list(command, str(config), str(log)),
        config,
        enable=[["launchctl", "bootstrap", f"gui/{os.getuid()}", str(file)]],
        disable=[["launchctl", "bootout", f"gui/{os.getuid()}/com.ftrackd.daemon"]],
    )


@app.command()
def show(user: UserOption = True, as_json: JsonOption = False) -> None:
    """Print the service definition that ``install`` would write."""
    service = describe(user=user)
    if as_json:
        print_json(asdict(service))
        return
    print(f"# {service.file}")
    sys.stdout.write(service.text)


@app.command()
def install(
    user: UserOption = True,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Also enable and start it.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Write the service definition, enable and start it."""
    service = describe(user=user)
    if start and not service.config.exists():
        raise SettingsError(
            f"{service.config}: no such configuration file; the service reads it and not the variables "
            f"of your shell; `ftrackd config init {service.config}` writes a commented one"
        )
    write_file(service.file, service.text)
    if not as_json:
        print(f"wrote {service.file}")
    if start:
        _run_all(service.enable)
    if as_json:
        print_json({"written": service.file, "started": start})


@app.command()
def uninstall(user: UserOption = True, as_json: JsonOption = False) -> None:
    """Stop and disable the service and remove its definition, which is removed also when the rest fails."""
    service = describe(user=user)
    if not service.file.exists():
        raise DaemonError(f"{service.file}: no such service definition")
    failures = [_failure(command) for command in service.disable[:1]]
    service.file.unlink()
    failures += [_failure(command) for command in service.disable[1:]]
    failed = [failure for failure in failures if failure]
    if as_json:
        print_json({"removed": service.file, "failed": failed})
    else:
        print(f"removed {service.file}")
    if failed:
        raise DaemonError(
            "\n".join(
                [*failed, "its definition is removed all the same; look whether the service still runs"]
            )
        )


def _run_all(commands: list[list[str]]) -> None:
    for command in commands:
        if failure := _failure(command):
            raise DaemonError(f"{failure}\nthe service is installed, but not switched on")


def _failure(command: list[str]) -> str:
    """Run *command*; return what went wrong, empty for nothing."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"{command[0]} is not on this machine"
    if result.returncode == 0:
        return ""
    return f"`{' '.join(command)}` failed: {(result.stderr or result.stdout).strip()}"
