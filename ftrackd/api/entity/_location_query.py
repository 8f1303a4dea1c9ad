"""What locations ask the server, in few calls however many components there are."""

# ruff: noqa: S608 - these are ftrack queries, not SQL, and every value in them is quoted

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ftrackd.api._expression import quoted
from ftrackd.api.exception import NetworkError, ServerError

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity

#: Ids per query, which keeps its text below the size that proxies let through.
_IDS_PER_QUERY: Final = 1000
#: As with ids; these are paths, and longer.
_RESOURCE_IDENTIFIERS_PER_QUERY: Final = 250


def find_resource_identifiers(location: Entity, components: Sequence[Entity]) -> dict[str, str]:
    """Return ``{component id: resource identifier}`` as stored for those that are in *location*."""
    rows = _query_by_ids(
        location.session,
        "select component_id, resource_identifier from ComponentLocation "
        f"where location_id is {quoted(location['id'])} and component_id in",
        _get_ids(components),
    )
    return {row["component_id"]: row["resource_identifier"] for row in rows}


def find_component_locations(location: Entity, components: Sequence[Entity]) -> list[Entity]:
    """Return the records that say that *components* are in *location*."""
    rows = _query_by_ids(
        location.session,
        "select component_id, location_id from ComponentLocation "
        f"where location_id is {quoted(location['id'])} and component_id in",
        _get_ids(components),
    )
    return list(rows)


def exist(session: Any, rows: Sequence[Entity]) -> bool:
    """Return whether the server is known to have all of the *rows*, which this session wanted to create."""
    try:
        found = _query_by_ids(session, "select id from ComponentLocation where id in", _get_ids(rows))
        return bool(rows) and {row["id"] for row in found} == set(_get_ids(rows))
    except (NetworkError, ServerError):
        return False


def find_identifier_holders(location: Entity, resource_identifiers: Sequence[str]) -> dict[str, list[str]]:
    """Return ``{stored resource identifier: ids of the components whose data in *location* is there}``."""
    found: dict[str, list[str]] = {}
    for row in _query_by_ids(
        location.session,
        "select component_id, resource_identifier from ComponentLocation "
        f"where location_id is {quoted(location['id'])} and resource_identifier in",
        resource_identifiers,
        _RESOURCE_IDENTIFIERS_PER_QUERY,
    ):
        found.setdefault(row["resource_identifier"], []).append(row["component_id"])
    return found


def find_locations_of(
    session: Any, components: Iterable[str], locations: Sequence[Entity]
) -> dict[str, set[str]]:
    """Return ``{component id: ids of those of *locations* that have it}``; other components are left out."""
    location_ids = ", ".join(quoted(location["id"]) for location in locations)
    found: dict[str, set[str]] = {}
    for row in _query_by_ids(
        session,
        "select component_id, location_id from ComponentLocation "
        f"where location_id in ({location_ids}) and component_id in",
        components,
    ):
        found.setdefault(row["component_id"], set()).add(row["location_id"])
    return found


def find_members(session: Any, containers: Iterable[str]) -> dict[str, list[str]]:
    """Return ``{container id: ids of its members}``; containers without members are left out."""
    found: dict[str, list[str]] = {}
    for row in _query_by_ids(
        session, "select id, container_id from Component where container_id in", containers
    ):
        found.setdefault(row["container_id"], []).append(row["id"])
    return found


def _get_ids(components: Sequence[Entity]) -> list[str]:
    return [component["id"] for component in components]


def _query_by_ids(
    session: Any, expression: str, identifiers: Iterable[str], at_once: int = _IDS_PER_QUERY
) -> Iterator[Entity]:
    """Yield the answers to *expression*, which ends in ``in``, for *identifiers*."""
    unique = list(dict.fromkeys(identifiers))
    for start in range(0, len(unique), at_once):
        listed = ", ".join(quoted(identifier) for identifier in unique[start : start + at_once])
        # A page that cannot be full: a full one is followed by a question for the next.
        yield from session.query(f"{expression} ({listed})", page_size=at_once + 1)
