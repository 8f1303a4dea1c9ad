"""Reading rows while a transaction works: current values, concrete types and the way up to the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final

import sqlalchemy as sa

from ftrackd.sandbox.schema import EntityType, Schema, table
from ftrackd.sandbox.store.changes import legacy_type
from ftrackd.sandbox.store.inserts import LateInserts

#: The column that leads from a row towards its project, and the table it leads to.
PARENT: Final[Mapping[str, tuple[str, str]]] = {
    "appointment": ("context_id", "context"),
    "asset": ("context_id", "context"),
    "asset_version": ("asset_id", "asset"),
    "asset_version_link": ("to_id", "asset_version"),
    "calendar_event": ("project_id", "context"),
    "calendar_event_resource": ("calendar_event_id", "calendar_event"),
    "component": ("version_id", "asset_version"),
    "component_location": ("component_id", "component"),
    "job_component": ("job_id", "job"),
    "list": ("project_id", "context"),
    "list_object": ("list_id", "list"),
    "manager": ("context_id", "context"),
    "membership": ("group_id", "resource"),
    "note_component": ("note_id", "note"),
    "note_label_link": ("note_id", "note"),
    "recipient": ("note_id", "note"),
    "review_session": ("project_id", "context"),
    "review_session_folder": ("project_id", "context"),
    "review_session_invitee": ("review_session_id", "review_session"),
    "review_session_object": ("review_session_id", "review_session"),
    "review_session_object_annotation": ("review_session_object_id", "review_session_object"),
    "review_session_object_annotation_component": ("review_session_object_id", "review_session_object"),
    "review_session_object_status": ("review_session_object_id", "review_session_object"),
    "split_task_part": ("task_id", "context"),
    "timelog": ("context_id", "context"),
    "timer": ("context_id", "context"),
    "typed_context_link": ("to_id", "context"),
    "user_security_role": ("user_id", "resource"),
    "user_security_role_project": ("user_security_role_id", "user_security_role"),
}
#: Tables whose rows hang on anything: ``parent_id`` with ``parent_type``.
POLYMORPHIC: Final = frozenset(["entity_setting", "metadata", "note"])
#: Where an entity is looked for when only its id is known, likeliest first.
_SEARCHED: Final = (
    ("context", "Context"),
    ("asset_version", "AssetVersion"),
    ("asset", "Asset"),
    ("component", "Component"),
    ("note", "Note"),
    ("list", "List"),
    ("resource", "Resource"),
    ("review_session_object", "ReviewSessionObject"),
    ("review_session", "ReviewSession"),
    ("list_object", "ListObject"),
    ("job", "Job"),
)
#: Legacy names that clients write for a type, besides those of the schema.
_LEGACY_TYPES: Final = {"task": "TypedContext", "show": "Project", "assetversion": "AssetVersion"}
_LONGEST_WAY: Final = 100

Row = Mapping[str, Any]


class Rows:
    """Rows of one transaction.

    The ways up are remembered; :meth:`forget_ways` when one may have changed.
    """

    def __init__(self, inserts: LateInserts, schema: Schema) -> None:
        """Read through the connection of *inserts*."""
        self._inserts = inserts
        self.schema = schema
        self._context_ways: dict[str, list[dict[str, Any]]] = {}
        self._projects: dict[str, str | None] = {}

    def get(self, entity_type: EntityType, key: Sequence[str]) -> Row | None:
        """The row of *entity_type* with primary key *key*, if there is one."""
        parameters = {f"key_{number}": part for number, part in enumerate(key)}
        row = self._inserts.connection.execute(_select_by_key(entity_type), parameters).mappings().first()
        return dict(row) if row is not None else None

    def by_id(self, name: str, entity_id: str) -> Row | None:
        """The row of table *name* whose id is *entity_id*."""
        row = self._inserts.connection.execute(_select_by_id(name), {"sought": entity_id}).mappings().first()
        return dict(row) if row is not None else None

    def concrete_type(self, entity_type: EntityType, row: Row) -> EntityType:
        """The very type of *row*, which was read as *entity_type*."""
        values = [row[column] for column in entity_type.type_columns]
        return self.schema[self.schema.concrete_type(entity_type, values)]

    def find(self, entity_id: str, hint: str | None = None) -> tuple[EntityType, Row] | None:
        """The entity called *entity_id*, whatever its type; *hint* says where to look first."""
        names = list(_SEARCHED)
        if hint is not None:
            hinted = self.type_of_hint(hint)
            if hinted is not None and "id" in hinted.attributes:
                names.insert(0, (hinted.table_name, hinted.root))
        tried = set()
        for name, root in names:
            if name in tried:
                continue
            tried.add(name)
            row = self.by_id(name, entity_id)
            if row is not None:
                return self.concrete_type(self.schema[root], row), row
        return None

    def type_of_hint(self, hint: str) -> EntityType | None:
        """The entity type that a client means by *hint*: a schema id or a legacy name."""
        name = hint if hint in self.schema else _LEGACY_TYPES.get(hint.lower())
        return self.schema[name] if name is not None else None

    def way_up(self, entity_type: EntityType, row: Row, entity_id: str) -> list[dict[str, Any]]:
        """``parents`` of a change: from the entity itself up to the project."""
        way: list[dict[str, Any]] = []
        current: tuple[EntityType, Row] | None = (entity_type, row)
        while current is not None and len(way) < _LONGEST_WAY:
            kind, found = current
            if kind.root == "Context":
                if found["id"] not in self._context_ways:
                    # Siblings share the way of their parent: most rows need no reading.
                    self.remember_context(kind, found["id"], found["parent_id"])
                # Items are copied: payloads belong to whoever gets them.
                way.extend(dict(item) for item in self.context_way(found["id"]))
                break
            current = self._above(kind, found)
            way.append(
                {
                    "entityId": entity_id if not way else found["id"],
                    "entityType": legacy_type(self.schema, kind),
                    "entity_type": kind.name,
                    "parentId": current[1].get("id") if current is not None else None,
                }
            )
        return way

    def context_way(self, context_id: str) -> list[dict[str, Any]]:
        """The way from a context, itself included, up to its project. Do not change it."""
        way = self._context_ways.get(context_id)
        if way is None:
            way = self._context_ways[context_id] = self._read_context_way(context_id)
        return way

    def remember_context(self, entity_type: EntityType, context_id: str, parent_id: str | None) -> None:
        """Know the way of a context that was just created, without reading it."""
        above = self.context_way(parent_id) if parent_id is not None else []
        item = {
            "entityId": context_id,
            "entityType": legacy_type(self.schema, entity_type),
            "entity_type": entity_type.name,
            "parentId": parent_id,
        }
        self._context_ways[context_id] = [item, *above]

    def forget_ways(self) -> None:
        """Read every way again: something moved or went away."""
        self._context_ways.clear()
        self._projects.clear()

    def project_of(self, context_id: str) -> str | None:
        """Id of the project that a context belongs to, itself for a project."""
        way = self.context_way(context_id)
        return way[-1]["entityId"] if way and way[-1]["entityType"] == "show" else None

    def _read_context_way(self, context_id: str) -> list[dict[str, Any]]:
        rows = self._inserts.connection.execute(_select_way(), {"sought": context_id})
        root = self.schema["Context"]
        way = []
        for row in rows:
            concrete = self.schema[self.schema.concrete_type(root, (row.context_type, row.object_type_id))]
            way.append(
                {
                    "entityId": row.id,
                    "entityType": legacy_type(self.schema, concrete),
                    "entity_type": concrete.name,
                    "parentId": row.parent_id,
                }
            )
        return way

    def _above(self, entity_type: EntityType, row: Row) -> tuple[EntityType, Row] | None:
        name = entity_type.table_name
        if name in POLYMORPHIC:
            parent_id = row.get("parent_id")
            return self.find(parent_id, row.get("parent_type")) if parent_id else None
        if name == "component" and row.get("version_id") is None and row.get("container_id") is not None:
            column, target = "container_id", "component"
        elif name in PARENT:
            column, target = PARENT[name]
        else:
            return None
        parent_id = row.get(column)
        parent = self.by_id(target, parent_id) if parent_id is not None else None
        if parent is None:
            return None
        root = next(kind for kind in self.schema.types.values() if kind.table is table(target))
        return self.concrete_type(self.schema[root.root], parent), parent


@lru_cache(maxsize=2048)
def _select_by_key(entity_type: EntityType) -> sa.Select[Any]:
    source = entity_type.table
    conditions = [
        column == sa.bindparam(f"key_{number}")
        for number, column in enumerate(entity_type.key_columns(source))
    ]
    clause = entity_type.clause(source)
    return sa.select(source).where(*conditions, *([] if clause is None else [clause]))


@cache
def _select_way() -> sa.Select[Any]:
    above, context = table("lineage"), table("context")
    return (
        sa.select(context.c.id, context.c.context_type, context.c.object_type_id, context.c.parent_id)
        .join(above, context.c.id == above.c.ancestor_id)
        .where(above.c.context_id == sa.bindparam("sought"))
        .order_by(above.c.depth)
    )


@cache
def _select_by_id(name: str) -> sa.Select[Any]:
    source = table(name)
    return sa.select(source).where(source.c.id == sa.bindparam("sought"))
