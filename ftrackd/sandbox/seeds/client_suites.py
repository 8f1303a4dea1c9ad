"""Rows that test suites of clients expect on any server: project, user, location, custom attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.schema import table
from ftrackd.sandbox.seeds.ids import seed_id
from ftrackd.sandbox.seeds.installation import (
    CUSTOM_ATTRIBUTE_TYPE_IDS,
    OBJECT_TYPE_IDS,
    PROJECT_SCHEMA,
    TYPE_IDS,
    user_row,
)

if TYPE_CHECKING:
    from ftrackd.sandbox.store.transaction import Transaction

USER: Final = "d07ae5d0-66e1-11e1-b5e9-f23c91df25eb"
PROJECT: Final = "5671dcb0-66de-11e1-8e6e-f23c91df25eb"
TASK: Final = "adb4ad6c-7679-11e2-8df2-f23c91df25eb"
MAIN_USER_NAME: Final = "demo"

#: (key, type, entity_type, object type, default, config, is hierarchical)
_CONFIGURATIONS: Final[tuple[tuple[str, str, str, str | None, Any, str, bool], ...]] = (
    ("customNumber", "number", "task", "Task", 0, '{"isdecimal": false}', False),
    ("NumberField", "number", "assetversion", None, 0, '{"isdecimal": false}', False),
    ("versiontest", "text", "assetversion", None, "", '{"markdown": false}', False),
    ("fstart", "number", "task", "Shot", 1, '{"isdecimal": false}', False),
    ("htest", "text", "show", None, "", '{"markdown": false}', True),
    ("listbool", "boolean", "list", None, False, "{}", False),
    ("teststring", "text", "user", None, "", '{"markdown": false}', False),
)


def plant(transaction: Transaction) -> None:
    """Write the rows."""
    connection = transaction.connection
    connection.execute(table("resource").insert().values(user_row(USER, MAIN_USER_NAME, "Demo", "User")))
    transaction.actor = Actor(USER, MAIN_USER_NAME, "Demo User")
    transaction.create("Location", {"id": seed_id("Location", "test.location"), "name": "test.location"})
    group_id = seed_id("CustomAttributeGroup", "Studio")
    transaction.create("CustomAttributeGroup", {"id": group_id, "name": "Studio"})
    for sort, row in enumerate(_CONFIGURATIONS):
        configure(transaction, group_id, sort, *row)
    transaction.create(
        "Project",
        {
            "id": PROJECT,
            "name": "client_tests",
            "full_name": "Client tests",
            "project_schema_id": PROJECT_SCHEMA,
        },
    )
    shot_id = seed_id("Shot", "client_tests", "SH010")
    transaction.create("Shot", {"id": shot_id, "name": "SH010", "parent_id": PROJECT})
    transaction.create(
        "Task", {"id": TASK, "name": "animation", "parent_id": shot_id, "type_id": TYPE_IDS["Animation"]}
    )


def configure(
    transaction: Transaction,
    group_id: str,
    sort: int,
    key: str,
    type_name: str,
    entity_type: str,
    object_type: str | None,
    default: Any,
    config: str,
    is_hierarchical: bool,
) -> str:
    """Create a custom attribute; return the id of its configuration."""
    configuration_id = seed_id("CustomAttributeConfiguration", entity_type, object_type or "", key)
    transaction.create(
        "CustomAttributeConfiguration",
        {
            "id": configuration_id,
            "key": key,
            "label": key,
            "type_id": CUSTOM_ATTRIBUTE_TYPE_IDS[type_name],
            "entity_type": entity_type,
            "object_type_id": OBJECT_TYPE_IDS[object_type] if object_type else None,
            "default": default,
            "config": config,
            "is_hierarchical": is_hierarchical,
            "group_id": group_id,
            "sort": sort,
        },
    )
    return configuration_id
