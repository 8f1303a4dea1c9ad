"""Writing references and collections.

A collection is sent as the complete new list: members that are new are attached, those that are missing
are detached. Detaching deletes rows that are nothing but a link (an appointment, a label of a note) and
clears the reference of others. Contexts, assets, versions and notes stay where they are: a list that a
client read a while ago must not tear off what others added since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from ftrackd.sandbox.errors import ValidationError
from ftrackd.sandbox.schema import Collection, EntityType, Mapped, Reference, Scalar, Through
from ftrackd.sandbox.store import custom_values
from ftrackd.sandbox.store.rows import POLYMORPHIC
from ftrackd.sandbox.store.values import reference_key, store_scalar

if TYPE_CHECKING:
    from ftrackd.sandbox.store.transaction import Transaction

#: Members that are deleted when they are taken out of a collection.
_LINKS: Final = frozenset(
    [
        "Appointment", "AssetVersionLink", "CalendarEventResource", "DashboardResource", "DashboardWidget",
        "JobComponent", "Manager", "Membership", "Metadata", "NoteComponent", "NoteLabelLink", "Recipient",
        "ReviewSessionObject", "SchemaStatus", "SchemaType", "SplitTaskPart", "StatusRule",
        "TaskTemplateItem", "TypedContextLink", "UserSecurityRole", "UserSecurityRoleProject",
    ]
)  # fmt: skip
#: Members that a missing mention does not move.
_STAYING: Final = frozenset(["Context", "Asset", "AssetVersion", "StatusChange"])


def reference_columns(
    transaction: Transaction, kind: EntityType, attribute: Reference, value: Any
) -> dict[str, Any]:
    """Columns to write for a reference: ``{"__entity_type__", "id"}``, a bare id or null."""
    if value is None:
        return {attribute.join.local: None}
    if isinstance(value, Mapping) and "__entity_type__" in value:
        stated, target = (
            transaction.schema[str(value["__entity_type__"])],
            transaction.schema[attribute.target],
        )
        if stated.root != target.root:
            raise ValidationError(
                f"{kind.name}.{attribute.name} refers to a {target.name}, {stated.name} is none."
            )
        if stated.primary_key != ("id",):
            # A key of several parts is stored in columns of the same names.
            return {
                name: store_scalar(kind.name, stated.scalar(name), value.get(name))[name]
                for name in stated.primary_key
            }
        return _stored(kind, attribute, reference_key(value))
    if not isinstance(value, str | int):
        raise ValidationError(f"{kind.name}.{attribute.name} cannot be {value!r}: a reference is needed.")
    return _stored(kind, attribute, value)


def _stored(kind: EntityType, attribute: Reference, key: Any) -> dict[str, Any]:
    """The key as its column stores it; the hidden ones hold text."""
    column = attribute.join.local
    for scalar in kind.attributes.values():
        if isinstance(scalar, Scalar) and scalar.column == column:
            return store_scalar(kind.name, scalar, key)
    return store_scalar(kind.name, Scalar(attribute.name, column=column), key)


def write(transaction: Transaction, kind: EntityType, key: list[Any], name: str, members: Any) -> None:
    """Make *members* the members of the collection *name* of an entity; raises :class:`ValidationError`."""
    attribute = kind.attribute(name)
    assert isinstance(attribute, Collection)
    if members is None:
        members = []
    if not isinstance(members, list | tuple):
        raise ValidationError(f"{kind.name}.{name} cannot be {members!r}: a list of entities is needed.")
    if attribute.is_restricted:
        raise ValidationError(f"{kind.name}.{name} cannot be written; create or delete its members.")
    target = transaction.schema[attribute.target]
    if custom_values.is_value_type(target):
        custom_values.write_members(transaction, target, key[0], members)
        return
    if attribute.join.through is not None:
        _write_associated(transaction, kind, attribute, attribute.join.through, key[0], members)
    elif isinstance(attribute, Mapped):
        _write_mapped(transaction, target, key[0], members)
    else:
        _write_children(transaction, kind, attribute, key[0], members)


def _member_ids(kind: EntityType, attribute: Collection, members: Iterable[Any]) -> list[str]:
    ids: dict[str, None] = {}
    for member in members:
        found = reference_key(member)
        if not isinstance(found, str):
            raise ValidationError(f"{kind.name}.{attribute.name} has a member without id: {member!r}.")
        ids[found] = None
    return list(ids)


def _write_associated(
    transaction: Transaction,
    kind: EntityType,
    attribute: Collection,
    through: Through,
    owner_id: str,
    members: Iterable[Any],
) -> None:
    if not through.is_writable:
        raise ValidationError(f"{kind.name}.{attribute.name} follows from parent and cannot be written.")
    wanted = _member_ids(kind, attribute, members)
    source = through.table
    connection = transaction.connection
    present = set(
        connection.execute(
            sa.select(source.c[through.remote]).where(source.c[through.local] == owner_id)
        ).scalars()
    )
    added = [member for member in wanted if member not in present]
    removed = present.difference(wanted)
    if through.entity_type is None:
        for member in added:
            _link(transaction, kind, attribute, through, owner_id, member)
        if removed:
            assert isinstance(source, sa.Table)
            connection.execute(
                source.delete().where(
                    source.c[through.local] == owner_id, source.c[through.remote].in_(removed)
                )
            )
        return
    link = transaction.schema[through.entity_type]
    for member in added:
        transaction.create(link.name, {through.local: owner_id, through.remote: member})
    for member in removed:
        row = connection.execute(
            sa.select(*link.key_columns(source)).where(
                source.c[through.local] == owner_id, source.c[through.remote] == member
            )
        ).first()
        if row is not None:
            transaction.delete(link.name, list(row))


def _link(
    transaction: Transaction,
    kind: EntityType,
    attribute: Collection,
    through: Through,
    owner_id: str,
    member: str,
) -> None:
    assert isinstance(through.table, sa.Table)
    try:
        transaction.connection.execute(
            through.table.insert().values({through.local: owner_id, through.remote: member})
        )
    except sa.exc.IntegrityError as error:
        raise transaction.missing_reference(kind.name, attribute.name, member) from error


def _write_mapped(
    transaction: Transaction, target: EntityType, owner_id: str, members: Iterable[Any]
) -> None:
    """Metadata: members are created and changed on their own; here only missing ones go."""
    kept = {member.get("key") for member in members if isinstance(member, Mapping)}
    source = target.table
    present = transaction.connection.execute(
        sa.select(source.c.key).where(source.c.parent_id == owner_id)
    ).scalars()
    for name in present.all():
        if name not in kept:
            transaction.delete(target.name, [owner_id, name])


def _write_children(
    transaction: Transaction, kind: EntityType, attribute: Collection, owner_id: str, members: Iterable[Any]
) -> None:
    target = transaction.schema[attribute.target]
    source = target.table
    conditions = [source.c[attribute.join.remote] == owner_id]
    conditions += [criterion.clause(source) for criterion in attribute.join.where]
    keys = target.key_columns(source)
    present = {tuple(row) for row in transaction.connection.execute(sa.select(*keys).where(*conditions))}
    wanted: dict[tuple[Any, ...], None] = {}
    for member in members:
        if isinstance(member, Mapping):
            wanted[tuple(member.get(name) for name in target.primary_key)] = None
        else:
            wanted[(member,)] = None
    changed = _attachment(kind, target, attribute, owner_id)
    for key in wanted:
        if key not in present:
            transaction.update(target.name, list(key), changed)
    if target.root in _STAYING or (target.root == "Note" and attribute.name != "replies"):
        return
    for key in present:
        if key not in wanted:
            _detach(transaction, target, attribute, list(key))


def _attachment(kind: EntityType, target: EntityType, attribute: Collection, owner_id: str) -> dict[str, Any]:
    changed: dict[str, Any] = {_name_of(target, attribute.join.remote): owner_id}
    if target.table_name in POLYMORPHIC and attribute.join.remote == "parent_id":
        changed["parent_type"] = kind.name
    for criterion in attribute.join.where:
        changed[criterion.column] = criterion.values[0]
    return changed


def _detach(transaction: Transaction, target: EntityType, attribute: Collection, key: list[Any]) -> None:
    column = _name_of(target, attribute.join.remote)
    if target.name in _LINKS or target.attributes[column].is_required or column in target.primary_key:
        transaction.delete(target.name, key)
    else:
        transaction.update(target.name, key, {column: None})


def _name_of(target: EntityType, column: str) -> str:
    for attribute in target.attributes.values():
        if isinstance(attribute, Scalar) and attribute.column == column:
            return attribute.name
    return column
