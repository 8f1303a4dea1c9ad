"""Options that several commands share, and what they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ftrackd.daemon.control_client import ControlClient
    from ftrackd.settings_file import LoadedSettings

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Configuration file. Default: FTRACKD_CONFIG, then the platform's folders."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def loaded_settings(config: Path | None) -> LoadedSettings:
    """Return the settings in force; raises SettingsError."""
    from ftrackd.settings_file import load

    return load(config)


def control_client(config: Path | None) -> ControlClient:
    """Return a client of the daemon that these settings describe."""
    from ftrackd.daemon.control_client import ControlClient
    from ftrackd.daemon.paths import control_socket

    return ControlClient(control_socket(loaded_settings(config).settings.daemon))
