"""Actions on rows: query, search, create, update, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ftrackd.sandbox.errors import ValidationError
from ftrackd.sandbox.query import QueryAnswer, execute, search
from ftrackd.sandbox.rpc import operation as member
from ftrackd.sandbox.rpc.batch import Batch
from ftrackd.sandbox.rpc.operation import Operation
from ftrackd.sandbox.rpc.projection import keep_requested


def _query(batch: Batch, operation: Operation) -> dict[str, Any]:
    expression = member.text(operation, "expression")
    answer = execute(
        batch.connection,
        batch.schema,
        expression,
        links=batch.links,
        repeat=batch.options.denormalize,
    )
    return _page(batch, "query", expression, answer)


def _search(batch: Batch, operation: Operation) -> dict[str, Any]:
    expression = member.text(operation, "expression")
    answer = search(
        batch.connection,
        batch.schema,
        expression,
        entity_type=member.optional_text(operation, "entity_type"),
        terms=member.texts(operation, "terms"),
        context_id=member.optional_text(operation, "context_id"),
        object_type_ids=member.texts(operation, "object_type_ids"),
        links=batch.links,
        repeat=batch.options.denormalize,
    )
    return _page(batch, "search", expression, answer)


def _page(batch: Batch, action: str, expression: str, answer: QueryAnswer) -> dict[str, Any]:
    """Return a page of rows; ``metadata`` is always an object, clients index it unconditionally."""
    if batch.options.only_requested:
        keep_requested(batch.schema, expression, answer.rows)
    return {"action": action, "data": answer.rows, "metadata": answer.metadata}


def _create(batch: Batch, operation: Operation) -> dict[str, Any]:
    if operation.get("type") == "tempdata":
        return {"id": batch.services.temporary_data.put(member.text(operation, "data"))}
    entity_type = member.text(operation, "entity_type")
    data = dict(member.mapping(operation, "entity_data"))
    if operation.get("entity_key") is not None:
        names = batch.schema[entity_type].primary_key
        for name, value in zip(names, member.key(operation), strict=False):
            data.setdefault(name, value)
    key = batch.transaction.create(entity_type, data)
    return batch.answer_written("create", entity_type, key, data)


def _update(batch: Batch, operation: Operation) -> dict[str, Any]:
    entity_type = member.text(operation, "entity_type")
    key = _entity_key(batch, entity_type, operation)
    data = member.mapping(operation, "entity_data")
    batch.transaction.update(entity_type, key, data)
    return batch.answer_written("update", entity_type, key, data)


def _delete(batch: Batch, operation: Operation) -> dict[str, Any]:
    entity_type = member.text(operation, "entity_type")
    batch.transaction.delete(entity_type, _entity_key(batch, entity_type, operation))
    return {"action": "delete", "data": True}


def _entity_key(batch: Batch, entity_type: str, operation: Operation) -> list[Any]:
    """Return the key in *operation*, checked against the primary key of *entity_type*."""
    key = member.key(operation)
    names = batch.schema[entity_type].primary_key
    if len(key) != len(names):
        raise ValidationError(f"The key of {entity_type} is {', '.join(names)}; {len(key)} values were sent.")
    return key


ACTIONS: Final[Mapping[str, Callable[[Batch, Operation], Any]]] = {
    "query": _query,
    "search": _search,
    "create": _create,
    "update": _update,
    "delete": _delete,
}
