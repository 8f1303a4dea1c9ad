"""What makes the built-in locations differ from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ftrackd.api import _transfer
from ftrackd.api.entity.base import _EntityBase
from ftrackd.api.exception import ComponentNotInLocationError

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity


class MemoryLocationMixin(_EntityBase):
    """Keeps in memory, instead of on the server, which components are here."""

    __slots__ = ()

    #: How many registrations of earlier calls are kept: a service may make components for months.
    registration_limit: ClassVar[int] = 100_000

    @property
    def _registrations(self) -> dict[str, str]:
        # Mixed into instances that exist already, so that there is no constructor to make this in.
        registrations: dict[str, str] = self.__dict__.setdefault("_registered_identifiers", {})
        return registrations

    def _register_components_in_location(
        self, components: Sequence[Entity], resource_identifiers: Sequence[str]
    ) -> None:
        registrations = self._registrations
        while len(registrations) > self.registration_limit:
            del registrations[next(iter(registrations))]
        for component, identifier in zip(components, resource_identifiers, strict=True):
            self._register_component_in_location(component, identifier)

    def _register_component_in_location(self, component: Entity, resource_identifier: str) -> None:
        # Taken out first, so that the oldest registration is always the first one.
        self._registrations.pop(component["id"], None)
        self._registrations[component["id"]] = resource_identifier

    def _deregister_component_in_location(self, component: Entity) -> None:
        self._registrations.pop(component["id"], None)

    def _get_resource_identifiers(self, components: Sequence[Entity]) -> list[str]:
        registrations = self._registrations
        missing = [component for component in components if component["id"] not in registrations]
        if missing:
            raise ComponentNotInLocationError(missing, self)
        return [registrations[component["id"]] for component in components]


class UnmanagedLocationMixin(_EntityBase):
    """Leaves data where it is."""

    __slots__ = ()

    def _add_data(self, component: Entity, resource_identifier: str, source: Any) -> None:
        """Do nothing: the data is somebody else's."""

    def _remove_data(self, component: Entity) -> None:
        """Do nothing: the data is somebody else's."""


class OriginLocationMixin(MemoryLocationMixin, UnmanagedLocationMixin):
    """Where data is before it comes into a location; the source of a component is its path."""

    __slots__ = ()

    def _get_context(self, component: Entity, source: Any) -> dict[str, Any]:
        return {"source_resource_identifier": source}


class ServerLocationMixin(_EntityBase):
    """The location on the ftrack server."""

    __slots__ = ()

    def get_thumbnail_url(self, component: Entity, size: int | None = None) -> str:
        """Return the URL of a picture of *component*, at most *size* pixels wide and high.

        It holds the API key of the session: hand it to programs, do not log or store it.
        """
        location: Any = self
        identifier = location.get_resource_identifier(component)
        url: str = _transfer.require(location, "accessor").get_thumbnail_url(identifier, size)
        return url
