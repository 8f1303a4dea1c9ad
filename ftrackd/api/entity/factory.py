"""Makes entity classes from schemas.

Plugins take part by a subscription to ``ftrack.api.session.construct-entity-type`` that returns a class,
usually made by a subclass of :class:`StandardFactory`.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ftrackd.api import attribute as _attribute
from ftrackd.api import cache as _cache
from ftrackd.api.entity import _custom_attribute
from ftrackd.api.entity import base as _base
from ftrackd.api.symbol import CREATED, NOT_SET

_SCALAR_TYPES = frozenset({"string", "boolean", "integer", "number", "variable", "object"})

#: Types with abilities of their own: by id, and by the end of the id.
_SPECIAL_BASES = {
    "ProjectSchema": ("project_schema", "ProjectSchema"),
    "Location": ("location", "Location"),
    "AssetVersion": ("asset_version", "AssetVersion"),
    "Note": ("note", "Note"),
    "Job": ("job", "Job"),
    "User": ("user", "User"),
}


class PerSessionDefaultKeyMaker(_cache.KeyMaker):
    """Makes keys that never mix two sessions: one object stands for itself, other items for their text."""

    item_separator = ";"

    def _key(self, obj: Any) -> str:
        if isinstance(obj, Mapping):
            return ",".join(f"{key}={self._key(value)}" for key, value in sorted(obj.items()))
        if isinstance(obj, (str, int, float, bool, type(None))):
            return repr(obj)
        return f"{type(obj).__name__}-{id(obj)}"


#: Remember results as long as the process lives.
memoise_defaults = _cache.memoise_decorator(_cache.Memoiser(return_copies=False))
memoise_session = _cache.memoise_decorator(
    _cache.Memoiser(key_maker=PerSessionDefaultKeyMaker(), return_copies=False)
)


def _new_id(entity: Any) -> str:
    # What str(uuid.uuid4()) gives, in half of its time.
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


class Factory:
    """Makes the class for a schema, with an attribute for each of its properties."""

    def __init__(self) -> None:
        super().__init__()
        self.logger = logging.getLogger(f"ftrack_api.entity.factory.{type(self).__name__}")

    def create(self, schema: Mapping[str, Any], bases: Iterable[type[Any]] | None = None) -> type[Any]:
        """Return the entity class for `schema`, derived from `bases` (default :class:`Entity`)."""
        class_name = str(schema["id"])
        class_bases = tuple(bases) if bases else (_base.Entity,)
        immutable = frozenset(schema.get("immutable", ()))
        computed = frozenset(schema.get("computed", ()))
        attributes = _attribute.Attributes()
        for name, fragment in schema.get("properties", {}).items():
            made = self._create_attribute(
                class_name, name, fragment, mutable=name not in immutable, computed=name in computed
            )
            if made:
                attributes.add(made)
        namespace = {
            "entity_type": class_name,
            "attributes": attributes,
            "primary_key_attributes": list(schema.get("primary_key", ())),
            "default_projections": list(schema.get("default_projections", ())),
            "__module__": __name__,
        }
        return _base.DynamicEntityTypeMetaclass(class_name, class_bases, namespace)

    def _create_attribute(
        self, class_name: str, name: str, fragment: Mapping[str, Any], *, mutable: bool, computed: bool
    ) -> _attribute.Attribute | None:
        data_type = fragment.get("type", NOT_SET)
        reference = fragment.get("$ref", NOT_SET)
        if fragment.get("restricted_projection"):
            return None
        if data_type in _SCALAR_TYPES:
            if data_type == "number":
                data_type = "float"
            elif data_type == "string" and fragment.get("format") == "date-time":
                data_type = "datetime"
            default = fragment.get("default", NOT_SET)
            if default == "{uid}":
                default = _new_id
            return self.create_scalar_attribute(class_name, name, mutable, computed, default, data_type)
        if data_type == "array":
            return self.create_collection_attribute(class_name, name, mutable)
        if data_type == "mapped_array":
            items = fragment.get("items", {}).get("$ref")
            if not items:
                return None
            return self.create_mapped_collection_attribute(class_name, name, mutable, items)
        if data_type is NOT_SET and reference is not NOT_SET:
            return self.create_reference_attribute(class_name, name, mutable, reference)
        self.logger.debug("Skipping %s.%s: its type %r is not known.", class_name, name, data_type)
        return None

    def create_scalar_attribute(
        self, class_name: str, name: str, mutable: bool, computed: bool, default: Any, data_type: str
    ) -> _attribute.Attribute | None:
        """Return the attribute for a plain value."""
        return _attribute.ScalarAttribute(
            name, data_type=data_type, default_value=default, mutable=mutable, computed=computed
        )

    def create_reference_attribute(
        self, class_name: str, name: str, mutable: bool, reference: str
    ) -> _attribute.Attribute | None:
        """Return the attribute for an entity of the type `reference`."""
        return _attribute.ReferenceAttribute(name, reference, mutable=mutable)

    def create_collection_attribute(
        self, class_name: str, name: str, mutable: bool
    ) -> _attribute.Attribute | None:
        """Return the attribute for a list of entities."""
        return _attribute.CollectionAttribute(name, mutable=mutable)

    def create_mapped_collection_attribute(
        self, class_name: str, name: str, mutable: bool, reference: str
    ) -> _attribute.Attribute | None:
        """Return the attribute for a mapping kept in entities of type `reference`, or None."""
        self.logger.debug("Skipping %s.%s: a mapping of %s is not known.", class_name, name, reference)
        return None


class StandardFactory(Factory):
    """Adds notes, thumbnails, locations, timers, metadata, custom attributes."""

    def create(self, schema: Mapping[str, Any], bases: Iterable[type[Any]] | None = None) -> type[Any]:
        """Return the entity class for `schema`; `bases` come after those that its type has."""
        class_bases = list(bases or ())
        special = self._special_base(str(schema["id"]))
        if special is not None:
            class_bases.insert(0, special)
        if not class_bases:
            class_bases = [_base.Entity]
        properties = schema.get("properties", {})
        if "notes" in properties:
            class_bases.append(_import("note", "CreateNoteMixin"))
        if "thumbnail_id" in properties:
            class_bases.append(_import("component", "CreateThumbnailMixin"))
        return super().create(schema, bases=class_bases)

    @staticmethod
    def _special_base(entity_type: str) -> type[Any] | None:
        if entity_type in _SPECIAL_BASES:
            return _import(*_SPECIAL_BASES[entity_type])
        if entity_type.endswith("Component"):
            return _import("component", "Component")
        return None

    def create_mapped_collection_attribute(
        self, class_name: str, name: str, mutable: bool, reference: str
    ) -> _attribute.Attribute | None:
        """Return the attribute for metadata or custom attributes."""
        if reference == "Metadata":
            creator = functools.partial(_create_metadata, class_name)
            return _attribute.KeyValueMappedCollectionAttribute(
                name, creator, "key", "value", mutable=mutable
            )
        if reference == "CustomAttributeValue":
            return _attribute.CustomAttributeCollectionAttribute(name, mutable=mutable)
        if reference.endswith("CustomAttributeValue"):
            dense = _attribute.KeyValueMappedCollectionAttribute(
                name, functools.partial(_create_custom_attribute, reference), "key", "value", mutable=mutable
            )
            dense.is_dense = True
            return dense
        return super().create_mapped_collection_attribute(class_name, name, mutable, reference)


def _import(module: str, name: str) -> type[Any]:
    # On first use: a session without notes or components never loads what they need.
    found: type[Any] = getattr(importlib.import_module(f"ftrackd.api.entity.{module}"), name)
    return found


def _create_metadata(class_name: str, proxy: Any, data: Mapping[str, Any]) -> Any:
    """Create the row for a new key of the metadata of the entity behind `proxy`."""
    owner = proxy.collection.entity
    return owner.session.create(
        "Metadata", {**data, "parent_id": owner["id"], "parent_type": owner.entity_type}
    )


def _create_custom_attribute(reference: str, proxy: Any, data: Mapping[str, Any]) -> Any:
    """Return the row for a custom attribute of the new entity behind `proxy`, its value set.

    The server makes the row itself when it creates the entity, so that only the value has to be sent.
    KeyError when the entity exists, because then all its keys are known; ValueError when no configuration
    has the key.
    """
    owner = proxy.collection.entity
    session = owner.session
    if session._state(owner) is not CREATED:
        raise KeyError(
            f"Custom attributes must be created explicitly: {data['key']!r} is not one of {owner}."
        )
    configuration = _custom_attribute.configuration_of(owner, data["key"])
    with session.operation_recording(False):
        row = session.create(
            reference,
            {"key": data["key"], "configuration_id": configuration["id"], "entity_id": owner["id"]},
            reconstructing=True,
        )
        proxy.collection.append(row)
    row["value"] = data["value"]
    return row
