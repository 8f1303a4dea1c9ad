"""``ftrackd run``: settings, the embedded sandbox, the log, and then the daemon."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import typer

from ftrackd.daemon.errors import ExitCode, MissingServerError
from ftrackd.errors import SettingsError
from ftrackd.settings import Settings
from ftrackd.settings_file import load

if TYPE_CHECKING:
    from ftrackd.daemon.signals import EarlyStop

log = structlog.stdlib.get_logger("ftrackd")


def run_daemon(
    plugins: list[Path], config: Path | None, *, sandbox: bool, in_process: bool, log_level: str | None
) -> None:
    """Run the daemon and exit with its code.

    Raises SettingsError, or a DaemonError for a server that is missing, unreachable or refuses us.
    """
    overrides: dict[str, Any] = {}
    if plugins:
        overrides.setdefault("hosting", {})["plugin_paths"] = [_existing(path) for path in plugins]
    if in_process:
        overrides.setdefault("hosting", {})["in_process"] = True
    if log_level:
        overrides.setdefault("logging", {})["level"] = log_level
    from ftrackd.daemon.signals import StoppedEarly, ignore_signals, stopping_early

    try:
        with stopping_early() as early, _sandbox(overrides, early) if sandbox else contextlib.nullcontext():
            exit_code = _run_configured(config, overrides, sandbox=sandbox)
    except StoppedEarly:
        exit_code = ExitCode.STOPPED
    ignore_signals()
    raise typer.Exit(int(exit_code))


def _run_configured(config: Path | None, overrides: dict[str, Any], *, sandbox: bool) -> ExitCode:
    loaded = load(config, overrides)
    _require_server(loaded.settings)
    _configure_log(loaded.settings)
    for warning in loaded.warnings:
        log.warning(warning)
    if sandbox:
        _announce_sandbox(loaded.settings)
    from ftrackd.daemon.daemon import Daemon

    return Daemon(loaded.settings, lends_credentials=sandbox).run()


def _existing(path: Path) -> Path:
    if not path.exists():
        raise SettingsError(f"--plugins {path}: no such file or folder")
    return path.absolute()


def _require_server(settings: Settings) -> None:
    server = settings.server
    missing = [
        variable
        for variable, value in (
            ("FTRACK_SERVER", server.url),
            ("FTRACK_API_USER", server.api_user),
            ("FTRACK_API_KEY", server.api_key),
        )
        if not value
    ]
    if missing:
        raise MissingServerError(
            f"no server: set {', '.join(missing)} (`ftrackd config init` writes a file that can hold them),\n"
            "or run `ftrackd run --sandbox` to try everything on an embedded server with demo data"
        )


@contextlib.contextmanager
def _sandbox(overrides: dict[str, Any], early: EarlyStop) -> Iterator[None]:
    from ftrackd.testing.sandbox import SandboxProcess

    process = SandboxProcess(seed="demo")
    with contextlib.ExitStack() as stack:
        with early.held():
            # The journal belongs to one server's events; the sandbox forgets its own when it ends, and so
            # do we.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ftrackd-"))
            stack.callback(process.stop)
            process.launch()
        stack.callback(early.ends)
        process.wait_until_ready()
        overrides["server"] = {
            "url": process.url,
            "api_user": process.api_user,
            "api_key": process.api_key,
        }
        overrides.setdefault("delivery", {})["journal"] = Path(folder) / "journal.sqlite"
        yield


def _announce_sandbox(settings: Settings) -> None:
    log.info("sandbox ready", url=settings.server.url, user=settings.server.api_user)


def _configure_log(settings: Settings) -> None:
    from ftrackd.daemon.log import configure_logging
    from ftrackd.daemon.redaction import Redactor

    secrets = [settings.server.api_key, settings.sentry.dsn]
    try:
        configure_logging(
            settings.logging, Redactor(secret.get_secret_value() for secret in secrets if secret is not None)
        )
    except OSError as error:
        raise SettingsError(f"logging.file: {settings.logging.file}: {error.strerror}") from error
