"""What was asked for and not sent yet: operations, and the stack that records them."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

#: Identifies an entity within one unit of work: its type and the text of its primary key values.
Address = tuple[str, tuple[str, ...]]


class Operation:
    """One recorded request for change."""


class _EntityOperation(Operation):
    """What the operations on one entity share."""

    def __init__(self, entity_type: str, entity_key: Mapping[str, Any]) -> None:
        super().__init__()
        self.entity_type = entity_type
        self.entity_key = entity_key
        #: The entity that the operation is about.
        self.address: Address = (entity_type, tuple([str(value) for value in entity_key.values()]))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.entity_type}({', '.join(self.address[1])})>"


class CreateEntityOperation(_EntityOperation):
    """Create an entity.

    `entity_key` maps primary key attributes to values, in their order; `entity_data` maps attributes to
    values, which are copied one level deep.
    """

    def __init__(
        self, entity_type: str, entity_key: Mapping[str, Any], entity_data: Mapping[str, Any]
    ) -> None:
        super().__init__(entity_type, entity_key)
        self.entity_data = {
            name: value if value.__class__ in _ATOMS else _copied(value)
            for name, value in entity_data.items()
        }


class UpdateEntityOperation(_EntityOperation):
    """Set one attribute of an entity from `old_value` to `new_value`; both are copied one level deep."""

    def __init__(
        self,
        entity_type: str,
        entity_key: Mapping[str, Any],
        attribute_name: str,
        old_value: Any,
        new_value: Any,
    ) -> None:
        super().__init__(entity_type, entity_key)
        self.attribute_name = attribute_name
        self.old_value = _copied(old_value)
        self.new_value = _copied(new_value)


class DeleteEntityOperation(_EntityOperation):
    """Delete an entity."""


#: Types of values that need no copy.
_ATOMS = frozenset({str, int, float, bool, type(None)})


def _copied(value: Any) -> Any:
    if value.__class__ in _ATOMS or hasattr(value, "primary_key_attributes"):
        # Copies of an entity are views of it; the entity itself does as well.
        return value
    return copy.copy(value)


class Operations:
    """A stack of operations, oldest first.

    Operations handed over for sending stay visible until they are known to have arrived, so that the state
    of an entity does not flicker while its commit is under way. Threads may push while others commit.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._stack: list[Operation] = []
        self._in_flight: list[Operation] = []
        #: What threads push that have not come to the end of `together`, by thread.
        self._gathered: dict[int, list[Operation]] = {}
        # Folding the state of one entity must not cost a walk over everybody's operations.
        self._by_address: dict[Address, list[Operation]] = {}
        super().__init__()

    def part_from_parent(self) -> None:
        """In a forked process: go on without the lock, which a thread of the parent may have held."""
        self._lock = threading.RLock()
        self._gathered = {}

    def push(self, operation: Operation) -> None:
        """Record `operation` as the newest."""
        with self._lock:
            self._gathered.get(threading.get_ident(), self._stack).append(operation)
            if isinstance(operation, _EntityOperation):
                self._by_address.setdefault(operation.address, []).append(operation)

    def together(self) -> AbstractContextManager[None]:
        """Within, keep what this thread pushes, and record it in one piece in the end.

        A commit of another thread takes all of it or nothing, and nothing of others comes between.
        """
        return _Together(self)

    def pop(self) -> Operation:
        """Remove and return the newest operation; IndexError when there is none."""
        with self._lock:
            operation = self._stack.pop()
            self._forget(operation)
        return operation

    def clear(self) -> None:
        """Forget all operations but those that threads are in the midst of pushing together."""
        with self._lock:
            self._stack = []
            self._in_flight = []
            self._index()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is recorded or on its way."""
        return not (self._stack or self._in_flight or (self._gathered and len(self)))

    def __len__(self) -> int:
        count = len(self._in_flight) + len(self._stack)
        return count + sum(map(len, list(self._gathered.values()))) if self._gathered else count

    def __iter__(self) -> Iterator[Operation]:
        with self._lock:
            gathered = itertools.chain.from_iterable(self._gathered.values())
            return iter([*self._in_flight, *self._stack, *gathered])

    def of(self, address: Address) -> list[Operation]:
        """Return the operations on the entity at `address`, oldest first."""
        return list(self._by_address.get(address, ()))

    def waiting_attributes(self, address: Address) -> set[str]:
        """Return the attributes of the entity at `address` that operations not yet handed over will set."""
        flying = {id(operation) for operation in self._in_flight}
        names: set[str] = set()
        for operation in self.of(address):
            if id(operation) in flying:
                continue
            if isinstance(operation, CreateEntityOperation):
                names.update(operation.entity_data)
            elif isinstance(operation, UpdateEntityOperation):
                names.add(operation.attribute_name)
        return names

    def forget(self, addresses: Iterable[Address]) -> None:
        """Forget the operations on the entities at `addresses` that were not handed over."""
        with self._lock:
            gone = [operation for address in addresses for operation in self._by_address.get(address, ())]
            self._stack = _without(self._stack, gone)
            self._index()

    def hand_over(self) -> list[Operation]:
        """Return the operations recorded up to now for sending; what is recorded from now on waits."""
        with self._lock:
            operations, self._stack = self._stack, []
            self._in_flight = self._in_flight + operations
        return operations

    def arrived(self, operations: list[Operation]) -> None:
        """Forget `operations`, which were handed over: the server has them."""
        with self._lock:
            self._in_flight = _without(self._in_flight, operations)
            self._index()

    def _index(self) -> None:
        # Put in place as a whole: it is read without the lock.
        by_address: dict[Address, list[Operation]] = {}
        for operation in self:
            if isinstance(operation, _EntityOperation):
                by_address.setdefault(operation.address, []).append(operation)
        self._by_address = by_address

    def came_back(self, operations: list[Operation]) -> None:
        """Put `operations`, which were handed over and refused, before what was recorded since."""
        with self._lock:
            self._in_flight = _without(self._in_flight, operations)
            self._stack = operations + self._stack

    def _forget(self, operation: Operation) -> None:
        if not isinstance(operation, _EntityOperation):
            return
        address = operation.address
        remaining = [other for other in self._by_address.get(address, ()) if other is not operation]
        if remaining:
            self._by_address[address] = remaining
        else:
            self._by_address.pop(address, None)


class _Together(AbstractContextManager[None]):  # a generator's takes three times as long
    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._thread = threading.get_ident()
        #: What is kept; None within another one, whose end is the end of both.
        self._gathered: list[Operation] | None = None

    def __enter__(self) -> None:
        if self._thread not in self._operations._gathered:
            self._gathered = self._operations._gathered[self._thread] = []

    def __exit__(self, *_: object) -> None:
        if self._gathered is not None:
            with self._operations._lock:
                del self._operations._gathered[self._thread]
                self._operations._stack.extend(self._gathered)


def _without(operations: list[Operation], gone: list[Operation]) -> list[Operation]:
    identities = {id(operation) for operation in gone}
    return [operation for operation in operations if id(operation) not in identities]
