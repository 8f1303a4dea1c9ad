"""What the server supplies when an entity is created, and what follows from a change.

Clients leave out most of what the schema calls required: status, type, priority, project, dates and authors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from ftrackd.sandbox.errors import ValidationError
from ftrackd.sandbox.schema import EntityType, table
from ftrackd.sandbox.schema.build import NO_PRIORITY_ID
from ftrackd.sandbox.store.plans import NOW, plan

if TYPE_CHECKING:
    from ftrackd.sandbox.store.transaction import Transaction

REVIEW_SESSION_DAYS: Final = 30
#: Types that belong to the project of what they lie in, and the column that says what that is.
LIES_IN: Final = {
    "Context": "parent_id",
    "Asset": "context_id",
    "AssetVersion": "asset_id",
    "Note": "parent_id",
}
Values = dict[str, Any]


#: Members of collections that clients create before their owner.
_HUNG_UP_LATER = frozenset({"ReviewSessionObject", "ReviewSessionInvitee", "ListObject"})


def fill(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    """Complete *values* (columns) of an entity that is about to be created.

    What hangs on another entity may be created before it is hung up: clients create the members of a
    collection first, and then their owner with the collection. Such a reference is owed until the commit.
    Raises :class:`ValidationError` when something else is missing that cannot be supplied.
    """
    project_id = project_above(transaction, entity_type, values)
    if project_id is not None:
        values["project_id"] = project_id
    supply = _SUPPLY.get(entity_type.root)
    if supply is not None:
        supply(transaction, entity_type, values)
    _fill_common(transaction, entity_type, values)
    missing = {}
    for name, column, substitute in plan(entity_type).required:
        if values.get(column) is not None:
            continue
        if substitute is None:
            missing[name] = column
        else:
            values[column] = transaction.now if substitute is NOW else substitute
    if missing and entity_type.name in _HUNG_UP_LATER:
        transaction.owe(entity_type, [values[column] for column in plan(entity_type).key_columns], missing)
    else:
        refuse(entity_type, list(missing))


def refuse(entity_type: EntityType, missing: list[str]) -> None:
    """Raise :class:`ValidationError` when there is anything in *missing*, names of attributes."""
    if missing:
        raise ValidationError(f"{entity_type.name} cannot be created without {', '.join(missing)}.")


def refill(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    """Put what a required column must have where *values*, about to be updated, empty it.

    Raises :class:`ValidationError` for a reference that cannot be empty.
    """
    for name, column, substitute in plan(entity_type).required:
        if column in values and values[column] is None:
            if substitute is None:
                raise ValidationError(f"{entity_type.name}.{name} cannot be empty.")
            values[column] = transaction.now if substitute is NOW else substitute


def _fill_common(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    known = plan(entity_type)
    for column in known.authors:
        if values.get(column) is None and transaction.actor is not None:
            values[column] = transaction.actor.user_id
    for column in known.moments:
        if values.get(column) is None:
            values[column] = transaction.now


def project_above(transaction: Transaction, entity_type: EntityType, values: Mapping[str, Any]) -> str | None:
    """Id of the project that an entity with *values* lies in, None when it lies nowhere or is free to say."""
    column = LIES_IN.get(entity_type.root)
    if column is None or values.get(column) is None:
        return None
    if entity_type.root == "AssetVersion":
        asset = transaction.rows.by_id("asset", values["asset_id"])
        return asset["project_id"] if asset is not None else None
    if entity_type.root == "Note":
        return _note_project(transaction, values)
    return transaction.rows.project_of(values[column])


def _note_project(transaction: Transaction, values: Mapping[str, Any]) -> str | None:
    """Id of the project of what a note is about."""
    found = transaction.rows.find(values["parent_id"], values.get("parent_type"))
    if found is None:
        return None
    entity_type, row = found
    if entity_type.root == "Context":
        return transaction.rows.project_of(row["id"])
    if "project_id" in row and row["project_id"] is not None:
        project_id: str = row["project_id"]
        return project_id
    way = transaction.rows.way_up(entity_type, row, row["id"])
    return way[-1]["entityId"] if way[-1]["entityType"] == "show" else None


def _project(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if values.get("parent_id") is not None:
        raise ValidationError("A Project has no parent.")
    values["context_type"] = "show"
    values["project_id"] = values["id"]
    values.setdefault("object_type_id", None)
    if values.get("status") in (None, ""):
        values["status"] = "active"
    if not values.get("full_name"):
        values["full_name"] = values.get("name")
    if values.get("project_schema_id") is None:
        values["project_schema_id"] = transaction.first_id("project_schema", "name")


def _context(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if entity_type.name == "Project":
        _project(transaction, entity_type, values)
    else:
        _typed_context(transaction, entity_type, values)


def _typed_context(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    values["context_type"] = "task"
    values["object_type_id"] = entity_type.object_type_id
    parent_id = values.get("parent_id") or values.get("project_id")
    if parent_id is None:
        raise ValidationError(
            f"{entity_type.name} {values.get('name')!r} cannot be created without parent: "
            "give parent (or parent_id), or project_id to put it below the project."
        )
    values["parent_id"] = parent_id
    project_id = transaction.rows.project_of(parent_id)
    if project_id is None:
        raise transaction.missing_reference(entity_type.name, "parent_id", parent_id)
    values["project_id"] = project_id
    choices = transaction.workflow(project_id)
    if values.get("type_id") is None:
        values["type_id"] = choices.first_type(entity_type.object_type_id)
    if values.get("status_id") is None:
        values["status_id"] = choices.first_status(entity_type.object_type_id, values["type_id"])
    if values.get("priority_id") is None:
        values["priority_id"] = NO_PRIORITY_ID if choices.has_neutral_priority else choices.first_priority
    for name in ("bid", "sort"):
        if values.get(name) is None:
            values[name] = 0.0


def _asset(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if values.get("type_id") is None:
        values["type_id"] = transaction.first_id("asset_type", "name")
    if values.get("name") is None:
        values["name"] = ""


def _asset_version(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    asset_id = values.get("asset_id")
    if values.get("version") is None and asset_id is not None:
        version = table("asset_version")
        newest = transaction.connection.execute(
            sa.select(sa.func.max(version.c.version)).where(version.c.asset_id == asset_id)
        ).scalar()
        values["version"] = (newest or 0) + 1
    if values.get("status_id") is None:
        values["status_id"] = transaction.workflow(values.get("project_id")).first_version_status


def _component(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if values.get("file_type") and not str(values["file_type"]).startswith("."):
        values["file_type"] = f".{values['file_type']}"


def _user(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if entity_type.name == "User":
        if not values.get("username"):
            values["username"] = f"user-{values['id'][:8]}"
        if values.get("user_type_id") is None:
            values["user_type_id"] = transaction.first_id("user_type", "name")


def _note(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if values.get("in_reply_to_id") is not None and values.get("parent_id") is None:
        thread = transaction.rows.by_id("note", values["in_reply_to_id"])
        if thread is not None:
            for name in ("parent_id", "parent_type", "project_id"):
                values[name] = thread[name]
    values.setdefault("parent_id", None)


def _list(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if values.get("category_id") is None:
        values["category_id"] = transaction.first_id("list_category", "name")


def _review_session(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if values.get("start_date") is None:
        values["start_date"] = transaction.now
    if values.get("end_date") is None:
        values["end_date"] = transaction.days_later(REVIEW_SESSION_DAYS)


def _review_session_object(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if values.get("sort_order") is None and values.get("review_session_id") is not None:
        item = table("review_session_object")
        last = transaction.connection.execute(
            sa.select(sa.func.max(item.c.sort_order)).where(
                item.c.review_session_id == values["review_session_id"]
            )
        ).scalar()
        values["sort_order"] = 0.0 if last is None else last + 1.0


def _job(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if values.get("type") not in (None, "api_job") and transaction.actor is not None:
        raise ValidationError(f"Job.type cannot be {values['type']!r}: jobs of clients are of type api_job.")


def _custom_configuration(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if not values.get("config"):
        values["config"] = "{}"
    if not values.get("key"):
        raise ValidationError(f"{entity_type.name} cannot be created without key.")
    if not values.get("label"):
        values["label"] = values["key"]


def _event(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    raise ValidationError("Event cannot be created: the server writes the log of events.")


def _status_change(transaction: Transaction, entity_type: EntityType, values: Values) -> None:
    if not values.get("id"):
        values["id"] = transaction.new_id()


_SUPPLY: Final[Mapping[str, Callable[[Transaction, EntityType, Values], None]]] = {
    "Context": _context,
    "Asset": _asset,
    "AssetVersion": _asset_version,
    "Component": _component,
    "Resource": _user,
    "Note": _note,
    "List": _list,
    "ReviewSession": _review_session,
    "ReviewSessionObject": _review_session_object,
    "Job": _job,
    "CustomConfigurationBase": _custom_configuration,
    "Event": _event,
    "StatusChange": _status_change,
}
