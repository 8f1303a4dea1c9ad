"""What hosting reports as wrong."""

from __future__ import annotations

from pathlib import Path

from ftrackd.errors import FtrackdError


class HostingError(FtrackdError):
    """Anything wrong with finding, trusting, loading or keeping alive a plugin."""


class UntrustedPathError(HostingError):
    """Somebody else may change code that would be loaded; ``path`` is what they may write."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} {reason}; nothing is loaded from there. Take the permission away "
            "(chmod go-w, chown) or set hosting.allow_unsafe_paths = true."
        )
        self.path = path
        self.reason = reason


class LinkError(HostingError):
    """The connection between the main process and a plugin process carried something unreadable."""


class UnknownPluginError(HostingError):
    """No plugin of that name is hosted."""


class PluginNotRunningError(HostingError):
    """The plugin runs no process at this moment, so nothing was delivered to it."""


class TemplateError(HostingError):
    """The process that plugin processes are forked from could not be started."""
