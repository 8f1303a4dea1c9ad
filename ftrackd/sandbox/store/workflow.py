"""Which statuses, types and priorities a project offers, from its project schema."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa

from ftrackd.sandbox.schema import table
from ftrackd.sandbox.schema.build import NO_PRIORITY_ID, TASK_ID


@dataclass(slots=True)
class Workflow:
    """The choices of one project schema, the first of each being what new entities get."""

    task_status: str | None = None
    version_status: str | None = None
    any_status: str | None = None
    task_type: str | None = None
    any_type: str | None = None
    first_priority: str | None = None
    has_neutral_priority: bool = False
    statuses: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    #: First status of tasks of a type with a workflow of its own.
    overrides: dict[str, str] = field(default_factory=dict)

    @property
    def first_version_status(self) -> str | None:
        """Status of a new version."""
        return self.version_status or self.any_status

    def first_status(self, object_type_id: str | None, type_id: str | None) -> str | None:
        """Status of a new context of an object type, for tasks also by their type."""
        if object_type_id == TASK_ID:
            return self.overrides.get(type_id or "") or self.task_status or self.any_status
        return self.statuses.get(object_type_id or "") or self.any_status

    def first_type(self, object_type_id: str | None) -> str | None:
        """Type of a new context of an object type."""
        if object_type_id == TASK_ID:
            return self.task_type or self.any_type
        return self.types.get(object_type_id or "") or self.any_type


def read_workflow(connection: sa.Connection, project_schema_id: str | None) -> Workflow:
    """The choices of *project_schema_id*; without one, of the whole installation."""
    workflow = Workflow()
    status, kind, priority = table("status"), table("type"), table("priority")
    workflow.any_status = connection.execute(
        sa.select(status.c.id).order_by(status.c.sort, status.c.name).limit(1)
    ).scalar()
    workflow.any_type = connection.execute(
        sa.select(kind.c.id).order_by(kind.c.sort, kind.c.name).limit(1)
    ).scalar()
    priorities = connection.execute(sa.select(priority.c.id).order_by(priority.c.sort.desc())).scalars().all()
    workflow.has_neutral_priority = NO_PRIORITY_ID in priorities
    workflow.first_priority = priorities[0] if priorities else None
    schema = table("project_schema")
    row = connection.execute(sa.select(schema).where(schema.c.id == project_schema_id)).mappings().first()
    if row is not None:
        workflow.task_status = _first_workflow_status(connection, row["task_workflow_schema_id"])
        workflow.version_status = _first_workflow_status(connection, row["asset_version_workflow_schema_id"])
        workflow.task_type = _first_task_type(connection, row["task_type_schema_id"])
        _read_object_types(connection, row["id"], workflow)
        _read_overrides(connection, row["id"], workflow)
    return workflow


def _first_workflow_status(connection: sa.Connection, workflow_schema_id: str | None) -> str | None:
    status, member = table("status"), table("workflow_schema_status")
    return connection.execute(
        sa.select(status.c.id)
        .join(member, member.c.status_id == status.c.id)
        .where(member.c.workflow_schema_id == workflow_schema_id)
        .order_by(status.c.sort, status.c.name)
        .limit(1)
    ).scalar()


def _first_task_type(connection: sa.Connection, task_type_schema_id: str | None) -> str | None:
    kind, member = table("type"), table("task_type_schema_type")
    return connection.execute(
        sa.select(kind.c.id)
        .join(member, member.c.type_id == kind.c.id)
        .where(member.c.task_type_schema_id == task_type_schema_id)
        .order_by(kind.c.sort, kind.c.name)
        .limit(1)
    ).scalar()


def _read_object_types(connection: sa.Connection, project_schema_id: str, workflow: Workflow) -> None:
    schema = table("schema")
    for name, column, found in (
        ("schema_status", "status_id", workflow.statuses),
        ("schema_type", "type_id", workflow.types),
    ):
        member = table(name)
        rows = connection.execute(
            sa.select(schema.c.type_id, member.c[column])
            .join(member, member.c.schema_id == schema.c.id)
            .where(schema.c.project_schema_id == project_schema_id)
            .order_by(schema.c.type_id, member.c.sort)
        )
        for object_type_id, value in rows:
            found.setdefault(object_type_id, value)


def _read_overrides(connection: sa.Connection, project_schema_id: str, workflow: Workflow) -> None:
    override = table("project_schema_override")
    rows = connection.execute(
        sa.select(override.c.type_id, override.c.workflow_schema_id).where(
            override.c.project_schema_id == project_schema_id
        )
    ).all()
    for type_id, workflow_schema_id in rows:
        status_id = _first_workflow_status(connection, workflow_schema_id)
        if type_id is not None and status_id is not None:
            workflow.overrides[type_id] = status_id
