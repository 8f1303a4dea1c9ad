"""What the sandbox knows about its entity types: attributes, relations and the SQL they stand on.

One table holds one *hierarchy*: ``context`` has projects and every object type, ``component`` all components,
``resource`` users, groups and collaborators. An entity type names its table and the :class:`Criterion` rows
must meet (``context_type is task and object_type_id is ...``), so an object type is born without DDL. Columns
are named as the public attributes are; a few hidden ones have no attribute.

Stored forms, the same on SQLite and PostgreSQL:

* date-times are text ``YYYY-MM-DDTHH:MM:SS`` in UTC, so they sort and compare as text;
* ids are text; booleans are SQL booleans; numbers are floats or integers;
* a *variable* value (see :class:`VariableColumns`) is JSON text beside a text and a number to compare with.

On SQLite text columns collate ``NOCASE``; keys that are names (``Metadata.key``) compare exactly.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

import sqlalchemy as sa

from ftrackd.sandbox.errors import UnknownAttributeError, UnknownEntityTypeError


class ValueType(enum.StrEnum):
    """Type of a scalar value; the value is its name in the schema JSON, except for date-times."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    VARIABLE = "variable"
    OBJECT = "object"


class Links(Protocol):
    """Makes the addresses under which the client that asks can fetch files."""

    def download(self, component_id: str) -> str:
        """Return where the bytes of a component are fetched."""

    def thumbnail(self, component_id: str) -> str:
        """Return where the picture of a component is fetched."""


class NoDefault(enum.Enum):
    """Tells "the schema gives no default" from a default of ``None``."""

    NO_DEFAULT = "no default"


NO_DEFAULT: Final = NoDefault.NO_DEFAULT


@dataclass(frozen=True, slots=True)
class Criterion:
    """``column in values`` on the table it is used with; a single value is the usual case."""

    column: str
    values: tuple[str, ...]

    def clause(self, source: sa.FromClause) -> sa.ColumnElement[bool]:
        """The condition on *source*, a table or an alias of it."""
        column = source.c[self.column]
        return column == self.values[0] if len(self.values) == 1 else column.in_(self.values)


@dataclass(frozen=True, slots=True)
class Through:
    """The association rows between an owner and its targets.

    ``owner column <- table.local`` and ``table.remote -> target column``; *where* restricts association rows.
    *entity_type* names the entity type that these rows are, when they are one (``ListObject``). Association
    rows that the store derives (``ancestors``) are not writable.
    """

    table: sa.FromClause
    local: str
    remote: str
    where: tuple[Criterion, ...] = ()
    entity_type: str | None = None
    is_writable: bool = True


@dataclass(frozen=True, slots=True)
class Join:
    """How the rows of an owner meet those of a target: ``owner.local == target.remote``.

    With *through*: ``owner.local == through.local and through.remote == target.remote``. *where* restricts
    target rows further (``Appointment.type is assignment``), in addition to the target type's own criteria.
    """

    local: str
    remote: str
    through: Through | None = None
    where: tuple[Criterion, ...] = ()


@dataclass(frozen=True, slots=True)
class VariableColumns:
    """The three columns of a variable value.

    *json* holds the value as JSON text (SQL NULL for null) and is what an answer is decoded from. *text* is
    what text criteria compare with: ``1``/``0`` for booleans, the ISO form of date-times, the members of a
    list joined by ``", "``. *number* is set for numbers, booleans and numeric text, else NULL.
    """

    json: str
    text: str
    number: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """One property of an entity type. Always an instance of a subclass."""

    name: str
    #: Legacy name (``alias_for``), or ``None``.
    legacy_name: str | None = None
    is_required: bool = False
    is_immutable: bool = False
    #: Listed in ``computed`` of the schema: the server sets it, clients never do.
    is_computed: bool = False
    #: May be used in criteria but not be projected (``restricted_projection``).
    is_restricted: bool = False

    @property
    def legacy_key(self) -> str:
        """Name of the attribute in ``keys`` and ``changes`` of ``ftrack.update``."""
        return (self.legacy_name or self.name).lower()


@dataclass(frozen=True, slots=True)
class Scalar(Attribute):
    """A stored value, one column of the type's table."""

    #: Values of VARIABLE and OBJECT are JSON text in the column, to be decoded for an answer.
    value_type: ValueType = ValueType.STRING
    #: Name of the column in :attr:`EntityType.table`; for VARIABLE the JSON column.
    column: str = ""
    #: Set for VARIABLE: the columns to read from and to compare with.
    variable: VariableColumns | None = None
    default: Any = NO_DEFAULT
    #: What a foreign key points to, as the schema names it: ``Status.id``, ``User.user_id``.
    foreign_key: str | None = None
    #: ``format`` of the schema where it is neither foreign_key nor date-time (``json``, ``integer``).
    format: str | None = None
    #: Whether the value is an entity type that the column stores by its public schema id (``parent_type``).
    is_entity_type: bool = False
    choices: tuple[str, ...] = ()

    def expression(self, source: sa.FromClause) -> sa.ColumnElement[Any]:
        """The column in *source*, a table or an alias of it."""
        return source.c[self.column]


@dataclass(frozen=True, slots=True)
class Computed(Attribute):
    """A value made from others. It cannot be written.

    Exactly one of *build* and *load* is set.
    """

    value_type: ValueType = ValueType.OBJECT
    #: SQL for the value over the type's table (or an alias of it). May be used in criteria and ordering
    #: unless *present* is set as well.
    build: Callable[[sa.FromClause], sa.ColumnElement[Any]] | None = None
    #: Values for many entities at once, ``id -> value``, for what SQL cannot say (``link``).
    load: Callable[[sa.Connection, Sequence[str]], Mapping[str, Any]] | None = None
    #: Turns the value of *build* into the value of the answer (``thumbnail_url``, ``url``).
    present: Callable[[Any, Links | None], Any] | None = None

    @property
    def is_filterable(self) -> bool:
        """Whether criteria and ordering may name the attribute."""
        return self.build is not None and self.present is None


@dataclass(frozen=True, slots=True)
class Reference(Attribute):
    """One other entity, or none."""

    target: str = ""
    join: Join = field(default_factory=lambda: Join("", "id"))
    #: Set when the owner's side is no column: SQL for the target's key over the owner's table. It replaces
    #: ``join.local`` (``Asset.latest_version``).
    build: Callable[[sa.FromClause], sa.ColumnElement[Any]] | None = None

    def expression(self, source: sa.FromClause) -> sa.ColumnElement[Any]:
        """SQL for the target's key in *source*, the owner's table or an alias of it."""
        return self.build(source) if self.build is not None else source.c[self.join.local]


@dataclass(frozen=True, slots=True)
class Collection(Attribute):
    """Several other entities, a set."""

    target: str = ""
    join: Join = field(default_factory=lambda: Join("id", ""))
    #: Columns of the target that order the members of an answer; its primary key follows.
    order_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mapped(Collection):
    """A collection of key-value entities that clients show as a mapping (metadata, custom attributes)."""

    #: Attribute names of key and value in the target; ``None`` for links, which have neither.
    key_attribute: str | None = "key"
    value_attribute: str | None = "value"


@dataclass(frozen=True, slots=True, eq=False)
class EntityType:
    """One type of entity; equal to itself alone.

    Rows are those of *table* that meet all *criteria*. *table* is a ``Table``, or for the dense custom
    attribute values (``ContextCustomAttributeValue`` ...) a subquery; both have ``.c`` and ``.alias()``.
    """

    name: str
    table: sa.FromClause
    attributes: Mapping[str, Attribute]
    #: Names of scalar attributes, in the order of ``entity_key``.
    primary_key: tuple[str, ...]
    criteria: tuple[Criterion, ...] = ()
    #: What a new row of this very type has in the columns that decide its type.
    stamp: Mapping[str, str] = field(default_factory=dict)
    #: The nearest type that this one specialises (``Shot`` -> ``TypedContext`` -> ``Context``).
    base: str | None = None
    #: Whether rows can be of this very type; ``Context`` and ``TypedContext`` are never.
    is_concrete: bool = True
    #: Columns that decide the concrete type of a row, see :meth:`Schema.concrete_type`; empty when it is
    #: always this type.
    type_columns: tuple[str, ...] = ()
    default_projections: tuple[str, ...] = ()
    #: As the schema lists them, with legacy names.
    system_projections: tuple[str, ...] = ()
    #: Public attribute names that every row of an answer carries besides the primary key.
    always_projected: tuple[str, ...] = ()
    #: Legacy table (``alias_for``); with *classifiers* for ``{"id": ..., "classifiers": {...}}``.
    legacy_name: str | None = None
    classifiers: Mapping[str, str] = field(default_factory=dict)
    #: Whether aggregate queries are allowed (``metadata.group_by``).
    is_groupable: bool = False
    #: The schema JSON lists what it inherits from (``$mixin``); ``hints`` of it, when there are any.
    mixin_hints: Mapping[str, str] = field(default_factory=dict)
    #: The topmost type above this one (``Shot`` -> ``Context``), itself when there is none.
    root: str = ""
    #: Set on object types.
    object_type_id: str | None = None
    #: Whether ``type: object`` stands in the JSON; ``SplitTaskPart`` alone comes without.
    states_type: bool = True

    @property
    def table_name(self) -> str:
        """Name of the table, or of the subquery that stands for one."""
        return str(getattr(self.table, "name", ""))

    def attribute(self, name: str) -> Attribute:
        """The attribute called *name*; raises :class:`UnknownAttributeError`."""
        try:
            return self.attributes[name]
        except KeyError:
            raise UnknownAttributeError(self.name, name, self.attributes) from None

    def key_columns(self, source: sa.FromClause) -> list[sa.ColumnElement[Any]]:
        """Columns of the primary key in *source*, in key order."""
        return [source.c[self.scalar(name).column] for name in self.primary_key]

    def scalar(self, name: str) -> Scalar:
        """The stored attribute called *name*; raises :class:`UnknownAttributeError` when it is not stored."""
        attribute = self.attribute(name)
        if not isinstance(attribute, Scalar):
            raise UnknownAttributeError(self.name, name, self.attributes)
        return attribute

    def clause(self, source: sa.FromClause) -> sa.ColumnElement[bool] | None:
        """The criteria on *source* as one condition; ``None`` when every row of the table is of this type."""
        if not self.criteria:
            return None
        return sa.and_(*(criterion.clause(source) for criterion in self.criteria))


@dataclass(frozen=True)
class Schema:
    """All entity types of an installation at one moment.

    It is replaced, never changed: object types that are created, changed or deleted make the store build a
    new one. ``concrete_types`` maps (root type, values of the type columns) to the type of such rows.
    """

    types: Mapping[str, EntityType]
    concrete_types: Mapping[tuple[str, tuple[str | None, ...]], str]
    #: The schema JSON, made once by the builder.
    json_types: tuple[dict[str, Any], ...] = ()

    def __getitem__(self, name: str) -> EntityType:
        try:
            return self.types[name]
        except KeyError:
            raise UnknownEntityTypeError(name, self.types) from None

    def __contains__(self, name: object) -> bool:
        return name in self.types

    def concrete_type(self, entity_type: EntityType, values: Sequence[str | None]) -> str:
        """Name of the concrete type of a row.

        *values* are the row's values of ``entity_type.type_columns``. A row whose values are known to no type
        (an object type that was deleted) counts as *entity_type* itself.
        """
        if not entity_type.type_columns:
            return entity_type.name
        return self.concrete_types.get((entity_type.root, tuple(values)), entity_type.name)

    def subtypes(self, name: str) -> tuple[EntityType, ...]:
        """All types below *name*, nearest first, without *name* itself."""
        return self._subtypes.get(name, ())

    def find(self, entity_type: EntityType, name: str) -> Iterator[tuple[EntityType, Attribute]]:
        """Every (type, attribute) that *name* can mean on rows of *entity_type*.

        The attribute of the type itself if there is one, and nothing else; otherwise those of its subtypes:
        rows of a subtype without the attribute do not match. A subtype is left out when a type above it was
        given already. Yields nothing for an unknown name.
        """
        own = entity_type.attributes.get(name)
        if own is not None:
            yield entity_type, own
            return
        covered: set[str] = set()
        for subtype in self.subtypes(entity_type.name):
            if subtype.base in covered:
                covered.add(subtype.name)
                continue
            attribute = subtype.attributes.get(name)
            if attribute is not None:
                covered.add(subtype.name)
                yield subtype, attribute

    def is_a(self, name: str, ancestor: str) -> bool:
        """Whether type *name* is *ancestor* or one of its subtypes."""
        current: str | None = name
        while current is not None:
            if current == ancestor:
                return True
            entity_type = self.types.get(current)
            current = entity_type.base if entity_type is not None else None
        return False

    def to_json(self) -> list[dict[str, Any]]:
        """The answer to ``query_schemas``, in stable order. Do not change the dictionaries."""
        return list(self.json_types)

    @cached_property
    def hash(self) -> str:
        """``schema_hash`` of the server information: MD5 over the JSON with sorted keys."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.md5(text.encode("ascii"), usedforsecurity=False).hexdigest()

    @cached_property
    def _subtypes(self) -> Mapping[str, tuple[EntityType, ...]]:
        children: dict[str, list[EntityType]] = {}
        for entity_type in self.types.values():
            if entity_type.base is not None:
                children.setdefault(entity_type.base, []).append(entity_type)
        found: dict[str, tuple[EntityType, ...]] = {}
        for name in children:
            below: list[EntityType] = []
            level = children[name]
            while level:
                below.extend(level)
                level = [child for parent in level for child in children.get(parent.name, ())]
            found[name] = tuple(below)
        return found
