"""Components, and thumbnails made of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ftrackd.api import symbol
from ftrackd.api.entity.base import Entity, _EntityBase


class Component(Entity):
    """A component: a file, a sequence of files or another container of components."""

    __slots__ = ()

    def get_availability(self, locations: Sequence[Entity] | None = None) -> dict[str, float]:
        """Return ``{location id: percentage}``, for *locations* or for all.

        A container is as available as its members are on average.
        """
        availability: dict[str, float] = self.session.get_component_availability(self, locations=locations)
        return availability


class CreateThumbnailMixin(_EntityBase):
    """Makes thumbnails, for entities with a ``thumbnail_id``."""

    __slots__ = ()

    def create_thumbnail(self, path: str | os.PathLike[str], data: Mapping[str, Any] | None = None) -> Entity:
        """Make the image at *path* the thumbnail and return its component.

        *data* are further attributes of the component, which is called ``thumbnail`` unless they say
        otherwise. The image goes to the server; the session is committed. Raises ``LocationError`` when
        the image cannot be uploaded; the entity then keeps the thumbnail it has.
        """
        entity: Any = self
        session = entity.session
        server_location = session.get("Location", symbol.SERVER_LOCATION_ID)
        # Adding commits: the component must exist on the server before the entity may refer to it.
        component: Entity = session.create_component(
            path, {"name": "thumbnail", **(data or {})}, location=server_location
        )
        entity["thumbnail_id"] = component["id"]
        session.commit()
        return component
