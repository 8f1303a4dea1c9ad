"""The ``search`` action: entities whose names hold the words that a person typed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from ftrackd.sandbox.query.errors import UnsupportedQueryError
from ftrackd.sandbox.query.execution import QueryAnswer, execute_tree
from ftrackd.sandbox.query.parser import parse, refuse_unstorable
from ftrackd.sandbox.query.resolution import find_entity_type
from ftrackd.sandbox.query.tree import And, Comparison, Criteria, Membership, Operator, Or, Path, Step, Value
from ftrackd.sandbox.schema.model import EntityType, Links, Schema

#: Where names are looked for, as far as the type has them. A path counts by its first step.
_NAMES: Final = (
    "name",
    "full_name",
    "username",
    "first_name",
    "last_name",
    "email",
    "label",
    "content",
    "asset.name",
)
#: Where the names of everything above an entity are, so that "sq010 comp" finds the task in the sequence.
_NAMES_ABOVE: Final = (
    "ancestors.name",
    "parent.name",
    "project.name",
    "asset.parent.name",
    "asset.ancestors.name",
)
#: What makes an entity one of a context.
_CONTEXTS: Final = ("id", "parent.id", "project_id", "ancestors.id", "context_id", "asset.parent.id")
_WILDCARD: Final = re.compile(r"[\\%_]")


def search(
    connection: sa.Connection,
    schema: Schema,
    expression: str,
    *,
    terms: Sequence[str],
    entity_type: str | None = None,
    context_id: str | None = None,
    object_type_ids: Sequence[str] | None = None,
    links: Links | None = None,
    repeat: bool = False,
) -> QueryAnswer:
    """Return the entities that *expression* finds and that match all *terms*.

    A term matches when it occurs, in any case, in a name of the entity or of what it is in (project, parents,
    asset); at least one has to occur in a name of the entity itself.

    Args:
        connection: To the store.
        schema: The store's current schema.
        expression: A query; its projections, criteria, order and page hold.
        terms: Words; without any, every entity matches.
        entity_type: Narrows the type of the expression; it has to be that type or a subtype of it.
        context_id: Only what is in this context or below it, the context itself included.
        object_type_ids: Only contexts of these object types; ``None`` or empty for all.
        links: As for :func:`execute`.
        repeat: As for :func:`execute`.

    Raises:
        QueryError: As for a query; also when the type has no names to search in.
    """
    query = parse(expression)
    found_type = find_entity_type(
        schema, entity_type or query.entity_type, None if entity_type else query.position
    )
    if entity_type is not None and not schema.is_a(entity_type, query.entity_type):
        raise UnsupportedQueryError(
            f"the expression asks for {query.entity_type}, of which {entity_type} is no kind"
        )
    criteria = [] if query.criteria is None else [query.criteria]
    for term in terms:
        refuse_unstorable(term)
    words = [word for term in terms for word in term.split()]
    if words:
        criteria += _match_words(schema, found_type, words)
    if context_id:
        criteria.append(_is_in_context(schema, found_type, context_id))
    if object_type_ids:
        criteria.append(_is_of_object_types(schema, found_type, object_type_ids))
    narrowed = dataclasses.replace(
        query, entity_type=found_type.name, criteria=_combine(And, criteria) if criteria else None
    )
    return execute_tree(connection, schema, narrowed, expression, links=links, repeat=repeat)


def _match_words(schema: Schema, entity_type: EntityType, words: Sequence[str]) -> list[Criteria]:
    own = _known(schema, entity_type, _NAMES)
    if not own:
        raise UnsupportedQueryError(f"{entity_type.name} has no name to search in")
    everywhere = [*own, *_known(schema, entity_type, _NAMES_ABOVE)]
    patterns = ["%" + _WILDCARD.sub(r"\\\g<0>", word) + "%" for word in words]
    criteria = [_combine(Or, [_like(path, pattern) for path in everywhere]) for pattern in patterns]
    criteria.append(_combine(Or, [_like(path, pattern) for path in own for pattern in patterns]))
    return criteria


def _is_in_context(schema: Schema, entity_type: EntityType, context_id: str) -> Criteria:
    paths = _known(schema, entity_type, _CONTEXTS)
    if paths == [_path("id")]:
        raise UnsupportedQueryError(f"{entity_type.name} is in no context to search in")
    return _combine(Or, [Comparison(path, Operator.EQUAL, Value(context_id)) for path in paths])


def _is_of_object_types(schema: Schema, entity_type: EntityType, object_type_ids: Sequence[str]) -> Criteria:
    values = tuple(Value(identifier) for identifier in object_type_ids)
    paths = _known(schema, entity_type, ["object_type_id"])
    if not paths:
        raise UnsupportedQueryError(f"{entity_type.name} has no object type to search by")
    return Membership(paths[0], values)


def _known(schema: Schema, entity_type: EntityType, paths: Sequence[str]) -> list[Path]:
    """The paths that *entity_type* has; its subtypes count."""
    known: list[Path] = []
    for text in paths:
        at = [entity_type]
        names = text.split(".")
        for name in names:
            attributes = [attribute for owner in at for _, attribute in schema.find(owner, name)]
            at = [schema[target] for item in attributes if (target := getattr(item, "target", ""))]
            if not attributes:
                break
        else:
            known.append(_path(text))
    return known


def _like(path: Path, pattern: str) -> Criteria:
    return Comparison(path, Operator.LIKE, Value(pattern))


def _combine(kind: type[And] | type[Or], criteria: Sequence[Criteria]) -> Criteria:
    return criteria[0] if len(criteria) == 1 else kind(tuple(criteria))


def _path(text: str) -> Path:
    return Path(tuple(Step(name) for name in text.split(".")))
