"""The root of every error this project raises.

Each room derives its own errors from :class:`FtrackdError` next to the code that raises them::

    FtrackdError
    ├── SettingsError                        a setting is missing, unknown or wrong
    ├── UsageError                           a command was given what it cannot make sense of
    ├── ftrackd.api.exception.Error          everything the client library raises
    ├── ftrackd.hosting.errors.HostingError  plugins that cannot be found, trusted, loaded or kept alive
    ├── ftrackd.delivery.errors.DeliveryError  the journal, claims and outcomes
    ├── ftrackd.daemon.errors.DaemonError    boot, readiness and control
    └── ftrackd.sandbox.errors.SandboxError  what the sandbox answers to a client, or cannot start with
"""

from __future__ import annotations


class FtrackdError(Exception):
    """Anything that ftrackd itself reports as wrong."""


class SettingsError(FtrackdError):
    """A setting is missing, unknown or has a value that cannot be used."""


class UsageError(FtrackdError):
    """A command was given what it cannot make sense of."""
