"""The declarations as clients read them: the JSON of ``query_schemas``."""

from __future__ import annotations

import json
from typing import Any

from ftrackd.sandbox.schema.declaration import Declaration, Property, lineage
from ftrackd.sandbox.schema.model import NO_DEFAULT, ValueType


def type_to_json(name: str) -> dict[str, Any]:
    """The schema of the declared type *name*."""
    line = lineage(name)
    declaration = line[-1]
    properties: dict[str, Property] = {}
    for member in line:
        properties.update(member.properties)
    key = _inherited(line, "key") or ["id"]
    form: dict[str, Any] = {"id": name}
    if not declaration.has("typeless"):
        form["type"] = "object"
    form["properties"] = {attribute.name: property_to_json(attribute) for attribute in properties.values()}
    form["primary_key"] = key
    form["required"] = _marked(line, properties, "required")
    form["immutable"] = _marked(line, properties, "immutable")
    if listed := _marked(line, properties, "computed"):
        form["computed"] = listed
    form["default_projections"] = _inherited(line, "default") or key
    system = _inherited(line, "system")
    if system is not None:
        form["system_projections"] = system
    if legacy := declaration.words("legacy"):
        form["alias_for"] = _alias(legacy)
    if declaration.base is not None:
        form["$mixin"] = _mixin(declaration)
    if any(member.has("groupable") for member in line):
        form["metadata"] = {"group_by": True}
    return form


def property_to_json(attribute: Property) -> dict[str, Any]:
    """The schema of one attribute."""
    form: dict[str, Any] = {}
    if attribute.kind == "reference":
        form["$ref"] = attribute.target
    elif attribute.kind == "collection":
        form |= {"type": "array", "items": {"$ref": attribute.stated_target}}
    elif attribute.kind == "mapped":
        form |= {"type": "mapped_array", "items": {"$ref": attribute.stated_target}}
        if attribute.name.startswith("custom_attribute_links"):
            form["restricted_projection"] = True
        else:
            form["key_value_attributes"] = {"key": "key", "value": "value"}
    else:
        form |= _scalar_to_json(attribute)
    if attribute.legacy_name is not None:
        form["alias_for"] = attribute.legacy_name
    return form


def _scalar_to_json(attribute: Property) -> dict[str, Any]:
    form: dict[str, Any] = {"type": str(attribute.value_type)}
    if attribute.builder is not None and attribute.builder.endswith("url"):
        form["type"] = "object"
    if attribute.value_type is ValueType.DATETIME:
        form |= {"type": "string", "format": "date-time"}
    if attribute.format is not None:
        form["format"] = attribute.format
    if attribute.foreign_key is not None:
        form |= {"format": "foreign_key", "description": f"Foreign key(s): {attribute.foreign_key}"}
    if attribute.default is not NO_DEFAULT:
        form["default"] = attribute.default
    if attribute.is_entity_type:
        form["transform"] = {"client": "{schema_id}", "server": "{table_name}"}
    if attribute.choices:
        form["enum"] = list(attribute.choices)
    return form


def _inherited(line: list[Declaration], directive: str) -> list[str] | None:
    for declaration in reversed(line):
        if (words := declaration.words(directive)) is not None:
            return list(words)
    return None


def _marked(line: list[Declaration], properties: dict[str, Property], mark: str) -> list[str]:
    names = [name for name, attribute in properties.items() if getattr(attribute, f"is_{mark}")]
    listed = [name for declaration in line for name in declaration.words(mark) or ()]
    return names + [name for name in listed if name not in names]


def _alias(words: tuple[str, ...]) -> Any:
    if len(words) == 1:
        return words[0]
    return {"id": words[0], "classifiers": dict(pair.split("=") for pair in words[1:])}


def _mixin(declaration: Declaration) -> dict[str, Any]:
    mixin: dict[str, Any] = {"$ref": declaration.base}
    if hints := declaration.directives.get("hint"):
        mixin["hints"] = json.loads(hints[0])
    return mixin
