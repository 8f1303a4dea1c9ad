"""Deleting an entity with all that cannot be without it.

The database cascades by itself; here the rows that will go are read before, so that each is announced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from ftrackd.sandbox.errors import IntegrityError
from ftrackd.sandbox.query.dialects import dialect_of
from ftrackd.sandbox.schema import EntityType, metadata, table
from ftrackd.sandbox.schema.declaration import declarations
from ftrackd.sandbox.schema.tables import table_name
from ftrackd.sandbox.store.plans import plan

if TYPE_CHECKING:
    from ftrackd.sandbox.store.rows import Row
    from ftrackd.sandbox.store.transaction import Transaction

#: How many ids a statement names; they travel as one parameter.
_CHUNK: Final = 5000
#: Rows that name their owner by id alone, so that no constraint removes them: (table, column).
_LOOSE: Final = (
    ("note", "parent_id"),
    ("metadata", "parent_id"),
    ("entity_setting", "parent_id"),
    ("list_object", "entity_id"),
    ("custom_attribute_value", "entity_id"),
    ("custom_attribute_link", "from_id"),
    ("custom_attribute_link", "to_id"),
    ("status_change", "parent_id"),
)
#: References that are cleared when what they lead to goes, and that consumers follow.
_CLEARED: Final = (
    ("asset_version", "task_id", "Context"),
    ("asset_version", "thumbnail_id", "Component"),
    ("context", "thumbnail_id", "Component"),
    ("resource", "thumbnail_id", "Component"),
)
#: Tables whose rows are no news to anybody.
_SILENT: Final = frozenset(["custom_attribute_value", "status_change", "lineage"])


@dataclass(slots=True)
class _Level:
    """Rows of one table that go, and the ids others know them by."""

    kind: EntityType
    rows: list[Row]


def delete(transaction: Transaction, kind: EntityType, key: Sequence[Any], row: Row) -> None:
    """Delete the entity in *row*; raises :class:`IntegrityError` when something else needs it."""
    doomed = list(_collect(transaction, kind, row))
    for level in doomed:
        for found in level.rows:
            concrete = transaction.rows.concrete_type(level.kind, found)
            transaction.record("remove", concrete, found, _old_values(concrete, found))
    _announce_cleared(transaction, doomed)
    _delete_loose(transaction, doomed)
    source = kind.table
    assert isinstance(source, sa.Table)
    matches = [column == value for column, value in zip(kind.key_columns(source), key, strict=True)]
    try:
        transaction.connection.execute(source.delete().where(*matches))
    except sa.exc.IntegrityError as error:
        name = row.get("name")
        raise IntegrityError(
            f"{kind.name} {name or key[0]!r} cannot be deleted: other entities still refer to it."
        ) from error
    if kind.root == "Context":
        transaction.rows.forget_ways()


def _collect(transaction: Transaction, kind: EntityType, row: Row) -> Iterator[_Level]:
    """The entity, then level by level what goes with it."""
    seen: set[tuple[str, tuple[Any, ...]]] = set()
    waiting = [_Level(transaction.schema[kind.root], [row])]
    while waiting:
        level = waiting.pop(0)
        source = level.kind.table
        name = level.kind.table_name
        keys = [column.name for column in level.kind.key_columns(source)]
        fresh = []
        for found in level.rows:
            identity = (name, tuple(found[column] for column in keys))
            if identity not in seen:
                seen.add(identity)
                fresh.append(found)
        if not fresh:
            continue
        level.rows = fresh
        if name not in _SILENT:
            yield level
        if keys == ["id"]:
            ids = [found["id"] for found in fresh]
            for child, column in _present_dependants(transaction.connection, name, ids):
                rows = _select(transaction.connection, child, column, ids)
                waiting.append(_Level(_root_of(transaction, child), rows))


def _present_dependants(
    connection: sa.Connection, name: str, ids: Sequence[Any]
) -> Sequence[tuple[str, str]]:
    """Those dependants of rows of table *name* that exist: one question instead of one for each table."""
    dependants = _dependants(name)
    if not dependants:
        return ()
    found: set[int] = set()
    for chunk in _chunks(ids):
        questions: list[sa.Select[Any]] = [
            sa.select(sa.literal_column(str(number))).where(
                sa.exists(sa.select(sa.literal_column("1")).where(_names(connection, child, column, chunk)))
            )
            for number, (child, column) in enumerate(dependants)
        ]
        found.update(connection.execute(sa.union_all(*questions)).scalars())
    return [dependants[number] for number in sorted(found)]


def _select(connection: sa.Connection, name: str, column: str, ids: Sequence[Any]) -> list[Row]:
    rows: list[Row] = []
    source = table(name)
    names = [each.name for each in source.c]
    for chunk in _chunks(ids):
        found = connection.execute(sa.select(source).where(_names(connection, name, column, chunk)))
        # A mapping for each row, made by the driver, would take most of the time.
        rows.extend(dict(zip(names, row, strict=True)) for row in found)
    return rows


def _chunks(ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


def _names(connection: sa.Connection, name: str, column: str, ids: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Whether *column* of a row in table *name* has one of *ids*."""
    return dialect_of(connection).is_key(table(name).c[column], ids)


def _root_of(transaction: Transaction, name: str) -> EntityType:
    return transaction.schema[_roots()[name]]


@cache
def _roots() -> Mapping[str, str]:
    """Table name to the topmost entity type on it."""
    roots: dict[str, str] = {}
    for declaration in declarations().values():
        name = table_name(declaration.name)
        if name is not None:
            roots.setdefault(name, declaration.name)
    return roots


@cache
def _dependants(name: str) -> tuple[tuple[str, str], ...]:
    """(table, column) of the entities that go when a row of table *name* goes."""
    found = [
        (source.name, column.name)
        for source in metadata().tables.values()
        if source.name in _roots()
        for column in source.columns
        for foreign_key in column.foreign_keys
        if foreign_key.column.table.name == name and foreign_key.ondelete == "CASCADE"
    ]
    # A context belongs to its project too; the way down over parents finds it once.
    found = [
        pair for pair in found if pair not in (("context", "project_id"), ("asset_version", "project_id"))
    ]
    loose = [pair for pair in _LOOSE if pair[0] != name or pair[0] == "note"]
    return (*found, *(pair for pair in loose if pair not in found))


def _announce_cleared(transaction: Transaction, doomed: Sequence[_Level]) -> None:
    """Entities that stay, but lose their reference to one that goes."""
    gone = {(level.kind.table_name, found.get("id")) for level in doomed for found in level.rows}
    for name, column, target in _CLEARED:
        ids = [found["id"] for level in doomed if level.kind.root == target for found in level.rows]
        for row in _select(transaction.connection, name, column, ids):
            if (name, row["id"]) not in gone:
                kind = transaction.rows.concrete_type(_root_of(transaction, name), row)
                values = {kind.scalar(column).legacy_key: {"old": row[column], "new": None}}
                transaction.record("update", kind, row, values)


def _delete_loose(transaction: Transaction, doomed: Sequence[_Level]) -> None:
    ids = [found["id"] for level in doomed for found in level.rows if "id" in found]
    for name, column in _LOOSE:
        for chunk in _chunks(ids):
            connection = transaction.connection
            connection.execute(table(name).delete().where(_names(connection, name, column, chunk)))


def _old_values(kind: EntityType, row: Row) -> dict[str, dict[str, Any]]:
    return {name: {"old": row.get(column), "new": None} for name, column in plan(kind).announced}
