"""From declarations and object types to the :class:`Schema` that everybody asks."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from ftrackd.sandbox.schema import computed
from ftrackd.sandbox.schema.declaration import Declaration, Property, declarations, lineage
from ftrackd.sandbox.schema.json_form import type_to_json
from ftrackd.sandbox.schema.model import (
    Attribute,
    Collection,
    Computed,
    Criterion,
    EntityType,
    Join,
    Mapped,
    Reference,
    Scalar,
    Schema,
    Through,
    ValueType,
)
from ftrackd.sandbox.schema.tables import table, table_name, variable_columns
from ftrackd.sandbox.schema.views import dense_values

#: Attributes that cannot be changed on object types whose flag is off; milestones have one date and a bid.
_FLAGGED: Final = (
    ("is_typeable", ("type_id", "type")),
    ("is_statusable", ("status_id", "status")),
    ("is_schedulable", ("start_date", "end_date")),
    ("is_time_reportable", ("bid",)),
    ("is_prioritizable", ("priority_id", "priority")),
)
MILESTONE_ID: Final = "01decdd1-51cb-11e3-9d5b-20c9d0831e59"
TASK_ID: Final = "11c137c0-ee7e-4f9c-91c5-8c77cec22b2c"
NO_PRIORITY_ID: Final = "9661b320-3a0c-11e2-81c1-0800200c9a66"


@dataclass(frozen=True, slots=True)
class ObjectType:
    """A row of the entity type ObjectType, as far as it shapes the schema."""

    id: str
    name: str
    is_typeable: bool = True
    is_statusable: bool = True
    is_schedulable: bool = False
    is_time_reportable: bool = False
    is_prioritizable: bool = True

    @property
    def type_name(self) -> str:
        """Name of the entity type."""
        return object_type_name(self.name)

    def immutable_attributes(self) -> frozenset[str]:
        """What the flags make immutable, in addition to the rest of TypedContext."""
        names = {"object_type_id", "object_type"}
        for flag, attributes in _FLAGGED:
            if not getattr(self, flag):
                names.update(attributes)
        if self.id == MILESTONE_ID:
            names.discard("bid")
            names.discard("end_date")
            names.add("start_date")
        if self.id != TASK_ID:
            names.add("split_parts")
        return frozenset(names)


def object_type_name(name: str) -> str:
    """The entity type that an object type called *name* gives: the name without what cannot stand in one."""
    return "".join(character for character in name if character.isalnum() or character == "_")


def build_schema(object_types: Iterable[ObjectType]) -> Schema:
    """The schema of an installation that has *object_types*, in that order.

    An object type whose name is taken (``Project``) or empty gives no entity type.
    """
    types: dict[str, EntityType] = dict(_declared_types())
    json_types: list[dict[str, Any]] = list(_declared_json())
    for object_type in object_types:
        name = object_type.type_name
        if name and name not in types:
            types[name] = _object_entity_type(object_type)
            json_types.append(_object_json(object_type))
    return Schema(types, _concrete_types(types), tuple(json_types))


def _concrete_types(types: Mapping[str, EntityType]) -> dict[tuple[str, tuple[str | None, ...]], str]:
    found: dict[tuple[str, tuple[str | None, ...]], str] = {}
    for entity_type in types.values():
        if entity_type.is_concrete and entity_type.type_columns:
            key = tuple(entity_type.stamp.get(column) for column in entity_type.type_columns)
            found.setdefault((entity_type.root, key), entity_type.name)
    return found


@cache
def _declared_types() -> dict[str, EntityType]:
    return {name: _entity_type(declaration) for name, declaration in declarations().items()}


@cache
def _declared_json() -> tuple[dict[str, Any], ...]:
    return tuple(type_to_json(name) for name in declarations())


def _entity_type(declaration: Declaration) -> EntityType:
    line = lineage(declaration.name)
    source = _source(line)
    attributes: dict[str, Attribute] = {}
    for member in line:
        for declared in member.properties.values():
            attributes[declared.name] = _attribute(declared, source)
    for name in _listed(line, "immutable"):
        if name in attributes:
            attributes[name] = replace(attributes[name], is_immutable=True)
    for name in _listed(line, "required"):
        if name in attributes:
            attributes[name] = replace(attributes[name], is_required=True)
    key = _inherited(line, "key") or ("id",)
    system = _inherited(line, "system") or ()
    types = _inherited(line, "types") or ()
    legacy = declaration.words("legacy") or ()
    rows = _criteria(line)
    return EntityType(
        name=declaration.name,
        table=source,
        attributes=attributes,
        primary_key=key,
        # A root lists the values of all its subtypes, so that it matches every row.
        criteria=tuple(rows.values()) if len(line) > 1 else (),
        stamp={column: criterion.values[0] for column, criterion in rows.items()},
        base=declaration.base,
        is_concrete=not declaration.has("abstract"),
        type_columns=types,
        default_projections=_inherited(line, "default") or key,
        system_projections=system,
        always_projected=_always_projected(attributes, system, types, key),
        legacy_name=legacy[0] if legacy else None,
        classifiers=dict(pair.split("=") for pair in legacy[1:]),
        is_groupable=any(member.has("groupable") for member in line),
        states_type=not declaration.has("typeless"),
        root=line[0].name,
    )


def _source(line: list[Declaration]) -> sa.FromClause:
    for declaration in line:
        if words := declaration.words("view"):
            return dense_values(words[1])
    name = table_name(line[-1].name)
    assert name is not None
    return table(name)


def _inherited(line: list[Declaration], directive: str) -> tuple[str, ...] | None:
    for declaration in reversed(line):
        if (words := declaration.words(directive)) is not None:
            return words
    return None


def _listed(line: list[Declaration], directive: str) -> set[str]:
    return {name for declaration in line for name in declaration.words(directive) or ()}


def _criteria(line: list[Declaration]) -> dict[str, Criterion]:
    criteria: dict[str, Criterion] = {}
    for declaration in line:
        for pair in declaration.words("rows") or ():
            column, _, values = pair.partition("=")
            criteria[column] = Criterion(column, tuple(values.split(",")))
    return criteria


def _always_projected(
    attributes: Mapping[str, Attribute],
    system: tuple[str, ...],
    types: tuple[str, ...],
    key: tuple[str, ...],
) -> tuple[str, ...]:
    by_legacy_name = {attribute.legacy_name: name for name, attribute in attributes.items()}
    names: dict[str, None] = {}
    for listed in (*system, *types):
        name = listed if listed in attributes else by_legacy_name.get(listed)
        if listed == "_casted_value":
            name = "value"
        if name is not None and name not in key and isinstance(attributes[name], Scalar):
            names[name] = None
    return tuple(names)


def _attribute(declared: Property, source: sa.FromClause) -> Attribute:
    common: dict[str, Any] = {
        "name": declared.name,
        "legacy_name": declared.legacy_name,
        "is_required": declared.is_required,
        "is_immutable": declared.is_immutable,
        "is_computed": declared.is_computed,
        "is_restricted": declared.name.startswith("custom_attribute_links"),
    }
    if declared.kind == "scalar":
        return _scalar(declared, common)
    if declared.kind == "computed":
        return _computed(declared, source, common)
    if declared.kind == "reference":
        build = computed.BUILDERS[declared.builder][0] if declared.builder else None
        join = Join(declared.local or "", declared.remote or "id")
        return Reference(**common, target=declared.target, join=join, build=build)
    join = _collection_join(declared)
    if declared.kind == "collection":
        return Collection(**common, target=declared.target, join=join, order_by=_order_by(declared.target))
    has_pair = not common["is_restricted"]
    return Mapped(
        **common,
        target=declared.target,
        join=join,
        order_by=("key",) if has_pair else (),
        key_attribute="key" if has_pair else None,
        value_attribute="value" if has_pair else None,
    )


def _scalar(declared: Property, common: dict[str, Any]) -> Scalar:
    column = declared.column or declared.name
    is_variable = declared.value_type is ValueType.VARIABLE
    return Scalar(
        **common,
        value_type=declared.value_type,
        column=column,
        variable=variable_columns(column) if is_variable else None,
        default=declared.default,
        foreign_key=declared.foreign_key,
        format=declared.format if declared.format != "foreign_key" else None,
        is_entity_type=declared.is_entity_type,
        choices=declared.choices,
    )


def _computed(declared: Property, source: sa.FromClause, common: dict[str, Any]) -> Computed:
    value_type = json_value_type(declared)
    if declared.builder == "link":
        load = functools.partial(computed.load_link, str(getattr(source, "name", "")))
        return Computed(**common, value_type=value_type, load=load)
    assert declared.builder is not None
    build, present = computed.BUILDERS[declared.builder]
    return Computed(**common, value_type=value_type, build=build, present=present)


def json_value_type(declared: Property) -> ValueType:
    """The type of a computed scalar: stated, or an object for what has a ``url`` in it."""
    if declared.builder is not None and declared.builder.endswith("url"):
        return ValueType.OBJECT
    return declared.value_type


def _collection_join(declared: Property) -> Join:
    where = (Criterion(declared.where[0], (declared.where[1],)),) if declared.where else ()
    local, remote = declared.local or "id", declared.remote or "id"
    if declared.through is None:
        return Join(local, remote, where=where)
    name, through_local, through_remote = declared.through
    through = Through(
        table(name),
        through_local,
        through_remote,
        where,
        entity_type=declared.through_type,
        is_writable=name != "lineage",
    )
    return Join(local, remote, through)


def _order_by(target: str) -> tuple[str, ...]:
    name = table_name(target)
    if name is None:
        return ()
    columns = table(name).c
    return tuple(column for column in ("sort", "sort_order", "version", "name", "date") if column in columns)[
        :2
    ]


def _object_entity_type(object_type: ObjectType) -> EntityType:
    base = _declared_types()["TypedContext"]
    attributes = dict(base.attributes)
    for name in object_type.immutable_attributes():
        attributes[name] = replace(attributes[name], is_immutable=True)
    for name, default in _object_defaults(object_type).items():
        attribute = attributes[name]
        assert isinstance(attribute, Scalar)
        attributes[name] = replace(attribute, default=default)
    return replace(
        base,
        name=object_type.type_name,
        attributes=attributes,
        criteria=(*base.criteria, Criterion("object_type_id", (object_type.id,))),
        stamp={**base.stamp, "object_type_id": object_type.id},
        base="TypedContext",
        is_concrete=True,
        classifiers={"object_typeid": object_type.id},
        object_type_id=object_type.id,
    )


def _object_defaults(object_type: ObjectType) -> dict[str, Any]:
    priority = NO_PRIORITY_ID if object_type.is_prioritizable else None
    return {"object_type_id": object_type.id, "priority_id": priority}


def _object_json(object_type: ObjectType) -> dict[str, Any]:
    form = dict(_typed_context_json())
    form["id"] = object_type.type_name
    form["$mixin"] = {"$ref": "TypedContext"}
    form["alias_for"] = {"id": "Task", "classifiers": {"object_typeid": object_type.id}}
    properties = dict(form["properties"])
    for name, default in _object_defaults(object_type).items():
        properties[name] = {**properties[name], "default": default}
    form["properties"] = properties
    immutable = object_type.immutable_attributes() | set(form["immutable"])
    form["immutable"] = [name for name in properties if name in immutable]
    return form


def _typed_context_json() -> dict[str, Any]:
    return type_to_json("TypedContext")
