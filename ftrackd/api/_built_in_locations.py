"""The locations that every session has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ftrackd.api import mixin, symbol
from ftrackd.api.accessor.base import Accessor
from ftrackd.api.accessor.disk import DiskAccessor
from ftrackd.api.accessor.server import _ServerAccessor
from ftrackd.api.entity.location import OriginLocationMixin, ServerLocationMixin, UnmanagedLocationMixin
from ftrackd.api.structure.base import Structure
from ftrackd.api.structure.entity_id import EntityIdStructure
from ftrackd.api.structure.origin import OriginStructure


@dataclass(frozen=True, slots=True)
class _BuiltInLocation:
    identifier: str
    name: str
    mixin: type
    class_name: str
    accessor: Accessor
    structure: Structure
    priority: int


def configure(session: Any) -> None:
    """Configure the built-in locations of *session*, without asking the server."""
    for built_in in _describe(session):
        location = session.create(
            "Location", {"name": built_in.name, "id": built_in.identifier}, reconstructing=True
        )
        mixin(location, built_in.mixin, name=built_in.class_name)
        location.accessor = built_in.accessor
        location.structure = built_in.structure
        location.priority = built_in.priority


def _describe(session: Any) -> tuple[_BuiltInLocation, ...]:
    anywhere = DiskAccessor(prefix="")
    return (
        _BuiltInLocation(
            symbol.ORIGIN_LOCATION_ID,
            "ftrack.origin",
            OriginLocationMixin,
            "OriginLocation",
            anywhere,
            OriginStructure(),
            100,
        ),
        _BuiltInLocation(
            symbol.UNMANAGED_LOCATION_ID,
            "ftrack.unmanaged",
            UnmanagedLocationMixin,
            "UnmanagedLocation",
            anywhere,
            OriginStructure(),
            90,
        ),
        _BuiltInLocation(
            symbol.REVIEW_LOCATION_ID,
            "ftrack.review",
            UnmanagedLocationMixin,
            "UnmanagedLocation",
            anywhere,
            OriginStructure(),
            110,
        ),
        _BuiltInLocation(
            symbol.SERVER_LOCATION_ID,
            "ftrack.server",
            ServerLocationMixin,
            "ServerLocation",
            _ServerAccessor(session=session),
            EntityIdStructure(),
            150,
        ),
    )
