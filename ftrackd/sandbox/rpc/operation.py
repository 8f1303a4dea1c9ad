"""Reading the members of an operation, with errors that name the operation and the member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from ftrackd.sandbox.errors import ValidationError

Operation: TypeAlias = Mapping[str, Any]


def text(operation: Operation, name: str) -> str:
    """Return the member *name*, a text that is not empty; raise :class:`ValidationError` otherwise."""
    value = operation.get(name)
    if not isinstance(value, str) or not value:
        raise ValidationError(f"The action {operation.get('action')} needs a text in {name!r}.")
    return value


def optional_text(operation: Operation, name: str) -> str | None:
    """Return the member *name*, a text or None; raise :class:`ValidationError` for anything else."""
    value = operation.get(name)
    if value is not None and not isinstance(value, str):
        raise ValidationError(f"The action {operation.get('action')} takes a text or null in {name!r}.")
    return value or None


def mapping(operation: Operation, name: str) -> dict[str, Any]:
    """Return the member *name*, an object; raise :class:`ValidationError` otherwise."""
    value = operation.get(name)
    if not isinstance(value, dict):
        raise ValidationError(f"The action {operation.get('action')} needs an object in {name!r}.")
    return value


def key(operation: Operation) -> list[Any]:
    """Return ``entity_key`` as a list: clients send a list, or one bare value."""
    value = operation.get("entity_key")
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(part, (str, int)) and part != "" for part in values):
        raise ValidationError(
            f"The action {operation.get('action')} needs the key of an entity in 'entity_key'."
        )
    return values


def texts(operation: Operation, name: str) -> list[str]:
    """Return the member *name*, a list of texts, empty when it is absent.

    Raise :class:`ValidationError` for anything else.
    """
    value = operation.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(member, str) for member in value):
        raise ValidationError(f"The action {operation.get('action')} takes a list of texts in {name!r}.")
    return value


def count(operation: Operation, name: str) -> int | None:
    """Return the member *name*, a number of things, or None.

    Raise :class:`ValidationError` for anything else.
    """
    value = operation.get(name)
    if value is None:
        return None
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not is_whole or value < 0:
        raise ValidationError(f"The action {operation.get('action')} takes a whole number in {name!r}.")
    return int(value)
