"""The tables behind the declarations, the same for every database and every installation."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from ftrackd.sandbox.schema.declaration import UID, Declaration, Property, declarations, lineage
from ftrackd.sandbox.schema.model import ValueType, VariableColumns


class FoldedText(sa.Text):
    """A text that compares without regard to case, as on the servers of real installations.

    SQLite's columns do so by themselves, on PostgreSQL queries see to it.
    """


TEXT: Final = FoldedText().with_variant(sqlite.TEXT(collation="NOCASE"), "sqlite")
#: For keys that are names, so that no row is refused because another differs in case.
EXACT_TEXT: Final = sa.Text()
_INTEGER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_TYPES: Final[dict[ValueType, Any]] = {
    ValueType.STRING: TEXT,
    ValueType.DATETIME: sa.Text(),
    ValueType.INTEGER: _INTEGER,
    ValueType.NUMBER: sa.Double(),
    ValueType.BOOLEAN: sa.Boolean(),
    ValueType.VARIABLE: sa.Text(),
    ValueType.OBJECT: sa.Text(),
}
_ON_DELETE: Final = {"cascade": "CASCADE", "clear": "SET NULL", "restrict": None}
#: Association rows that are no entities: (table, columns with the type each points to).
_ASSOCIATIONS: Final = (
    ("context_scope", ("context_id", "Context"), ("scope_id", "Scope")),
    ("user_view_resource", ("user_view_id", "UserView"), ("resource_id", "Resource")),
    (
        "custom_attribute_reader",
        ("configuration_id", "CustomConfigurationBase"),
        ("security_role_id", "SecurityRole"),
    ),
    (
        "custom_attribute_writer",
        ("configuration_id", "CustomConfigurationBase"),
        ("security_role_id", "SecurityRole"),
    ),
)
_NAMES: Final = {
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def snake_case(name: str) -> str:
    """``AssetVersion`` -> ``asset_version``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def table_name(entity_type: str) -> str | None:
    """The table with the rows of a type; ``None`` for a type that is a view."""
    if entity_type not in declarations():  # an object type
        entity_type = "TypedContext"
    line = lineage(entity_type)
    if any(declaration.has("view") for declaration in line):
        return None
    for declaration in reversed(line):
        if words := declaration.words("table"):
            return words[0]
    return snake_case(line[0].name)


def variable_columns(column: str) -> VariableColumns:
    """The columns that a variable attribute stored in *column* has."""
    return VariableColumns(column, f"{column}_text", f"{column}_number")


@cache
def metadata() -> sa.MetaData:
    """All tables; made once. To create them in a database, see :func:`create_tables`."""
    return _build()


def create_tables(connection: sa.Connection) -> None:
    """Create all tables in an empty database.

    For PostgreSQL from a collection of its own: where tables refer to each other in a circle, SQLAlchemy
    marks constraints as added later, and SQLite would lose them from then on.
    """
    collected = metadata() if connection.dialect.name == "sqlite" else _build()
    collected.create_all(connection, checkfirst=False)


def _build() -> sa.MetaData:
    collected = sa.MetaData(naming_convention=_NAMES)
    columns: dict[str, dict[str, sa.Column[Any]]] = {}
    extras: dict[str, list[sa.Index]] = {}
    for declaration in declarations().values():
        name = table_name(declaration.name)
        if name is not None:
            _add_columns(columns.setdefault(name, {}), declaration)
            extras.setdefault(name, []).extend(_indexes(name, declaration))
    for name, of_table in columns.items():
        sa.Table(name, collected, *of_table.values(), *extras[name])
    _add_associations(collected)
    return collected


def table(name: str) -> sa.Table:
    """The table called *name*; raises ``KeyError``."""
    return metadata().tables[name]


def _add_columns(columns: dict[str, sa.Column[Any]], declaration: Declaration) -> None:
    key = lineage(declaration.name)[0].words("key") or ("id",)
    for attribute in declaration.properties.values():
        if attribute.kind == "scalar" and attribute.column is None and attribute.name not in columns:
            is_leading = attribute.name == key[0]
            for column in _columns(attribute, is_key=attribute.name in key, is_leading=is_leading):
                columns[column.name] = column
    for line in declaration.directives.get("column", ()):
        name, *words = line.split()
        if name not in columns:
            columns[name] = _hidden_column(name, words)


def _columns(attribute: Property, *, is_key: bool, is_leading: bool = False) -> list[sa.Column[Any]]:
    column_type = _TYPES[attribute.value_type]
    if is_key and attribute.name != "id" and not attribute.name.endswith("_id"):
        column_type = EXACT_TEXT
    arguments: list[Any] = []
    if foreign_key := _foreign_key(attribute):
        arguments.append(foreign_key)
    column = sa.Column(
        attribute.name,
        column_type,
        *arguments,
        primary_key=is_key,
        index=foreign_key is not None and not is_leading,
    )
    if attribute.value_type is not ValueType.VARIABLE:
        return [column]
    names = variable_columns(attribute.name)
    return [column, sa.Column(names.text, TEXT), sa.Column(names.number, sa.Double())]


def _foreign_key(attribute: Property) -> sa.ForeignKey | None:
    if attribute.foreign_key is None or attribute.on_delete in (None, "free") or attribute.default == UID:
        return None
    assert attribute.on_delete is not None
    target = table_name(attribute.foreign_key.partition(".")[0])
    return sa.ForeignKey(f"{target}.id", ondelete=_ON_DELETE[attribute.on_delete])


def _hidden_column(name: str, words: list[str]) -> sa.Column[Any]:
    if words[0] == "generated":
        return sa.Column(
            name, EXACT_TEXT, sa.Computed("\"group\" || '/' || name", persisted=True), index=True
        )
    if words[0] == "key":
        attribute = Property(name, "scalar", foreign_key=words[1], on_delete=words[2])
        return _columns(attribute, is_key=False)[0]
    return sa.Column(name, TEXT)


def _indexes(name: str, declaration: Declaration) -> list[sa.Index]:
    indexes = []
    for line in declaration.directives.get("index", ()):
        indexes.append(sa.Index(f"ix_{name}_{'_'.join(line.split())}", *line.split()))
    for line in declaration.directives.get("unique", ()):
        listed, _, condition = line.partition(" when ")
        where: dict[str, Any] = {}
        if condition:
            column, _, value = condition.partition("=")
            clause = sa.text(f"{column} = '{value}'")
            where = {"sqlite_where": clause, "postgresql_where": clause}
        index = sa.Index(f"uq_{name}_{'_'.join(listed.split())}", *listed.split(), unique=True, **where)
        indexes.append(index)
    return indexes


def _add_associations(collected: sa.MetaData) -> None:
    for name, *sides in _ASSOCIATIONS:
        columns = [
            sa.Column(
                column, TEXT, sa.ForeignKey(f"{table_name(target)}.id", ondelete="CASCADE"), primary_key=True
            )
            for column, target in sides
        ]
        sa.Table(name, collected, *columns, sa.Index(f"ix_{name}_{sides[1][0]}", sides[1][0]))
    # Every context with itself (relation "self", depth 0) and with each context above it ("ancestor").
    sa.Table(
        "lineage",
        collected,
        sa.Column("context_id", TEXT, sa.ForeignKey("context.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("ancestor_id", TEXT, sa.ForeignKey("context.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("relation", sa.Text(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Index("ix_lineage_ancestor_id", "ancestor_id", "context_id"),
    )
    sa.Table(
        "store_information",
        collected,
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
