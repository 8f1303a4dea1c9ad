"""Which custom attributes an entity has, for entities that the server does not know yet."""

from __future__ import annotations

from typing import Any

_EXPRESSION = (
    "select key, project_id, id, object_type_id, entity_type, is_hierarchical, default "
    "from CustomAttributeConfiguration"
)

#: Families of entity types in which hierarchical attributes are inherited.
_HIERARCHICAL_FAMILIES = frozenset({"asset", "assetversion", "show", "task"})

_FAMILIES = {
    "Asset": "asset",
    "AssetVersion": "assetversion",
    "AssetVersionList": "list",
    "Project": "show",
    "TypedContextList": "list",
    "User": "user",
}


def configurations(session: Any) -> list[Any]:
    """Return all configurations of custom attributes, asked for once until the session is reset."""
    if session._custom_attribute_configurations is None:
        session._custom_attribute_configurations = session.query(_EXPRESSION).all()
    return list(session._custom_attribute_configurations)


def applicable(entity: Any) -> list[Any]:
    """Return the configurations that apply to `entity`; those of its project come before global ones.

    ValueError when entities of its type have no custom attributes.
    """
    object_type_id = entity["object_type_id"] if entity.attributes.get("object_type_id") else None
    family = "task" if object_type_id else _FAMILIES.get(entity.entity_type)
    if family is None:
        raise ValueError(f"Entities of type {entity.entity_type} have no custom attributes.")
    project_id = _project_id(entity)
    found = []
    for configuration in configurations(entity.session):
        if configuration["project_id"] not in {None, project_id}:
            continue
        hierarchical = configuration["is_hierarchical"] and family in _HIERARCHICAL_FAMILIES
        own_type = configuration["entity_type"] == family and configuration["object_type_id"] == (
            object_type_id or None
        )
        if hierarchical or own_type:
            found.append(configuration)
    found.sort(key=lambda configuration: configuration["project_id"] is None)
    return found


def _project_id(entity: Any) -> Any:
    """Return the id of the project of `entity` as far as it is known here, or None."""
    if entity.entity_type == "Project":
        return entity["id"]
    names = entity.attributes
    if names.get("project_id") and (project_id := entity["project_id"]):
        return project_id
    if names.get("project") and (project := entity["project"]):
        return project["id"]
    if names.get("parent") and (parent := entity["parent"]):
        return _project_id(parent)
    return None


def configuration_of(entity: Any, key: str) -> Any:
    """Return the configuration of the custom attribute `key` of `entity`; ValueError when it has none."""
    configured: list[Any] = []
    for attempt in range(2):
        configured = applicable(entity)
        for configuration in configured:
            if configuration["key"] == key:
                return configuration
        if attempt == 0:
            # It may have been configured since we asked.
            entity.session._custom_attribute_configurations = None
    known = ", ".join(sorted({str(configuration["key"]) for configuration in configured})) or "none"
    raise ValueError(f"{entity.entity_type} has no custom attribute {key!r}; it has: {known}.")
