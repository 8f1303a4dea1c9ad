"""What else changes when an entity does: lineage, status history, values that follow others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ftrackd.sandbox.errors import DuplicateEntryError, ValidationError
from ftrackd.sandbox.schema import EntityType, object_type_name, table
from ftrackd.sandbox.store import custom_values
from ftrackd.sandbox.store.defaults import LIES_IN, project_above
from ftrackd.sandbox.store.rows import POLYMORPHIC, Row

if TYPE_CHECKING:
    from ftrackd.sandbox.store.transaction import Transaction

Values = dict[str, Any]
_HISTORY = {"Context": "task", "AssetVersion": "assetversion"}


def before_create(transaction: Transaction, kind: EntityType, values: Values) -> None:
    """Settle values that depend on each other."""
    if kind.table_name in POLYMORPHIC:
        resolve_parent_type(transaction, kind, values)
    if kind.root == "CustomConfigurationBase":
        custom_values.settle_default(transaction, kind, values)
    if kind.root in ("CustomAttributeLink", "CustomAttributeLinkFrom"):
        custom_values.settle_link(transaction, values)
    if kind.name == "ObjectType":
        _refuse_type_name(transaction, values.get("name"), None)


def before_update(transaction: Transaction, kind: EntityType, row: Row, changed: Values) -> None:
    """Settle values that follow those in *changed*; raises :class:`ValidationError` for what cannot be."""
    if kind.root == "Context" and "parent_id" in changed:
        _settle_move(transaction, kind, row, changed)
    if kind.table_name in POLYMORPHIC and "parent_id" in changed:
        merged = {**row, **changed}
        resolve_parent_type(transaction, kind, merged)
        changed.update({name: merged[name] for name in ("parent_type", "parent_id")})
    if kind.name == "Note" and changed.get("in_reply_to_id") is not None:
        thread = transaction.rows.by_id("note", changed["in_reply_to_id"])
        if thread is not None:
            changed.update({name: thread[name] for name in ("parent_id", "parent_type", "project_id")})
    _settle_project(transaction, kind, row, changed)
    if kind.root == "CustomConfigurationBase" and ("default" in changed or "type_id" in changed):
        merged = {**row, **changed}
        custom_values.settle_default(transaction, kind, merged)
        changed.update({name: merged[name] for name in ("default", "default_text", "default_number")})
    if kind.name == "ObjectType" and "name" in changed:
        _refuse_type_name(transaction, changed["name"], row["name"])
    if kind.name == "Job" and changed.get("status") in ("done", "failed") and not row["finished_at"]:
        changed.setdefault("finished_at", transaction.now)


def after_create(transaction: Transaction, kind: EntityType, row: Row) -> None:
    """Write what belongs to a new row."""
    if kind.root == "Context":
        _add_lineage(transaction, kind, row)
    if kind.root in _HISTORY and row.get("status_id") is not None:
        _add_history(transaction, kind, row, None)
    if kind.name == "Note" and row.get("in_reply_to_id") is not None:
        _touch_thread(transaction, row["in_reply_to_id"])


def after_update(transaction: Transaction, kind: EntityType, row: Row, new_row: Row) -> None:
    """Write what follows from a changed row."""
    if kind.root in _HISTORY and row.get("status_id") != new_row.get("status_id"):
        _add_history(transaction, kind, new_row, row.get("status_id"))
    if kind.root == "Context" and row["parent_id"] != new_row["parent_id"]:
        _move_lineage(transaction, row["id"], new_row)
    if kind.root in ("Asset", "AssetVersion") and row["project_id"] != new_row["project_id"]:
        _move_versions(transaction.connection, kind, new_row)
    if kind.name == "Note" and new_row.get("in_reply_to_id") not in (None, row.get("in_reply_to_id")):
        _touch_thread(transaction, new_row["in_reply_to_id"])


def resolve_parent_type(transaction: Transaction, kind: EntityType, values: Values) -> None:
    """Make ``parent_type`` the very type of the parent: clients also write a base type or a legacy name."""
    stated, parent_id = values.get("parent_type"), values.get("parent_id")
    if parent_id is None:
        return
    hinted = transaction.rows.type_of_hint(stated) if stated else None
    if stated and hinted is None:
        raise ValidationError(f"{kind.name}.parent_type cannot be {stated!r}: there is no such entity type.")
    found = transaction.rows.find(parent_id, stated)
    if found is None:
        raise transaction.missing_reference(kind.name, "parent_id", parent_id)
    values["parent_type"] = found[0].name


def _refuse_type_name(transaction: Transaction, name: str | None, old_name: str | None) -> None:
    """Raise :class:`RequestError` when an object type called *name* would give no entity type of its own."""
    type_name = object_type_name(name or "")
    if not type_name:
        raise ValidationError(f"ObjectType.name cannot be {name!r}: a letter or digit is needed.")
    if type_name in transaction.schema and type_name != object_type_name(old_name or ""):
        raise DuplicateEntryError(
            f"ObjectType.name cannot be {name!r}: there is an entity type {type_name} already."
        )


def _add_lineage(transaction: Transaction, kind: EntityType, row: Row) -> None:
    transaction.rows.remember_context(kind, row["id"], row["parent_id"])
    way = transaction.rows.context_way(row["id"])
    transaction.insert_late(
        "lineage",
        [
            {
                "context_id": row["id"],
                "ancestor_id": item["entityId"],
                "relation": "ancestor" if depth else "self",
                "depth": depth,
            }
            for depth, item in enumerate(way)
        ],
    )


def _settle_move(transaction: Transaction, kind: EntityType, row: Row, changed: Values) -> None:
    parent_id = changed["parent_id"]
    if kind.name == "Project":
        raise ValidationError("A Project has no parent.")
    if parent_id is None:
        raise ValidationError(f"{kind.name} cannot be without parent; delete it instead.")
    way = transaction.rows.context_way(parent_id)
    if not way:
        raise transaction.missing_reference(kind.name, "parent_id", parent_id)
    if any(item["entityId"] == row["id"] for item in way):
        raise ValidationError(f"{kind.name} {row['name']!r} cannot be moved below itself.")
    changed["project_id"] = way[-1]["entityId"]


def _settle_project(transaction: Transaction, kind: EntityType, row: Row, changed: Values) -> None:
    """What lies in another entity is in that one's project; raises when a client says otherwise."""
    column = LIES_IN.get(kind.root)
    if column is None or not changed.keys() & {column, "project_id"}:
        return
    project_id = row["id"] if kind.name == "Project" else project_above(transaction, kind, {**row, **changed})
    if project_id is None:
        return
    if column not in changed and changed["project_id"] != project_id:
        raise ValidationError(
            f"{kind.name}.project_id cannot be {changed['project_id']!r}: it follows from {column}."
        )
    changed["project_id"] = project_id


def _move_versions(connection: sa.Connection, kind: EntityType, new_row: Row) -> None:
    """Give the versions of an asset, or one version, and the notes about them the project of *new_row*."""
    version, note = table("asset_version"), table("note")
    key = version.c.asset_id if kind.root == "Asset" else version.c.id
    versions = sa.select(version.c.id).where(key == new_row["id"]).scalar_subquery()
    for source, condition in ((version, key == new_row["id"]), (note, note.c.parent_id.in_(versions))):
        connection.execute(source.update().where(condition).values(project_id=new_row["project_id"]))


def _move_lineage(transaction: Transaction, context_id: str, new_row: Row) -> None:
    """Give the context and everything below it its new ancestors."""
    lineage, context = table("lineage"), table("context")
    connection = transaction.connection
    below = connection.execute(
        sa.select(lineage.c.context_id, lineage.c.depth).where(lineage.c.ancestor_id == context_id)
    ).all()
    inside = sa.select(lineage.c.context_id).where(lineage.c.ancestor_id == context_id)
    connection.execute(
        lineage.delete().where(
            lineage.c.context_id.in_(inside.scalar_subquery()),
            lineage.c.ancestor_id.not_in(inside.scalar_subquery()),
        )
    )
    transaction.rows.forget_ways()
    way = transaction.rows.context_way(new_row["parent_id"])
    connection.execute(
        lineage.insert(),
        [
            {
                "context_id": row.context_id,
                "ancestor_id": item["entityId"],
                "relation": "ancestor",
                "depth": row.depth + above + 1,
            }
            for row in below
            for above, item in enumerate(way)
        ],
    )
    connection.execute(
        context.update()
        .where(context.c.id.in_(inside.scalar_subquery()))
        .values(project_id=new_row["project_id"])
    )
    _move_assets(connection, inside, new_row["project_id"])


def _move_assets(connection: sa.Connection, contexts: sa.Select[Any], project_id: str) -> None:
    """Assets and versions below *contexts* belong to another project now, and so do notes about them."""
    asset, version, note = table("asset"), table("asset_version"), table("note")
    of_contexts = contexts.scalar_subquery()
    assets = sa.select(asset.c.id).where(asset.c.context_id.in_(of_contexts))
    versions = sa.select(version.c.id).where(version.c.asset_id.in_(assets.scalar_subquery()))
    for source, condition in (
        (asset, asset.c.context_id.in_(of_contexts)),
        (version, version.c.asset_id.in_(assets.scalar_subquery())),
        (note, note.c.parent_id.in_(of_contexts)),
        (note, note.c.parent_id.in_(versions.scalar_subquery())),
    ):
        connection.execute(source.update().where(condition).values(project_id=project_id))


def _add_history(transaction: Transaction, kind: EntityType, row: Row, old_status_id: str | None) -> None:
    history = {
        "id": transaction.new_id(),
        "parent_id": row["id"],
        "parent_type": _HISTORY[kind.root],
        "date": transaction.now,
        "status_id": row["status_id"],
        "from_status_id": old_status_id,
        "user_id": transaction.actor.user_id if transaction.actor is not None else None,
    }
    transaction.insert_late("status_change", [history])


def _touch_thread(transaction: Transaction, note_id: str) -> None:
    note = table("note")
    transaction.connection.execute(
        note.update().where(note.c.id == note_id).values(thread_activity=transaction.now)
    )
