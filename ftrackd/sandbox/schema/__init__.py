"""Entity types of the sandbox: the model, the declarations and the tables they stand on.

``build_schema(object_types)`` gives the :class:`Schema`, ``metadata()`` the tables to create. The query
compiler needs nothing else: see :mod:`ftrackd.sandbox.schema.model`.
"""

from __future__ import annotations

from ftrackd.sandbox.schema.build import ObjectType, build_schema, object_type_name
from ftrackd.sandbox.schema.model import (
    NO_DEFAULT,
    Attribute,
    Collection,
    Computed,
    Criterion,
    EntityType,
    Join,
    Mapped,
    Reference,
    Scalar,
    Schema,
    Through,
    ValueType,
    VariableColumns,
)
from ftrackd.sandbox.schema.tables import metadata, table

__all__ = [
    "NO_DEFAULT",
    "Attribute",
    "Collection",
    "Computed",
    "Criterion",
    "EntityType",
    "Join",
    "Mapped",
    "ObjectType",
    "Reference",
    "Scalar",
    "Schema",
    "Through",
    "ValueType",
    "VariableColumns",
    "build_schema",
    "metadata",
    "object_type_name",
    "table",
]
