"""One batch of changes: create, update and delete, with everything that follows from them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.errors import (
    EntityNotFoundError,
    IntegrityError,
    RequestError,
    ValidationError,
)
from ftrackd.sandbox.schema import Collection, Computed, EntityType, Reference, Scalar, Schema, table
from ftrackd.sandbox.schema.computed import utc_now
from ftrackd.sandbox.store import consequences, custom_values, defaults, deletion, relations
from ftrackd.sandbox.store.changes import Announcement, Change, ChangeRecorder, legacy_type
from ftrackd.sandbox.store.inserts import LateInserts, insert
from ftrackd.sandbox.store.plans import plan
from ftrackd.sandbox.store.rows import Row, Rows
from ftrackd.sandbox.store.values import reference_key, store_scalar
from ftrackd.sandbox.store.violations import translate
from ftrackd.sandbox.store.workflow import Workflow, read_workflow

Key = list[Any]
#: PostgreSQL's code for, among others, a text beyond what its indexes take.
_PROGRAM_LIMIT_EXCEEDED = "54000"
#: Types whose rows decide what new entities get.
_WORKFLOW_ROOTS = frozenset(
    [
        "ProjectSchema", "ProjectSchemaOverride", "Schema", "SchemaStatus", "SchemaType", "Status", "Type",
        "Priority", "TaskTypeSchema", "TaskTypeSchemaType", "WorkflowSchema", "WorkflowSchemaStatus",
    ]
)  # fmt: skip


class Transaction:
    """Everything here happens together or not at all. Made by :meth:`Store.transaction`.

    Later operations see earlier ones; queries through :attr:`connection` do as well.
    """

    def __init__(
        self,
        connection: sa.Connection,
        schema: Schema,
        actor: Actor | None,
        read_schema: Callable[[sa.Connection], Schema],
        workflows: dict[str | None, Workflow],
    ) -> None:
        """Work on *connection*, whose transaction the store ends."""
        #: Identifies the transaction; also the id of the first ``ftrack.update`` event that announces it.
        self.id = uuid.uuid4().hex
        self._inserts = LateInserts(connection)
        self.actor = actor
        #: Time of the transaction as stored.
        self.now = utc_now()
        self.rows = Rows(self._inserts, schema)
        self.recorder = ChangeRecorder()
        self.changed_workflows = False
        self._schema = schema
        self._read_schema = read_schema
        self._workflows = workflows
        self._own_workflows: dict[str | None, Workflow] = {}
        self._project_workflows: dict[str | None, Workflow] = {}
        self._configurations: dict[str, Row | None] = {}
        self._announcements: list[Announcement] | None = None
        self._owed: list[tuple[EntityType, list[Any], dict[str, str]]] = []

    @property
    def connection(self) -> sa.Connection:
        """The connection, which sees everything that was written."""
        return self._inserts.connection

    def insert_late(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert *rows* into the table called *name* before anybody looks, with others like them."""
        self._inserts.add(name, rows)

    @property
    def schema(self) -> Schema:
        """The schema as this transaction sees it, with the object types it made."""
        return self._schema

    @property
    def changes(self) -> list[Change]:
        """What was changed, one :class:`Change` for each entity, in order of first change."""
        if self._announcements is None:
            return self.recorder.finish()
        return [change for announcement in self._announcements for change in announcement.changes]

    @property
    def announcements(self) -> list[Announcement]:
        """The same in the events to publish; empty until the transaction is committed."""
        return self._announcements or []

    def seal(self, announced: list[Announcement]) -> None:
        """Fix what is announced; the store does that once it is committed."""
        self._announcements = announced

    def owe(self, kind: EntityType, key: list[Any], missing: dict[str, str]) -> None:
        """Note that these attributes (name to column) of a new entity must have a value before the commit."""
        self._owed.append((kind, key, missing))

    def settle(self) -> None:
        """Look whether everything that was owed is there; raises :class:`ValidationError`."""
        for kind, key, missing in self._owed:
            row = self.rows.get(kind, key)
            if row is not None:
                defaults.refuse(kind, [name for name, column in missing.items() if row[column] is None])

    # Operations of clients.

    def create(self, entity_type: str, data: Mapping[str, Any]) -> Key:
        """Create an entity from the attributes in *data*; return its primary key.

        Values may be tagged date-times, references ``{"__entity_type__", "id"}`` and lists of them. Raises
        :class:`RequestError`.
        """
        kind = self.schema[entity_type]
        if custom_values.is_value_type(kind):
            return custom_values.create(self, kind, data)
        kind = self._concrete(kind, data)
        values, collections = self._split(kind, data)
        self._fill_key(kind, values)
        known = plan(kind)
        for name, default in known.defaults:
            if name not in data and not default.keys() <= values.keys():
                values.update(default)
        values.update(kind.stamp)
        consequences.before_create(self, kind, values)
        defaults.fill(self, kind, values)
        row = {column: values.get(column) for column in known.columns}
        stored = {column: value for column, value in row.items() if value is not None}
        with self._explained(kind, values):
            insert(self._inserts.direct, kind.table_name, [stored])
        key = [row[column] for column in known.key_columns]
        consequences.after_create(self, kind, row)
        added = {name: {"old": None, "new": row[column]} for name, column in known.announced}
        self.record("add", kind, row, added)
        for attribute_name, members in collections.items():
            relations.write(self, kind, key, attribute_name, members)
        self._notice(kind)
        return key

    def update(self, entity_type: str, key: Sequence[Any] | str, data: Mapping[str, Any]) -> Key:
        """Change attributes of an entity; return its primary key.

        Raises :class:`EntityNotFoundError` and other :class:`RequestError`.
        """
        kind = self.schema[entity_type]
        identity = self._key(kind, key)
        if custom_values.is_value_type(kind):
            return custom_values.update(self, kind, identity, data)
        found = self.rows.get(kind, identity)
        if found is None:
            raise self._not_found(kind, identity)
        row = dict(found)
        kind = self.rows.concrete_type(kind, row)
        values, collections = self._split(kind, data)
        defaults.refill(self, kind, values)
        changed = {column: value for column, value in values.items() if row.get(column) != value}
        self._check_immutable(kind, changed)
        if changed:
            self._change(kind, identity, row, changed)
        for attribute_name, members in collections.items():
            relations.write(self, kind, identity, attribute_name, members)
        return identity

    def convert(self, entity_type: str, key: Sequence[Any] | str, new_entity_type: str) -> Key:
        """Give a context another object type; return its primary key.

        Raises :class:`ValidationError` when one of the types is no object type, and other
        :class:`RequestError`.
        """
        kind, new_kind = self.schema[entity_type], self.schema[new_entity_type]
        if kind.root != "Context" or new_kind.object_type_id is None:
            raise ValidationError(
                f"{entity_type} cannot be converted to {new_entity_type}: both have to be object types."
            )
        identity = self._key(kind, key)
        row = self.rows.get(kind, identity)
        if row is None or row["context_type"] != "task":
            raise self._not_found(kind, identity)
        if row["object_type_id"] != new_kind.object_type_id:
            self._change(new_kind, identity, dict(row), {"object_type_id": new_kind.object_type_id})
        return identity

    def _change(self, kind: EntityType, identity: Key, row: Row, changed: dict[str, Any]) -> None:
        """Write the *changed* columns of the *row* and what follows from them."""
        consequences.before_update(self, kind, row, changed)
        statement = sa.update(kind.table).values(**_storable(kind, changed))  # type: ignore[arg-type]
        matches = zip(kind.key_columns(kind.table), identity, strict=True)
        connection = self.connection
        with self._explained(kind, changed):
            connection.execute(statement.where(*(column == value for column, value in matches)))
        new_row = {**row, **changed}
        if "object_type_id" in changed:
            self.rows.forget_ways()
        consequences.after_update(self, kind, row, new_row)
        action = "move" if kind.root == "Context" and "parent_id" in changed else "update"
        self.record(action, kind, new_row, _difference(kind, row, changed))
        self._notice(kind)

    def delete(self, entity_type: str, key: Sequence[Any] | str) -> None:
        """Delete an entity and everything that cannot be without it.

        Raises :class:`EntityNotFoundError` and other :class:`RequestError`.
        """
        kind = self.schema[entity_type]
        identity = self._key(kind, key)
        if custom_values.is_value_type(kind):
            custom_values.delete(self, kind, identity)
            return
        row = self.rows.get(kind, identity)
        if row is None:
            if kind.name == "Metadata":
                # Clients that take a key out of the mapping send its deletion too.
                return
            raise self._not_found(kind, identity)
        kind = self.rows.concrete_type(kind, row)
        deletion.delete(self, kind, identity, row)
        self._notice(kind)

    def mark_encoded(self, entity_type: str, key: Sequence[Any] | str) -> None:
        """Announce that the media of an entity are ready (action ``encoded``)."""
        kind = self.schema[entity_type]
        identity = self._key(kind, key)
        row = self.rows.get(kind, identity)
        if row is None:
            raise self._not_found(kind, identity)
        kind = self.rows.concrete_type(kind, row)
        self.record("encoded", kind, row, {})

    # For the other modules of the store.

    def refresh(self) -> None:
        """Take up object types that were written past this transaction's operations."""
        self._schema = self.rows.schema = self._read_schema(self.connection)
        self.rows.forget_ways()

    def record(
        self,
        action: str,
        kind: EntityType,
        row: Row,
        values: dict[str, dict[str, Any]],
        *,
        custom_keys: set[str] | None = None,
    ) -> None:
        """Note that the entity in *row* changed."""
        key = tuple(str(row[kind.scalar(name).column]) for name in kind.primary_key)
        parents = self.rows.way_up(kind, row, key[0])
        last = parents[-1]
        self.recorder.record(
            Change(
                entity_type=kind.name,
                key=key,
                action=action,
                legacy_type=legacy_type(self.schema, kind),
                object_type_id=row.get("object_type_id") if kind.root == "Context" else None,
                parent_id=parents[0]["parentId"],
                project_id=last["entityId"] if last["entityType"] == "show" else row.get("project_id"),
                parents=parents,
                values=values,
                custom_keys=custom_keys or set(),
            )
        )

    def workflow(self, project_id: str | None) -> Workflow:
        """The choices of the schema of a project."""
        if project_id in self._project_workflows:
            return self._project_workflows[project_id]
        row = self.rows.by_id("context", project_id) if project_id is not None else None
        project_schema_id = row["project_schema_id"] if row is not None else None
        known = self._own_workflows if self.changed_workflows else self._workflows
        if project_schema_id not in known:
            known[project_schema_id] = read_workflow(self.connection, project_schema_id)
        self._project_workflows[project_id] = known[project_schema_id]
        return known[project_schema_id]

    def configuration(self, configuration_id: str) -> Row | None:
        """A custom attribute configuration, remembered until one changes."""
        if configuration_id not in self._configurations:
            found = self.rows.by_id("custom_attribute_configuration", configuration_id)
            self._configurations[configuration_id] = found
        return self._configurations[configuration_id]

    def first_id(self, name: str, order: str) -> str | None:
        """Id of the first row of table *name*, ordered by column *order*."""
        source = table(name)
        found: str | None = self.connection.execute(
            sa.select(source.c.id).order_by(source.c[order], source.c.id).limit(1)
        ).scalar()
        return found

    def new_id(self) -> str:
        """A new id."""
        return str(uuid.uuid4())

    def days_later(self, days: int) -> str:
        """The time of the transaction plus *days*."""
        return (datetime.fromisoformat(self.now) + timedelta(days=days)).isoformat()

    def missing_reference(self, owner: str, attribute: str, value: Any) -> RequestError:
        """The error for a reference to something that does not exist."""
        return IntegrityError(f"{owner}.{attribute} refers to {value!r}, which does not exist.")

    def _key(self, kind: EntityType, key: Sequence[Any] | str) -> Key:
        parts = [key] if isinstance(key, str | int) else list(key)
        if len(parts) != len(kind.primary_key):
            raise ValidationError(
                f"The key of {kind.name} has {len(kind.primary_key)} part(s) "
                f"({', '.join(kind.primary_key)}), not {len(parts)}."
            )
        return [
            store_scalar(kind.name, kind.scalar(name), part)[kind.scalar(name).column]
            for name, part in zip(kind.primary_key, parts, strict=True)
        ]

    def _not_found(self, kind: EntityType, key: Key) -> EntityNotFoundError:
        return EntityNotFoundError(f"There is no {kind.name} with key {', '.join(map(str, key))}.")

    def _concrete(self, kind: EntityType, data: Mapping[str, Any]) -> EntityType:
        """The type to create: *kind*, or for a base type what the data say."""
        if kind.root in ("CustomAttributeLink", "CustomAttributeLinkFrom"):
            return custom_values.link_type(self, kind, data)
        if kind.is_concrete:
            return kind
        values = [data.get(column) for column in kind.type_columns]
        name = self.schema.concrete_type(
            kind, [value if isinstance(value, str) else None for value in values]
        )
        if kind.root == "Context" and data.get("object_type_id") is not None:
            name = self.schema.concrete_type(kind, ("task", str(reference_key(data["object_type_id"]))))
        if not self.schema[name].is_concrete:
            raise ValidationError(
                f"{kind.name} cannot be created: it is the base of "
                f"{', '.join(sorted(subtype.name for subtype in self.schema.subtypes(kind.name)))}."
            )
        return self.schema[name]

    def _split(self, kind: EntityType, data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Columns with their stored values, and the collections apart."""
        values: dict[str, Any] = {}
        references: dict[str, Any] = {}
        collections: dict[str, Any] = {}
        for name, value in data.items():
            if name.startswith("__"):
                continue
            attribute = kind.attribute(name)
            if isinstance(attribute, Scalar):
                values.update(store_scalar(kind.name, attribute, value))
            elif isinstance(attribute, Collection):
                collections[name] = value
            elif isinstance(attribute, Computed) or (isinstance(attribute, Reference) and attribute.build):
                raise ValidationError(f"{kind.name}.{name} is computed by the server and cannot be set.")
            elif isinstance(attribute, Reference):
                references.update(relations.reference_columns(self, kind, attribute, value))
        # A reference says more than the empty key that a client's defaults put beside it.
        for column, value in references.items():
            if value is not None or column not in values:
                values[column] = value
        return values, collections

    def _fill_key(self, kind: EntityType, values: dict[str, Any]) -> None:
        if kind.primary_key == ("id",) and kind.scalar("id").default == "{uid}" and not values.get("id"):
            values["id"] = self.new_id()

    def _check_immutable(self, kind: EntityType, changed: Mapping[str, Any]) -> None:
        for attribute in kind.attributes.values():
            if (
                isinstance(attribute, Scalar)
                and attribute.column in changed
                and (attribute.is_immutable or attribute.column in kind.type_columns)
            ):
                raise ValidationError(f"{kind.name}.{attribute.name} cannot be changed once it is set.")

    @contextmanager
    def _explained(self, kind: EntityType, values: Mapping[str, Any]) -> Iterator[None]:
        """Say what the database refuses when it refuses *values* for a row of *kind*."""
        try:
            yield
        except sa.exc.IntegrityError as error:
            raise translate(self, kind, values, error) from error
        except sa.exc.DataError as error:
            raise ValidationError(f"{kind.name} has a value that does not fit: {error.orig}") from error
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", None) == _PROGRAM_LIMIT_EXCEEDED:
                raise ValidationError(f"{kind.name} has a value that is too long: {error.orig}") from error
            raise

    def _notice(self, kind: EntityType) -> None:
        """Follow changes of rows that shape the schema or the workflows."""
        if kind.name == "ObjectType":
            self.refresh()
        if kind.root == "CustomConfigurationBase":
            self._configurations.clear()
        if kind.root in _WORKFLOW_ROOTS:
            self.changed_workflows = True
            self._own_workflows.clear()
            self._project_workflows.clear()
        elif kind.name == "Project":
            self._project_workflows.clear()


def _storable(kind: EntityType, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in kind.table.c}


def _difference(kind: EntityType, row: Row, changed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    new_row = {**row, **changed}
    return {
        name: {"old": row.get(column), "new": new_row[column]}
        for name, column in plan(kind).announced
        if column in changed and row.get(column) != new_row[column]
    }
