"""Finds what the names of a query mean in the schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ftrackd.sandbox import errors
from ftrackd.sandbox.query.errors import QueryAttributeError, QueryEntityTypeError, UnsupportedQueryError
from ftrackd.sandbox.query.tree import Path, Step
from ftrackd.sandbox.schema.model import Attribute, Collection, EntityType, Reference, Schema

Relation = Reference | Collection
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Meaning:
    """One thing that a step can mean: an attribute of the type at hand, or of one of its subtypes."""

    #: The type that declares the attribute; rows of other types do not match.
    owner: EntityType
    attribute: Attribute
    #: Whether *owner* is narrower than the type at hand, so that rows have to be told apart.
    is_narrower: bool


def find_entity_type(schema: Schema, name: str, position: int | None) -> EntityType:
    """Return the type called *name*; raises :class:`QueryEntityTypeError` with the nearest names."""
    try:
        return schema[name]
    except errors.UnknownEntityTypeError as error:
        raise QueryEntityTypeError(str(error), position) from None


def find_meanings(
    schema: Schema, entity_type: EntityType, name: str, position: int, *, is_followed: bool = False
) -> Sequence[Meaning]:
    """Return everything that attribute *name* can mean on rows of *entity_type*.

    Attributes of subtypes count when the type itself has none of that name. When a path is followed through
    the attribute, only relations count if there are any: of contexts, projects have a status that is a text
    and tasks one that is an entity.

    Raises:
        QueryAttributeError: When nothing has such an attribute, with the nearest names.
    """
    found = [
        Meaning(owner, attribute, owner is not entity_type)
        for owner, attribute in schema.find(entity_type, name)
    ]
    if not found:
        known = set(entity_type.attributes)
        for subtype in schema.subtypes(entity_type.name):
            known.update(subtype.attributes)
        message = str(errors.UnknownAttributeError(entity_type.name, name, sorted(known)))
        raise QueryAttributeError(message, position)
    if is_followed:
        relations = [meaning for meaning in found if isinstance(meaning.attribute, Reference | Collection)]
        return relations or found
    return found


def try_meanings(meanings: Sequence[Meaning], attempt: Callable[[Meaning], _Result]) -> list[_Result]:
    """Return what *attempt* makes of each meaning that leads on.

    A path may go on for some subtypes alone (``parent.version`` of status changes of versions); rows of the
    others do not match.

    Raises:
        QueryAttributeError: No meaning leads on; the error of the first.
    """
    results: list[_Result] = []
    failure: QueryAttributeError | None = None
    for meaning in meanings:
        try:
            results.append(attempt(meaning))
        except QueryAttributeError as error:
            failure = failure or error
    if not results and failure is not None:
        raise failure
    return results


def find_target(schema: Schema, relation: Relation, step: Step, position: int) -> EntityType:
    """Return the type that *step* leads to: the target of *relation*, or the type it is cast to.

    Raises:
        QueryEntityTypeError: When the cast names no type.
        UnsupportedQueryError: When the cast names a type that the relation cannot hold.
    """
    if step.cast is None:
        return schema[relation.target]
    cast = find_entity_type(schema, step.cast, position)
    if not (schema.is_a(cast.name, relation.target) or schema.is_a(relation.target, cast.name)):
        raise UnsupportedQueryError(
            f"'{step.name}' cannot be cast to {cast.name}, which is no kind of {relation.target}", position
        )
    return cast


def as_relation(meaning: Meaning, step: Step, position: int) -> Relation:
    """Return the relation that *meaning* is; any other attribute raises :class:`UnsupportedQueryError`."""
    attribute = meaning.attribute
    if isinstance(attribute, Reference | Collection):
        return attribute
    raise UnsupportedQueryError(
        f"'{step.name}' of {meaning.owner.name} is no relation, so no path can lead through it", position
    )


def refuse_cast(path: Path, step: Step) -> None:
    """Raise :class:`UnsupportedQueryError` when a step that names a plain value is cast."""
    if step.cast is not None:
        raise UnsupportedQueryError(f"'{step.name}' is no relation, so it cannot be cast", path.position)
