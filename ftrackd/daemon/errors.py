"""What can stop or refuse the daemon, each with its exit code."""

from __future__ import annotations

from enum import IntEnum

from ftrackd.errors import FtrackdError


class ExitCode(IntEnum):
    """Exit codes of ``ftrackd``; 69 and 77 are sysexits.h's EX_UNAVAILABLE and EX_NOPERM."""

    STOPPED = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 69
    REFUSED = 77


class DaemonError(FtrackdError):
    """The daemon cannot start or go on. ``exit_code`` is what the process ends with."""

    exit_code: ExitCode = ExitCode.FAILED


class ServerUnreachableError(DaemonError):
    """The server does not answer, or what answers is no ftrack server."""

    exit_code = ExitCode.UNREACHABLE


class CredentialsRefusedError(DaemonError):
    """The server knows no such user and API key."""

    exit_code = ExitCode.REFUSED


class MissingServerError(DaemonError):
    """No server, user or key is set."""

    exit_code = ExitCode.USAGE


class AlreadyRunningError(DaemonError):
    """Another daemon uses the same state folder."""


class ControlError(DaemonError):
    """The running daemon cannot be asked: it is not there, or it answered with an error."""
