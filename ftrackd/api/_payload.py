"""From recorded operations to the batch that is sent: a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

from ftrackd.api import exception
from ftrackd.api.operation import (
    CreateEntityOperation,
    DeleteEntityOperation,
    Operation,
    UpdateEntityOperation,
)
from ftrackd.api.symbol import NOT_SET

_ENTITY_TYPE = "__entity_type__"


class OperationPayload(MutableMapping[str, Any]):
    """One request of a batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._data: dict[str, Any] = {}
        self.update(dict(*args, **kwargs))

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._data!s}>"

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        del self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)


def batch(operations: Iterable[Operation]) -> list[dict[str, Any]]:
    """Return the requests for `operations`, in their order and no more of them than needed.

    An entity created and deleted within is left out; of several updates of one attribute the last counts,
    at its place; values that are NOT_SET and requests without content go; an update right after the
    creation or an update of the same entity becomes part of it. Values are left as they are (entities,
    collections, dates).
    """
    recorded = _without_short_lived(list(operations))
    last = _last_updates(recorded)
    taken_back = {key for key, position in last.items() if recorded[position].new_value is NOT_SET}
    payloads: list[dict[str, Any]] = []
    previous: Any = None
    for position, operation in enumerate(recorded):
        payload = _payload(operation, position, last, taken_back)
        if payload is None:
            continue
        address = operation.address
        if payload["action"] == "update" and payloads and previous == address:
            before = payloads[-1]
            if before["action"] in {"create", "update"}:
                before["entity_data"].update(payload["entity_data"])
                continue
        payloads.append(payload)
        previous = address
    return payloads


def _without_short_lived(operations: list[Any]) -> list[Any]:
    """Return `operations` without those on entities that are both created and deleted among them."""
    created = {operation.address for operation in operations if isinstance(operation, CreateEntityOperation)}
    gone = {
        operation.address
        for operation in operations
        if isinstance(operation, DeleteEntityOperation) and operation.address in created
    }
    return [operation for operation in operations if operation.address not in gone] if gone else operations


def _last_updates(operations: list[Any]) -> dict[Any, int]:
    """Return the position of the last update of each attribute of each entity."""
    return {
        (operation.address, operation.attribute_name): position
        for position, operation in enumerate(operations)
        if isinstance(operation, UpdateEntityOperation)
    }


def _payload(
    operation: Any, position: int, last: dict[Any, int], taken_back: set[Any]
) -> dict[str, Any] | None:
    """Return the request for `operation`, or None when there is nothing to ask for."""
    if isinstance(operation, UpdateEntityOperation):
        overruled = last[operation.address, operation.attribute_name] != position
        if overruled or operation.new_value is NOT_SET:
            return None
        data = {_ENTITY_TYPE: operation.entity_type, operation.attribute_name: operation.new_value}
        return _request("update", operation, data)
    if isinstance(operation, CreateEntityOperation):
        data = {_ENTITY_TYPE: operation.entity_type, **operation.entity_key, **operation.entity_data}
        for name in [
            name
            for name, value in data.items()
            if value is NOT_SET or (taken_back and (operation.address, name) in taken_back)
        ]:
            del data[name]
        return _request("create", operation, data)
    if isinstance(operation, DeleteEntityOperation):
        return _request("delete", operation, None)
    raise exception.OperationError(f"Cannot send {operation!r}: it is no operation on an entity.")


def _request(action: str, operation: Any, data: dict[str, Any] | None) -> dict[str, Any]:
    request = {
        "action": action,
        "entity_type": operation.entity_type,
        "entity_key": list(operation.entity_key.values()),
    }
    if data is not None:
        request["entity_data"] = data
    return request
