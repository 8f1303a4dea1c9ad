"""Who runs: finding, loading, supervising and reloading plugins, each in its own process.

Names are resolved on first use: a plugin process imports modules of this room, and needs few of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftrackd.hosting.checking import CheckResult as CheckResult
    from ftrackd.hosting.checking import check as check
    from ftrackd.hosting.errors import HostingError as HostingError
    from ftrackd.hosting.errors import LinkError as LinkError
    from ftrackd.hosting.errors import PluginNotRunningError as PluginNotRunningError
    from ftrackd.hosting.errors import TemplateError as TemplateError
    from ftrackd.hosting.errors import UnknownPluginError as UnknownPluginError
    from ftrackd.hosting.errors import UntrustedPathError as UntrustedPathError
    from ftrackd.hosting.host import Host as Host
    from ftrackd.hosting.model import Acknowledge as Acknowledge
    from ftrackd.hosting.model import Bootstrap as Bootstrap
    from ftrackd.hosting.model import HostedDelivery as HostedDelivery
    from ftrackd.hosting.model import HostedOutcome as HostedOutcome
    from ftrackd.hosting.model import HostListener as HostListener
    from ftrackd.hosting.model import PluginStatus as PluginStatus
    from ftrackd.hosting.model import PluginSubscription as PluginSubscription
    from ftrackd.hosting.model import RunningCallback as RunningCallback
    from ftrackd.hosting.model import ServerAccess as ServerAccess

_HOMES = {
    "CheckResult": "checking",
    "Host": "host",
    "check": "checking",
    **dict.fromkeys(
        (
            "HostingError",
            "LinkError",
            "PluginNotRunningError",
            "TemplateError",
            "UnknownPluginError",
            "UntrustedPathError",
        ),
        "errors",
    ),
    **dict.fromkeys(
        (
            "Acknowledge",
            "Bootstrap",
            "HostListener",
            "HostedDelivery",
            "HostedOutcome",
            "PluginStatus",
            "PluginSubscription",
            "RunningCallback",
            "ServerAccess",
        ),
        "model",
    ),
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - a list of names that the type checker also finds above


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
