"""Rows that every installation has: types, statuses, priorities, locations, roles and a project schema.

The ids are those of real installations, because clients know many of them by heart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from ftrackd.sandbox.schema import table
from ftrackd.sandbox.seeds.ids import seed_id

_STATUS: Final = "-4164-11df-9218-0019bb4983d8"
_TYPE: Final = "-13c6-11e3-abf2-f23c91dfaa16"
_PRIORITY: Final = "-ead3-11e2-846c-f23c91dfaa16"

NOT_STARTED: Final = f"44dd9fb2{_STATUS}"
IN_PROGRESS: Final = f"44ddd0fe{_STATUS}"
PENDING_REVIEW: Final = f"44dded64{_STATUS}"
APPROVED: Final = f"44de097a{_STATUS}"
ON_HOLD: Final = "a0bc2444-15e2-11e1-b21a-0019bb4983d8"
OMITTED: Final = "a0bc3f24-15e2-11e1-b21a-0019bb4983d8"
COMPLETED: Final = "9bb65936-88e7-11e3-9264-04011030cf01"
CLIENT_APPROVED: Final = "d5d6d8ca-ebb2-11e2-aef9-f23c91dfaa16"
AWAITING_APPROVAL: Final = seed_id("Status", "Awaiting approval")
NORMAL: Final = seed_id("Status", "Normal")
PENDING: Final = seed_id("Status", "Pending")

_STATE_NOT_STARTED: Final = "cea0ba04-acb5-11e1-8668-f23c91df1211"
_STATE_IN_PROGRESS: Final = "cea0efc4-acb5-11e1-8668-f23c91df1211"
_STATE_BLOCKED: Final = "5709c04e-2f4b-11e2-b663-0019bb4983d8"
_STATE_DONE: Final = "cea116d4-acb5-11e1-8668-f23c91df1211"

STATES: Final = (
    (_STATE_NOT_STARTED, "Not started", "NOT_STARTED"),
    (_STATE_IN_PROGRESS, "In progress", "IN_PROGRESS"),
    (_STATE_BLOCKED, "Blocked", "BLOCKED"),
    (_STATE_DONE, "Done", "DONE"),
)
#: (id, name, state, colour), in the order of ``sort``.
STATUSES: Final = (
    (NOT_STARTED, "Not started", _STATE_NOT_STARTED, "#CACACA"),
    (IN_PROGRESS, "In progress", _STATE_IN_PROGRESS, "#3498DB"),
    (AWAITING_APPROVAL, "Awaiting approval", _STATE_IN_PROGRESS, "#E67E22"),
    (PENDING_REVIEW, "Pending Review", _STATE_IN_PROGRESS, "#F1C40F"),
    (NORMAL, "Normal", _STATE_IN_PROGRESS, "#95A5A6"),
    (PENDING, "Pending", _STATE_IN_PROGRESS, "#F39C12"),
    (APPROVED, "Approved", _STATE_DONE, "#1CBC90"),
    (CLIENT_APPROVED, "Client approved", _STATE_DONE, "#16A085"),
    (COMPLETED, "Completed", _STATE_DONE, "#2ECC71"),
    (OMITTED, "Omitted", _STATE_BLOCKED, "#999999"),
    (ON_HOLD, "On Hold", _STATE_BLOCKED, "#E74C3C"),
)
TYPES: Final = (
    (f"44dc3636{_STATUS}", "Animation", "#FF6600"),
    (f"44dc53c8{_STATUS}", "Modeling", "#7ECDD2"),
    (f"44dc6ffc{_STATUS}", "Previz", "#C59DE0"),
    (f"44dc8cd0{_STATUS}", "Lookdev", "#91C46C"),
    (f"44dcea86{_STATUS}", "FX", "#EF5350"),
    (f"44dd08fe{_STATUS}", "Lighting", "#FFD54F"),
    (f"44dd23b6{_STATUS}", "Compositing", "#4FC3F7"),
    (f"44dd3ed2{_STATUS}", "Tracking", "#A1887F"),
    (f"44dd5868{_STATUS}", "Rigging", "#9575CD"),
    (f"66d145f0{_TYPE}", "Character", "#F06292"),
    (f"66d1aedc{_TYPE}", "Prop", "#BA68C8"),
    (f"66d1daba{_TYPE}", "Environment", "#81C784"),
    (f"66d2038c{_TYPE}", "Matte Painting", "#64B5F6"),
)
TYPE_IDS: Final[Mapping[str, str]] = {name: type_id for type_id, name, _ in TYPES}
_ASSET_BUILD_TYPES: Final = ("Character", "Prop", "Environment", "Matte Painting")
PRIORITIES: Final = (
    (f"847fb90e{_PRIORITY}", "Urgent", "#E74C3C"),
    (f"847f9cda{_PRIORITY}", "High", "#E67E22"),
    (f"847f8146{_PRIORITY}", "Medium", "#F1C40F"),
    (f"847f663e{_PRIORITY}", "Low", "#1CBC90"),
    ("9661b320-3a0c-11e2-81c1-0800200c9a66", "None", "#CACACA"),
)
#: (id, name, flags that are set): y typeable, s statusable, d schedulable, r time reportable, l leaf,
#: t taskable, p prioritizable.
OBJECT_TYPES: Final = (
    ("11c137c0-ee7e-4f9c-91c5-8c77cec22b2c", "Task", "ysdrlp", "task"),
    ("01decdd1-51cb-11e3-9d5b-20c9d0831e59", "Milestone", "ysdlp", "milestone"),
    ("bad911de-3bd6-47b9-8b46-3476e237cb36", "Shot", "stp", "shot"),
    ("e5139355-61da-4c8f-9db4-3abc870166bc", "Sequence", "tp", "sequence"),
    ("22139355-61da-4c8f-9db4-3abc870166bc", "Episode", "stp", "episode"),
    ("4be63b64-5010-42fb-bf1f-428af9d638f0", "Asset Build", "ystp", "asset_build"),
    ("3c133785-51cb-11e3-980a-20c9d0831e59", "Folder", "tp", "folder"),
    ("34b122f0-bd5c-11eb-96ea-d6270330280e", "Scene", "st", "scene"),
    ("4721f72a-bd5c-11eb-a3da-d6270330280e", "Image", "t", "image"),
    ("efb7d34c-bd5b-11eb-86a7-d6270330280e", "Information", "t", "information"),
)
OBJECT_TYPE_IDS: Final[Mapping[str, str]] = {name: type_id for type_id, name, _, _ in OBJECT_TYPES}
LOCATIONS: Final = (
    ("ce9b348f-8809-11e3-821c-20c9d081909b", "ftrack.origin"),
    ("cb268ecc-8809-11e3-a7e2-20c9d081909b", "ftrack.unmanaged"),
    ("cd41be70-8809-11e3-b98a-20c9d081909b", "ftrack.review"),
    ("07b82a97-8cf9-11e3-9383-20c9d081909b", "ftrack.connect"),
    ("3a372bde-05bc-11e4-8908-20c9d081909b", "ftrack.server"),
)
CUSTOM_ATTRIBUTE_TYPES: Final = (
    ("6268aef0-381c-11e0-acff-0019bb49847a", "text"),
    ("ad1034d8-15e2-11e1-b21a-0019bb4983d8", "boolean"),
    ("79968e9e-381c-11e0-acff-0019bb49847a", "date"),
    ("92009b00-381c-11e0-acff-0019bb49847a", "number"),
    ("6ff9c812-ead3-11e2-846c-f23c91dfaa16", "enumerator"),
    ("882e4aee-fae6-11e3-b623-20c9d0831e59", "dynamic enumerator"),
    ("ec616dcd-56e2-4147-99f8-7e4a4f040cf9", "url"),
    ("d2e6a530-357f-11e2-bd73-0019bb4985b8", "expression"),
    (seed_id("CustomAttributeType", "notificationtype"), "notificationtype"),
)
CUSTOM_ATTRIBUTE_TYPE_IDS: Final[Mapping[str, str]] = {
    name: type_id for type_id, name in CUSTOM_ATTRIBUTE_TYPES
}
#: (name, short name)
ASSET_TYPES: Final = (
    ("Animation", "anim"),
    ("Cache", "cache"),
    ("Camera", "cam"),
    ("Geometry", "geo"),
    ("Image Sequence", "img"),
    ("Rig", "rig"),
    ("Upload", "upload"),
)
USER_TYPE: Final = "ac9fa5aa-4361-11e0-b7cc-0019bb4983d8"
PROJECT_SCHEMA: Final = "69cb7f92-4dbf-11e1-9902-f23c91df25eb"

_TASK_STATUSES: Final = (NOT_STARTED, IN_PROGRESS, AWAITING_APPROVAL, APPROVED)
_OBJECT_STATUSES: Final = (NORMAL, OMITTED, ON_HOLD)
_VERSION_STATUSES: Final = (APPROVED, PENDING)

Rows = list[dict[str, Any]]


def plant(connection: sa.Connection) -> None:
    """Write the rows; the database must have none of them."""
    for name, rows in installation_rows().items():
        connection.execute(table(name).insert(), rows)


def installation_rows() -> dict[str, Rows]:
    """Rows by table, in an order in which they can be written."""
    return {
        "state": _named(STATES, "id", "name", "short"),
        "status": [
            {
                "id": status_id,
                "name": name,
                "state_id": state,
                "color": color,
                "sort": sort,
                "is_active": True,
            }
            for sort, (status_id, name, state, color) in enumerate(STATUSES)
        ],
        "type": [
            {"id": type_id, "name": name, "color": color, "sort": sort, "is_billable": True}
            for sort, (type_id, name, color) in enumerate(TYPES)
        ],
        "priority": [
            {"id": priority_id, "name": name, "color": color, "sort": sort, "value": float(4 - sort)}
            for sort, (priority_id, name, color) in enumerate(PRIORITIES)
        ],
        "object_type": [_object_type(sort, *row) for sort, row in enumerate(OBJECT_TYPES)],
        "user_type": [{"id": USER_TYPE, "name": "User"}],
        "location": [
            {"id": location_id, "name": name, "label": name, "description": ""}
            for location_id, name in LOCATIONS
        ],
        "custom_attribute_type": [
            {"id": type_id, "name": name, "core": True} for type_id, name in CUSTOM_ATTRIBUTE_TYPES
        ],
        "asset_type": [
            {"id": seed_id("AssetType", short), "name": name, "short": short, "component": "main"}
            for name, short in ASSET_TYPES
        ],
        "note_label": [
            {"id": seed_id("NoteLabel", name), "name": name, "sort": sort, "color": color}
            for sort, (name, color) in enumerate(
                (("Internal", "#3498DB"), ("Client feedback", "#E67E22"), ("For client", "#1CBC90"))
            )
        ],
        "list_category": [
            {"id": seed_id("ListCategory", name), "name": name}
            for name in ("Dailies", "Deliveries", "Default")
        ],
        "manager_type": [
            {"id": seed_id("ManagerType", name), "name": name} for name in ("Producer", "Supervisor")
        ],
        "security_role": [
            {"id": seed_id("SecurityRole", name), "name": name, "type": kind}
            for name, kind in (("Administrator", "PROJECT"), ("User", "PROJECT"), ("API", "API"))
        ],
        "setting": [
            {
                "name": "storage_scenario",
                "group": "STORAGE",
                "value": json.dumps({"scenario": "ftrack.automatic", "data": {}}),
            }
        ],
        **_project_schema_rows(),
    }


def _project_schema_rows() -> dict[str, Rows]:
    task_workflow, version_workflow, task_types = (
        seed_id(kind, "VFX") for kind in ("TaskWorkflow", "VersionWorkflow", "TaskTypeSchema")
    )
    statuses: dict[str, tuple[str, ...]] = dict.fromkeys(
        ("Shot", "Asset Build", "Episode", "Scene"), _OBJECT_STATUSES
    )
    statuses["Milestone"] = (NOT_STARTED, COMPLETED)
    types = {"Asset Build": _ASSET_BUILD_TYPES, "Milestone": ("Previz",)}
    task_type_ids = [type_id for name, type_id in TYPE_IDS.items() if name not in _ASSET_BUILD_TYPES]
    return {
        "workflow_schema": [
            {"id": task_workflow, "name": "VFX tasks"},
            {"id": version_workflow, "name": "VFX versions"},
        ],
        "workflow_schema_status": [
            {"workflow_schema_id": workflow, "status_id": status_id}
            for workflow, listed in ((task_workflow, _TASK_STATUSES), (version_workflow, _VERSION_STATUSES))
            for status_id in listed
        ],
        "task_type_schema": [{"id": task_types, "name": "VFX task types"}],
        "task_type_schema_type": [
            {"task_type_schema_id": task_types, "type_id": type_id} for type_id in task_type_ids
        ],
        "project_schema": [
            {
                "id": PROJECT_SCHEMA,
                "name": "VFX Scheme",
                "task_workflow_schema_id": task_workflow,
                "asset_version_workflow_schema_id": version_workflow,
                "task_type_schema_id": task_types,
            }
        ],
        "project_schema_object_type": [
            {"object_type_id": type_id, "project_schema_id": PROJECT_SCHEMA}
            for type_id in OBJECT_TYPE_IDS.values()
        ],
        "schema": [
            {
                "id": seed_id("Schema", name),
                "project_schema_id": PROJECT_SCHEMA,
                "type_id": OBJECT_TYPE_IDS[name],
            }
            for name in statuses
        ],
        "schema_status": [
            {"schema_id": seed_id("Schema", name), "status_id": status_id, "sort": sort}
            for name, listed in statuses.items()
            for sort, status_id in enumerate(listed)
        ],
        "schema_type": [
            {"schema_id": seed_id("Schema", name), "type_id": TYPE_IDS[type_name], "sort": sort}
            for name, listed in types.items()
            for sort, type_name in enumerate(listed)
        ],
    }


def _named(rows: Iterable[Sequence[Any]], *names: str) -> Rows:
    return [dict(zip(names, row, strict=True)) for row in rows]


def _object_type(sort: int, object_type_id: str, name: str, flags: str, icon: str) -> dict[str, Any]:
    return {
        "id": object_type_id,
        "name": name,
        "sort": sort,
        "icon": icon,
        "is_typeable": "y" in flags,
        "is_statusable": "s" in flags,
        "is_schedulable": "d" in flags,
        "is_time_reportable": "r" in flags,
        "is_leaf": "l" in flags,
        "is_taskable": "t" in flags,
        "is_prioritizable": "p" in flags,
    }


def user_row(user_id: str, username: str, first_name: str, last_name: str) -> dict[str, Any]:
    """A row of table ``resource`` for a user."""
    return {
        "id": user_id,
        "resource_type": "user",
        "username": username,
        "first_name": first_name,
        "last_name": last_name,
        "email": f"{username}@example.com",
        "is_active": True,
        "is_otp_enabled": False,
        "is_totp_enabled": False,
        "require_details_update": False,
        "user_type_id": USER_TYPE,
    }
