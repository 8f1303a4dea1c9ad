"""The storage scenario of one disk that everybody mounts: what it does in a session, and its registration."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ftrackd.api.accessor.disk import DiskAccessor
from ftrackd.api.exception import LocationError
from ftrackd.api.logging import LazyLogMessage as L
from ftrackd.api.structure.standard import StandardStructure

if TYPE_CHECKING:
    from ftrackd.api.event.base import Event
    from ftrackd.api.session import Session

#: How the server names this scenario.
scenario_name: Final = "ftrack.centralized-storage"

#: Above every other location: the studio decided that its data is here.
_PRIORITY: Final = 1


class ActivateCentralizedStorageScenario:
    """Gives the scenario's location an accessor and a structure."""

    def __init__(self) -> None:
        self.logger = logging.getLogger(f"ftrack_api.{__name__.rpartition('.')[2]}.{type(self).__name__}")
        self.session: Session | None = None

    def register(self, session: Session) -> None:
        """Listen in *session* for the scenario's activation and for Connect asking whether it works."""
        self.session = session
        session.event_hub.subscribe(
            f'topic=ftrack.storage-scenario.activate and data.storage_scenario.scenario="{scenario_name}"',
            self.activate,
        )
        session.event_hub.subscribe(
            f'topic=ftrack.connect.verify-startup and data.storage_scenario.scenario="{scenario_name}"',
            self._verify_startup,
        )

    def activate(self, event: Event) -> None:
        """Configure the location that *event* describes; raises ``LocationError`` if it cannot be used."""
        assert self.session is not None
        data = event["data"]["storage_scenario"].get("data") or {}
        prefix = _get_mount_point(data)
        try:
            identity = {"name": data["location_name"], "id": data["location_id"]}
        except KeyError as error:
            raise LocationError(_describe_problem(f"{error} is missing")) from error
        location = self.session.create("Location", identity, reconstructing=True)
        location.accessor = DiskAccessor(prefix=prefix)
        location.structure = StandardStructure()
        location.priority = _PRIORITY
        self.logger.info(
            L("Storage scenario activated. Configured {0} from the centralized storage scenario.", location)
        )

    def _verify_startup(self, event: Event) -> str | None:
        """Return why the storage cannot be used on this machine, or None when it can."""
        data = event["data"]["storage_scenario"].get("data") or {}
        try:
            prefix = _get_mount_point(data)
        except LocationError as error:
            return str(error)
        if not os.path.isdir(prefix):
            return (
                f"The centralized storage is not available: {prefix} does not exist or is not mounted on "
                "this machine. Mount it, or change the mount point in the storage settings of ftrack."
            )
        return None


def __getattr__(name: str) -> Any:
    # The forms are only needed where somebody configures a server.
    if name == "ConfigureCentralizedStorageScenario":
        from ftrackd.api._centralized_storage_configuration import ConfigureCentralizedStorageScenario

        return ConfigureCentralizedStorageScenario
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_platform_name() -> str:
    """Return what mount points for this machine are filed under: ``linux``, ``osx`` or ``windows``."""
    return {"darwin": "osx", "win32": "windows"}.get(sys.platform, "linux")


def register(session: Session) -> None:
    """Make *session* configure the location of the centralized storage, when the server has that scenario."""
    ActivateCentralizedStorageScenario().register(session)


def register_configuration(session: Session) -> None:
    """Make *session* offer and answer the forms that configure the scenario, for its own user."""
    from ftrackd.api._centralized_storage_configuration import ConfigureCentralizedStorageScenario

    ConfigureCentralizedStorageScenario().register(session)


def _get_mount_point(data: Mapping[str, Any]) -> str:
    """Return the folder of the storage on this platform; raises ``LocationError`` when there is none."""
    platform = get_platform_name()
    try:
        mount_point = data["accessor"]["mount_points"][platform]
    except (KeyError, TypeError) as error:
        raise LocationError(_describe_problem(f"{error} is missing")) from error
    if not mount_point:
        raise LocationError(_describe_problem(f"it has no mount point for {platform}"))
    return str(mount_point)


def _describe_problem(reason: str) -> str:
    return (
        f"Unable to read the configuration of the centralized storage scenario: {reason}. "
        "Configure it in the storage settings of ftrack."
    )
