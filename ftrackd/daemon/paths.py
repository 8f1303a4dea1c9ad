"""Where the daemon keeps its files."""

from __future__ import annotations

from pathlib import Path

from ftrackd.settings import DaemonSettings, DeliverySettings


def control_socket(daemon: DaemonSettings) -> Path:
    """Return the control socket's path."""
    return daemon.control_socket or daemon.state_dir / "control.sock"


def journal_file(daemon: DaemonSettings, delivery: DeliverySettings) -> Path:
    """Return the journal's path."""
    return delivery.journal or daemon.state_dir / "journal.sqlite"
