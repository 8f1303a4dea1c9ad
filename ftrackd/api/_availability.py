"""How available components are in locations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftrackd.api.entity import _location_query

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity


def compute(
    session: Any, component_ids: Sequence[str], locations: Sequence[Entity]
) -> list[dict[str, float]]:
    """Return ``{location id: percentage}`` for each of *component_ids*.

    Asks once per level of containers, and once for all records.
    """
    if not locations or not component_ids:
        return [{location["id"]: 0.0 for location in locations} for _ in component_ids]
    members = _find_members(session, component_ids)
    needed = {*component_ids, *(member for listed in members.values() for member in listed)}
    present = _location_query.find_locations_of(session, needed, locations)
    location_ids = [location["id"] for location in locations]
    known: dict[str, dict[str, float]] = {}
    availabilities = [
        _get_availability(component_id, members, present, location_ids, known)
        for component_id in component_ids
    ]
    return [{key: round(value, 9) for key, value in availability.items()} for availability in availabilities]


def _find_members(session: Any, component_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the members, and the members of those, of all that have any."""
    members: dict[str, list[str]] = {}
    level = set(component_ids)
    while level:
        found = _location_query.find_members(session, level)
        members.update(found)
        # A container that contains itself must not keep this going.
        level = {member for listed in found.values() for member in listed} - members.keys()
    return members


def _get_availability(
    component_id: str,
    members: dict[str, list[str]],
    present: dict[str, set[str]],
    location_ids: Sequence[str],
    known: dict[str, dict[str, float]],
) -> dict[str, float]:
    if component_id in known:
        return known[component_id]
    here = present.get(component_id, set())
    known[component_id] = {location_id: 100.0 if location_id in here else 0.0 for location_id in location_ids}
    listed = members.get(component_id)
    if listed:
        parts = [_get_availability(member, members, present, location_ids, known) for member in listed]
        known[component_id] = {
            location_id: sum(part[location_id] for part in parts) / len(parts) for location_id in location_ids
        }
    return known[component_id]
