"""Errors of the database as errors that a client can act on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ftrackd.sandbox.errors import DuplicateEntryError, IntegrityError, RequestError, ValidationError
from ftrackd.sandbox.schema import EntityType, Scalar

if TYPE_CHECKING:
    from ftrackd.sandbox.store.transaction import Transaction


def translate(
    transaction: Transaction, kind: EntityType, values: Mapping[str, Any], error: sa.exc.IntegrityError
) -> RequestError:
    """The error for a statement about *kind* with *values* that the database refused."""
    text = str(error.orig).strip()
    lowered = text.lower()
    if "unique" in lowered or "duplicate" in lowered or "primary key" in lowered:
        return _duplicate(kind, values, text)
    if "not null" in lowered or "not-null" in lowered:
        return ValidationError(f"{kind.name} lacks a required value: {text}")
    return _foreign_key(transaction, kind, values, text)


def _duplicate(kind: EntityType, values: Mapping[str, Any], text: str) -> DuplicateEntryError:
    source = kind.table_name
    for index in getattr(kind.table, "indexes", ()):
        columns = [column.name for column in index.columns]
        names_all = all(f"{source}.{column}" in text for column in columns)
        if index.unique and (str(index.name) in text or names_all):
            entry = "-".join(str(values.get(column)) for column in columns)
            return DuplicateEntryError(
                f"Duplicate entry '{entry}' for {kind.name} ({', '.join(columns)}): there is one already."
            )
    entry = "-".join(str(values.get(kind.scalar(name).column)) for name in kind.primary_key)
    return DuplicateEntryError(
        f"Duplicate entry '{entry}' for {kind.name} ({', '.join(kind.primary_key)}): there is one already."
    )


def _foreign_key(
    transaction: Transaction, kind: EntityType, values: Mapping[str, Any], text: str
) -> RequestError:
    if transaction.connection.dialect.name == "sqlite":
        # SQLite does not say which one.
        for attribute in kind.attributes.values():
            if not isinstance(attribute, Scalar):
                continue
            value = values.get(attribute.column)
            if value is not None and _dangles(transaction, kind, attribute.column, value):
                return transaction.missing_reference(kind.name, attribute.name, value)
    return IntegrityError(f"{kind.name} refers to something that does not exist: {text}")


def _dangles(transaction: Transaction, kind: EntityType, column_name: str, value: Any) -> bool:
    for foreign_key in kind.table.c[column_name].foreign_keys:
        target = foreign_key.column
        found = transaction.connection.execute(sa.select(target).where(target == value)).first()
        if found is None:
            return True
    return False
