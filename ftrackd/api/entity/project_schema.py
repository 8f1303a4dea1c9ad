"""Project schemas: which statuses and types a project offers."""

from __future__ import annotations

from typing import Any

from ftrackd.api._expression import quoted, select
from ftrackd.api.entity.base import Entity


class ProjectSchema(Entity):
    """The workflow of a project."""

    def get_statuses(self, schema: str, type_id: str | None = None) -> list[Any]:
        """Return the valid statuses for entities of the type `schema`, for Tasks of the type `type_id` if
        given.

        ValueError when `schema` has no statuses here.
        """
        if schema == "Task":
            if type_id is not None:
                for override in self["_overrides"]:
                    if override["type_id"] == type_id:
                        return list(override["workflow_schema"]["statuses"])
            return list(self["_task_workflow"]["statuses"])
        if schema == "AssetVersion":
            return list(self["_version_workflow"]["statuses"])
        found = self._schema_of(schema)
        if found is None:
            raise ValueError(f"Schema {schema} does not have statuses.")
        rows = self.session.query(
            select("task_status", "SchemaStatus", f"schema_id is {quoted(found['id'])}")
        )
        return [row["task_status"] for row in rows]

    def get_types(self, schema: str) -> list[Any]:
        """Return the valid types for entities of the type `schema`; ValueError when it has none here."""
        if schema == "Task":
            return list(self["_task_type_schema"]["types"])
        found = self._schema_of(schema)
        if found is None:
            raise ValueError(f"Schema {schema} does not have types.")
        rows = self.session.query(select("task_type", "SchemaType", f"schema_id is {quoted(found['id'])}"))
        return [row["task_type"] for row in rows]

    def _schema_of(self, entity_type: str) -> Any:
        """Return the Schema of this project schema for `entity_type`, or None."""
        try:
            entity_class = self.session.types[entity_type]
        except KeyError:
            raise ValueError(f"Schema {entity_type} does not exist.") from None
        attribute = entity_class.attributes.get("object_type_id")
        if attribute is None:
            return None
        object_type_id = attribute.default_value
        for found in self["_schemas"]:
            if found["type_id"] == object_type_id:
                return found
        return None
