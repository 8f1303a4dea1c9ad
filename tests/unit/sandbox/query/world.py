"""A small production, written straight into the tables, for tests of the query language alone.

::

    Project alpha ── Sequence sq010 ── Shot sh010 ── Task anim, Task comp
                  │                 └─ Shot sh020 ── Task anim2
                  └─ AssetBuild hero ── Task model
    Project beta  ── Shot lone
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from ftrackd.sandbox.schema.build import ObjectType, build_schema
from ftrackd.sandbox.schema.model import Schema
from ftrackd.sandbox.schema.tables import create_tables, table

OBJECT_TYPES = {"Task": "ot-task", "Shot": "ot-shot", "Sequence": "ot-sequence", "Asset Build": "ot-build"}


def make_schema() -> Schema:
    return build_schema([ObjectType(key, name) for name, key in OBJECT_TYPES.items()])


def insert(connection: sa.Connection, name: str, *rows: dict[str, Any]) -> None:
    """Insert rows that may have different columns."""
    for row in rows:
        connection.execute(sa.insert(table(name)).values(**row))


def populate(connection: sa.Connection) -> None:
    create_tables(connection)
    _populate_workflow(connection)
    _populate_people(connection)
    _populate_contexts(connection)
    _populate_assets(connection)
    _populate_notes(connection)
    _populate_custom_attributes(connection)


def _populate_workflow(connection: sa.Connection) -> None:
    insert(
        connection,
        "state",
        {"id": "state-busy", "name": "In progress", "short": "IN_PROGRESS"},
        {"id": "state-done", "name": "Done", "short": "DONE"},
    )
    insert(
        connection,
        "status",
        {"id": "st-wip", "name": "In progress", "state_id": "state-busy", "sort": 1, "is_active": True},
        {"id": "st-ok", "name": "Approved", "state_id": "state-done", "sort": 2, "is_active": True},
    )
    insert(
        connection,
        "priority",
        {"id": "pr-high", "name": "High", "sort": 1, "value": 10.0},
        {"id": "pr-none", "name": "None", "sort": 4, "value": 0.0},
    )
    insert(
        connection, "type", {"id": "ty-anim", "name": "Animation"}, {"id": "ty-comp", "name": "Compositing"}
    )
    insert(connection, "object_type", *({"id": key, "name": name} for name, key in OBJECT_TYPES.items()))
    insert(connection, "scope", {"id": "sc-main", "name": "main"}, {"id": "sc-extra", "name": "extra"})
    insert(connection, "setting", {"name": "storage_scenario", "group": "STORAGE", "value": "{}"})


def _populate_people(connection: sa.Connection) -> None:
    insert(
        connection,
        "resource",
        {
            "id": "u-jane",
            "resource_type": "user",
            "username": "jane.doe@studio.com",
            "first_name": "Jane",
            "last_name": "Doe",
            "is_active": True,
        },
        {"id": "u-tom", "resource_type": "user", "username": "tom", "first_name": "Tom", "is_active": False},
        {"id": "g-anim", "resource_type": "group", "name": "Animators"},
    )
    insert(connection, "membership", {"id": "m1", "group_id": "g-anim", "user_id": "u-jane"})


def _context(key: str, kind: str, parent: str | None, project: str, **values: Any) -> dict[str, Any]:
    if kind == "Project":
        return {"id": key, "context_type": "show", "parent_id": None, "project_id": project, **values}
    return {
        "id": key,
        "context_type": "task",
        "object_type_id": OBJECT_TYPES[kind],
        "parent_id": parent,
        "project_id": project,
        **values,
    }


def _populate_contexts(connection: sa.Connection) -> None:
    wip = {"status_id": "st-wip", "priority_id": "pr-none"}
    contexts = [
        _context("p-alpha", "Project", None, "p-alpha", name="alpha", full_name="Alpha", status="active"),
        _context("p-beta", "Project", None, "p-beta", name="beta", full_name="Beta", status="hidden"),
        _context("c-sq010", "Sequence", "p-alpha", "p-alpha", name="sq010"),
        _context("c-sh010", "Shot", "c-sq010", "p-alpha", name="sh010", **wip),
        _context("c-sh020", "Shot", "c-sq010", "p-alpha", name="sh020", **wip),
        _context("c-hero", "Asset Build", "p-alpha", "p-alpha", name="hero"),
        _context("c-lone", "Shot", "p-beta", "p-beta", name="lone"),
        _context(
            "t-anim",
            "Task",
            "c-sh010",
            "p-alpha",
            name="anim",
            type_id="ty-anim",
            bid=3600.0,
            sort=1.0,
            status_id="st-ok",
            priority_id="pr-high",
            start_date="2026-01-10T00:00:00",
            end_date="2026-01-20T18:30:00",
            description='say "hi" it\'s C:\\temp 100%',
        ),
        _context(
            "t-comp", "Task", "c-sh010", "p-alpha", name="comp", type_id="ty-comp", bid=0.0, sort=2.0, **wip
        ),
        _context("t-anim2", "Task", "c-sh020", "p-alpha", name="Anim2", type_id="ty-anim", bid=7200.0, **wip),
        _context("t-model", "Task", "c-hero", "p-alpha", name="model"),
    ]
    insert(connection, "context", *contexts)
    parents = {row["id"]: row["parent_id"] for row in contexts}
    for key in parents:
        current: str | None = key
        depth = 0
        while current is not None:
            relation = "self" if depth == 0 else "ancestor"
            insert(
                connection,
                "lineage",
                {"context_id": key, "ancestor_id": current, "relation": relation, "depth": depth},
            )
            current, depth = parents[current], depth + 1
    insert(connection, "context_scope", {"context_id": "t-anim", "scope_id": "sc-main"})
    insert(connection, "context_scope", {"context_id": "t-comp", "scope_id": "sc-main"})
    insert(connection, "context_scope", {"context_id": "t-comp", "scope_id": "sc-extra"})
    insert(
        connection,
        "appointment",
        {"id": "a1", "type": "assignment", "resource_id": "u-jane", "context_id": "t-anim"},
        {"id": "a2", "type": "assignment", "resource_id": "g-anim", "context_id": "t-comp"},
        {"id": "a3", "type": "allocation", "resource_id": "u-tom", "context_id": "t-comp"},
    )
    insert(
        connection,
        "timelog",
        {
            "id": "l1",
            "context_id": "t-anim",
            "user_id": "u-jane",
            "start": "2026-01-11T09:00:00",
            "duration": 60.0,
        },
        {
            "id": "l2",
            "context_id": "t-anim",
            "user_id": "u-tom",
            "start": "2026-01-12T09:00:00",
            "duration": 30.0,
        },
    )
    insert(
        connection,
        "metadata",
        {"parent_id": "t-anim", "parent_type": "Task", "key": "k", "value": "v"},
        {"parent_id": "t-anim", "parent_type": "Task", "key": "other", "value": "w"},
        {"parent_id": "t-comp", "parent_type": "Task", "key": "k", "value": "w"},
        {"parent_id": "u-jane", "parent_type": "User", "key": "k", "value": "v"},
    )
    insert(connection, "typed_context_link", {"id": "tl1", "from_id": "t-anim", "to_id": "t-comp"})


def _populate_assets(connection: sa.Connection) -> None:
    insert(connection, "component", {"id": "co-thumb", "name": "thumbnail", "system_type": "file", "size": 5})
    insert(
        connection, "asset", {"id": "as-geo", "name": "geo", "context_id": "c-sh010", "project_id": "p-alpha"}
    )
    insert(
        connection, "asset", {"id": "as-tex", "name": "tex", "context_id": "c-hero", "project_id": "p-alpha"}
    )
    for number in (1, 2, 10):
        insert(
            connection,
            "asset_version",
            {
                "id": f"v-geo{number}",
                "asset_id": "as-geo",
                "version": number,
                "project_id": "p-alpha",
                "task_id": "t-anim" if number == 10 else None,
                "is_published": number != 2,
                "comment": "",
                "date": f"2026-02-{number:02d}T12:00:00",
                "user_id": "u-jane",
                "thumbnail_id": "co-thumb" if number == 10 else None,
            },
        )
    insert(
        connection,
        "component",
        {"id": "co-main", "name": "main", "system_type": "sequence", "version_id": "v-geo10", "padding": 4},
        {
            "id": "co-0001",
            "name": "0001",
            "system_type": "file",
            "container_id": "co-main",
            "file_type": ".exr",
        },
        {
            "id": "co-0002",
            "name": "0002",
            "system_type": "file",
            "container_id": "co-main",
            "file_type": ".exr",
        },
    )
    insert(connection, "location", {"id": "loc-disk", "name": "studio.disk"})
    insert(
        connection,
        "component_location",
        {"id": "cl1", "component_id": "co-main", "location_id": "loc-disk", "resource_identifier": "a/b"},
    )
    insert(
        connection,
        "list",
        {"id": "li-dailies", "name": "dailies", "system_type": "assetversion", "project_id": "p-alpha"},
    )
    insert(connection, "list_object", {"id": "lo1", "list_id": "li-dailies", "entity_id": "v-geo10"})


def _populate_notes(connection: sa.Connection) -> None:
    insert(
        connection,
        "note",
        {"id": "n1", "parent_id": "t-anim", "parent_type": "Task", "content": "first", "user_id": "u-jane"},
        {
            "id": "n2",
            "parent_id": "v-geo10",
            "parent_type": "AssetVersion",
            "content": "second",
            "user_id": "u-tom",
        },
        {"id": "n3", "in_reply_to_id": "n1", "content": "reply", "user_id": "u-tom"},
    )
    insert(
        connection,
        "status_change",
        {"id": "ch1", "parent_id": "t-anim", "parent_type": "task", "status_id": "st-ok"},
        {"id": "ch2", "parent_id": "v-geo10", "parent_type": "assetversion", "status_id": "st-wip"},
    )


def _configuration(key: str, default: Any, **values: Any) -> dict[str, Any]:
    return {
        "id": f"cf-{key}",
        "key": key,
        "kind": "attribute",
        "entity_type": "task",
        "object_type_id": OBJECT_TYPES["Task"],
        "is_hierarchical": False,
        **_variable("default", default),
        **values,
    }


def _variable(column: str, value: Any) -> dict[str, Any]:
    number = float(value) if isinstance(value, int | float) else None
    text = (
        ", ".join(value) if isinstance(value, list) else str(int(value) if isinstance(value, bool) else value)
    )
    return {column: json.dumps(value), f"{column}_text": text, f"{column}_number": number}


def _populate_custom_attributes(connection: sa.Connection) -> None:
    hierarchical = {"is_hierarchical": True, "entity_type": "show", "object_type_id": None}
    insert(
        connection,
        "custom_attribute_configuration",
        _configuration("frames", 100),
        _configuration("tags", ["none"]),
        _configuration("ready", False),
        _configuration("fps", 24, **hierarchical),
        {
            "id": "cf-supervisor",
            "key": "supervisor",
            "kind": "link",
            "entity_type": "task",
            "entity_type_to": "user",
            "object_type_id": OBJECT_TYPES["Task"],
        },
    )

    def value(key: str, entity_id: str, content: Any) -> dict[str, Any]:
        return {"configuration_id": f"cf-{key}", "entity_id": entity_id, **_variable("value", content)}

    insert(
        connection,
        "custom_attribute_value",
        value("frames", "t-anim", 12),
        value("tags", "t-anim", ["hair", "cloth"]),
        value("ready", "t-anim", True),
        value("fps", "c-sq010", 30),
    )
    insert(
        connection,
        "custom_attribute_link",
        {
            "id": "cal1",
            "configuration_id": "cf-supervisor",
            "from_id": "t-anim",
            "from_entity_type": "Task",
            "from_kind": "context",
            "to_id": "u-jane",
            "to_entity_type": "User",
            "to_kind": "user",
        },
    )
