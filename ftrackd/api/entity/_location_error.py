"""The errors of adding components to a location, in words that say what is left and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftrackd.api.exception import Error, LocationError

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity
    from ftrackd.api.entity.location import Location

#: Components that were copied completely, each with its resource identifier.
Transferred = Sequence[tuple["Entity", str]]


def transfer_failed(
    location: Location, component: Entity, error: Exception, transferred: Transferred
) -> LocationError:
    """Return the error for *component*, whose data could not be copied because of *error*."""
    return LocationError(
        "Failed to transfer component {component} to location {location}: {reason}\n"
        "Nothing was registered. The data of {count} components was copied completely before and is taken "
        "over when they are added again.",
        details={
            "component": component,
            "location": location,
            "error": error,
            "reason": _describe(error),
            "transferred": list(transferred),
            "count": len(transferred),
        },
    )


def registration_failed(
    location: Location, count: int, error: Exception, transferred: Transferred
) -> LocationError:
    """Return the error for *count* components that were copied and could not be registered."""
    return LocationError(
        "Registering {count} components in location {location} failed: {reason}\n"
        "Their data is complete and is taken over when they are added again.",
        details={
            "count": count,
            "location": location,
            "error": error,
            "reason": _describe(error),
            "transferred": list(transferred),
        },
    )


def occupied(resource_identifier: str, holders: Sequence[str]) -> LocationError:
    """Return the error for a place that has data already: that of the components *holders*, if any."""
    occupant = f"the data of component {holders[0]}" if holders else "other data, which no component has,"
    return LocationError(
        "Cannot add the component: {occupant} is at {resource_identifier} and would be lost. "
        "Remove it, or use a structure that gives every component its own identifier.",
        details={"occupant": occupant, "resource_identifier": resource_identifier},
    )


def _describe(error: Exception) -> str:
    """Return the text of *error*, with its class where the text alone says little, such as ``'name'``."""
    return str(error) if isinstance(error, Error | OSError) else f"{type(error).__name__}: {error}"
