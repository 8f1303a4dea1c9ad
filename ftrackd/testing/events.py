"""Builders of event payloads in the form that the server and the web interface send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Change = tuple[Any, Any]
"""Old and new value."""

_PROJECT: Final = ("project",)
_CONTEXT: Final = ("context",)
_PARENT: Final = ("parent",)
#: The relations that lead from an entity to the one above it, where that is not ``parent``.
_ABOVE: Final[Mapping[str, tuple[str, ...]]] = {
    "Appointment": _CONTEXT,
    "AssetVersion": ("asset",),
    "AssetVersionList": _PROJECT,
    "CalendarEvent": _PROJECT,
    "ContainerComponent": ("version", "container"),
    "FileComponent": ("version", "container"),
    "ListObject": ("list",),
    "Manager": _CONTEXT,
    "Membership": ("group",),
    "ReviewSession": _PROJECT,
    "ReviewSessionInvitee": ("review_session",),
    "ReviewSessionObject": ("review_session",),
    "ReviewSessionObjectStatus": ("review_session_object",),
    "SequenceComponent": ("version", "container"),
    "Timelog": _CONTEXT,
    "Timer": _CONTEXT,
    "TypedContextLink": ("to",),
    "TypedContextList": _PROJECT,
    "UserSecurityRole": ("user",),
    "UserSecurityRoleProject": ("user_security_role",),
}


def selection_of(entities: Sequence[Any]) -> list[dict[str, str]]:
    """Return the ``selection`` of an action event for these entities.

    Items are ``{"entityId", "entityType"}`` with the lower-case legacy type: ``task`` for everything below a
    project, ``show`` for a project.
    """
    return [
        {
            "entityId": _identifier(entity),
            "entityType": legacy_type(entity.session.schemas, entity.entity_type),
        }
        for entity in entities
    ]


def update_data(
    entities: Sequence[Any], changes: Mapping[str, Change] | None = None, action: str = "update"
) -> dict[str, Any]:
    """Return the ``data`` of an ``ftrack.update`` that says that these entities changed.

    ``changes`` maps attribute names (of the API or legacy) to old and new value.
    """
    described = [_entity_change(entity, changes or {}, action) for entity in entities]
    parents = {parent["entityId"] for change in described for parent in change["parents"]}
    session = entities[0].session
    user = session.query(f'User where username is "{session.api_user}"').first()
    name = f"{user['first_name'] or ''} {user['last_name'] or ''}".strip() if user else ""
    return {
        "entities": described,
        "parents": sorted(parents),
        "user": {"userid": user["id"] if user else None, "name": name or session.api_user},
    }


def discover_data(entities: Sequence[Any]) -> dict[str, Any]:
    """Return the ``data`` of ``ftrack.action.discover`` for a selection."""
    return {"selection": selection_of(entities)}


def launch_data(
    identifier: str, entities: Sequence[Any], values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the ``data`` of ``ftrack.action.launch``; ``values`` are those of a submitted form."""
    data: dict[str, Any] = {"actionIdentifier": identifier, "selection": selection_of(entities)}
    if values is not None:
        data["values"] = dict(values)
    return data


def legacy_type(schemas: Sequence[Mapping[str, Any]], entity_type: str) -> str:
    """Return the lower-case legacy name of a type: its alias's table, else its own name.

    Components of every kind are ``component``.
    """
    schema: Mapping[str, Any] = next((schema for schema in schemas if schema["id"] == entity_type), {})
    alias = schema.get("alias_for")
    if isinstance(alias, Mapping):
        alias = alias.get("id")
    if alias is None and entity_type.endswith("Component") and "system_type" in schema.get("properties", {}):
        alias = "component"
    return str(alias or entity_type).lower()


def legacy_name(schemas: Sequence[Mapping[str, Any]], entity_type: str, attribute: str) -> str:
    """Return the lower-case legacy name of an attribute, as ``keys`` and ``changes`` use it."""
    schema = next((schema for schema in schemas if schema["id"] == entity_type), None)
    described = schema["properties"].get(attribute, {}) if schema else {}
    return str(described.get("alias_for") or attribute).lower()


def _entity_change(entity: Any, changes: Mapping[str, Change], action: str) -> dict[str, Any]:
    schemas = entity.session.schemas
    named = {legacy_name(schemas, entity.entity_type, name): pair for name, pair in changes.items()}
    parents = _parents(entity)
    change = {
        "entity_type": entity.entity_type,
        "entityType": legacy_type(schemas, entity.entity_type),
        "entityId": _identifier(entity),
        "action": action,
        "keys": sorted(named),
        "changes": {name: {"old": old, "new": new} for name, (old, new) in named.items()},
        "parents": parents,
        "parentId": parents[0]["parentId"],
    }
    if _has(entity, "object_type_id"):
        change["objectTypeId"] = entity["object_type_id"]
    return change


def _parents(entity: Any) -> list[dict[str, Any]]:
    chain = [entity]
    while (above := _above(chain[-1])) is not None:
        chain.append(above)
    schemas = entity.session.schemas
    return [
        {
            "entityId": _identifier(link),
            "entityType": legacy_type(schemas, link.entity_type),
            "entity_type": link.entity_type,
            "parentId": _identifier(chain[position + 1]) if position + 1 < len(chain) else None,
        }
        for position, link in enumerate(chain)
    ]


def _above(entity: Any) -> Any:
    """Return the entity above *entity*, None for a project and for what is in none."""
    for name in _ABOVE.get(entity.entity_type, _PARENT):
        if _has(entity, name) and entity[name]:
            return entity[name]
    if _has(entity, "parent_type") and entity["parent_id"]:
        # What can be about anything (notes, metadata) names the type beside the id.
        return entity.session.get(entity["parent_type"], entity["parent_id"])
    return None


def _has(entity: Any, name: str) -> bool:
    return name in entity.keys()  # noqa: SIM118 - `in entity` reads the attribute


def _identifier(entity: Any) -> str:
    return str(entity[entity.primary_key_attributes[0]])
