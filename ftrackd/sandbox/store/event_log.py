"""The rows of the entity type Event; their form is described in docs/sandbox.md, "Event log"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from ftrackd.sandbox import json_text
from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.store.changes import Announcement, Change, actor_payload
from ftrackd.sandbox.store.inserts import insert

_INSERT: Final = {"add": "add", "remove": "remove"}
_VERBS: Final = {"add": "append", "update": "update", "remove": "remove"}


def write(
    connection: sa.Connection, actor: Actor | None, now: str, announced: Sequence[Announcement]
) -> None:
    """Write one row for each change in *announced*."""
    for announcement in announced:
        size = len(announcement.changes)
        rows = [
            _row(change, {"transaction": announcement.id, "index": index, "size": size}, actor, now)
            for index, change in enumerate(announcement.changes)
        ]
        insert(connection, "event", rows)


def action_of(change: Change) -> str:
    """``Event.action`` of *change*."""
    insert = _INSERT.get(change.action, "update")
    if insert == "update" and "statusid" in change.values:
        return f"change.status.{change.entity_type.lower()}"
    if change.entity_type == "AssetVersion" and insert == "add":
        published = change.values.get("ispublished", {}).get("new")
        if published:
            return "asset.published"
    if change.entity_type == "Appointment" and insert != "update":
        pair = change.values.get("type", {})
        if "assignment" in (pair.get("old"), pair.get("new")):
            return f"db.{_VERBS[insert]}.task:user"
    if change.action == "update" and len(change.values) == 1 and change.custom_keys:
        return f"update.custom_attribute.{next(iter(change.custom_keys))}"
    return f"db.{_VERBS[insert]}.{change.legacy_type}"


def _row(change: Change, place: dict[str, Any], actor: Actor | None, now: str) -> dict[str, Any]:
    parent_type, parent_id = change.legacy_type, change.entity_id
    if change.entity_type == "Appointment" and len(change.parents) > 1:
        parent_type, parent_id = change.parents[1]["entityType"], change.parents[1]["entityId"]
    data = {**place, "user": actor_payload(actor), "entity": change.to_payload()}
    return {
        "parent_type": parent_type,
        "parent_id": parent_id,
        "project_id": change.project_id,
        "user_id": actor.user_id if actor is not None else None,
        "action": action_of(change),
        "insert": _INSERT.get(change.action, "update"),
        "data": json_text.encode(data).decode("utf-8"),
        "created_at": now,
    }
