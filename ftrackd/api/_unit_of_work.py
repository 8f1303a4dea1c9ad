"""Units of work: whose operations and local values are whose.

A script has one unit. In a plugin process each lane, and each thread that the plugin starts, has its own,
so that nobody else's commit sends, clears, fails or rolls back one's changes.
"""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ftrackd.api.operation import Operations

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity

_tokens = itertools.count(1)
_logger = logging.getLogger("ftrack_api.session.UnitOfWork")


class UnitOfWork:
    """The operations and the local values that belong together and are committed or rolled back together."""

    def __init__(self, name: str, roll_back: Callable[[UnitOfWork], None]) -> None:
        self.name = name
        #: Under this number entities keep the local values of this unit.
        self.token = next(_tokens)
        self.operations = self._first_operations = Operations()
        #: Entities with values set here; held, because nobody else may hold them until they are committed.
        self.changed: dict[int, Entity] = {}
        # Made when needed: most callbacks need none, and making it costs more than the rest of the unit.
        self._read: weakref.WeakValueDictionary[int, Entity] | None = None
        # One commit at a time: what is recorded meanwhile may build on what is on its way.
        self.commit_lock = threading.RLock()
        self._roll_back = roll_back

    @property
    def read(self) -> weakref.WeakValueDictionary[int, Entity]:
        """Entities of which only collections were read; not held."""
        if self._read is None:
            self._read = weakref.WeakValueDictionary()
        return self._read

    @property
    def is_untouched(self) -> bool:
        """Whether nothing is recorded and no entity has anything of this unit."""
        return not (self.changed or self._read) and self.operations.is_empty

    @property
    def is_as_new(self) -> bool:
        """Whether nothing is left of what was done with it, so that nobody can tell it from a new one."""
        return self.operations is self._first_operations and self.is_untouched

    @property
    def pending_count(self) -> int:
        """How many operations are recorded and not committed."""
        return len(self.operations)

    def describe(self) -> str:
        """Return the pending operations as one line, such as ``2 updates of Task, 1 creation of Note``."""
        counts = Counter(
            (type(operation), getattr(operation, "entity_type", "?")) for operation in self.operations
        )
        parts = [
            f"{count} {_verb(kind, count)} of {entity_type}" for (kind, entity_type), count in counts.items()
        ]
        return ", ".join(parts) or "nothing"

    def part_from_parent(self) -> None:
        """In a forked process: go on without locks that threads of the parent may have held."""
        self.commit_lock = threading.RLock()
        self.operations.part_from_parent()

    def rollback(self) -> None:
        """Forget the pending operations and the local values of this unit, and of no other."""
        if not self.is_untouched:
            self._roll_back(self)

    def entities(self) -> list[Entity]:
        """Return the entities that have local values or read copies in this unit."""
        # References, because values() walks a dictionary that other threads add to.
        references = self._read.valuerefs() if self._read is not None else []
        alive = (reference() for reference in references)
        return [*self.changed.values(), *(entity for entity in alive if entity is not None)]

    def forget_entity(self, entity: Entity) -> None:
        """Stop keeping track of `entity`, whose local values are gone."""
        self.changed.pop(id(entity), None)
        if self._read is not None:
            self._read.pop(id(entity), None)

    def __del__(self) -> None:
        if self.is_untouched:
            return
        # A thread ended, or a session was dropped: its entities must not keep values that nobody can reach.
        if len(self.operations):
            _logger.warning("Dropped uncommitted changes of %s: %s", self.name, self.describe())
        for entity in self.entities():
            entity._abandon_unit(self.token)


_VERBS = {
    "CreateEntityOperation": "creation",
    "UpdateEntityOperation": "update",
    "DeleteEntityOperation": "deletion",
}


def _verb(kind: type[Any], count: int) -> str:
    verb = _VERBS.get(kind.__name__, kind.__name__)
    return verb if count == 1 else verb + "s"


class Units:
    """Knows the unit of work of the current thread.

    One unit serves all threads until somebody enters a unit of their own or asks for one per thread.
    """

    def __init__(self, roll_back: Callable[[UnitOfWork], None]) -> None:
        self._roll_back = roll_back
        self.default = UnitOfWork("session", roll_back)
        self._home_thread = threading.get_ident()
        self._here = threading.local()
        self._per_thread = False
        # False as long as nobody needed a second unit: then no thread local has to be read.
        self._several = False

    @property
    def per_thread(self) -> bool:
        """Whether each thread but the one that made the session has a unit of its own."""
        return self._per_thread

    @per_thread.setter
    def per_thread(self, value: bool) -> None:
        self._per_thread = bool(value)
        self._several = self._several or self._per_thread

    def current(self) -> UnitOfWork:
        """Return the unit of the current thread."""
        if not self._several:
            return self.default
        entered: list[UnitOfWork] | None = getattr(self._here, "entered", None)
        if entered:
            return entered[-1]
        if not self._per_thread or threading.get_ident() == self._home_thread:
            return self.default
        own: UnitOfWork | None = getattr(self._here, "own", None)
        if own is None:
            own = self._here.own = UnitOfWork(threading.current_thread().name, self._roll_back)
        return own

    def here(self) -> list[UnitOfWork]:
        """Return every unit that the current thread uses, or goes back to."""
        entered: list[UnitOfWork] = getattr(self._here, "entered", [])
        own: UnitOfWork | None = getattr(self._here, "own", None)
        return [*entered, *([own] if own is not None else []), self.default]

    def enter(self, name: str) -> AbstractContextManager[UnitOfWork]:
        """Return what gives the current thread a new unit called `name` for the length of a with statement.

        What is uncommitted when it ends is dropped; ask `pending_count` and `describe` before.
        """
        return _Entered(self, name)

    def _open(self, name: str) -> tuple[UnitOfWork, list[UnitOfWork]]:
        """Give the current thread a unit called `name`; return it and what the thread has entered."""
        here = self._here
        try:
            entered: list[UnitOfWork] = here.entered
        except AttributeError:
            self._several = True
            entered = here.entered = []
            here.spare = None
        unit: UnitOfWork | None = here.spare
        if unit is None:
            unit = UnitOfWork(name, self._roll_back)
        else:
            unit.name, here.spare = name, None
        entered.append(unit)
        return unit, entered

    def _close(self, unit: UnitOfWork, entered: list[UnitOfWork]) -> None:
        """Take `unit` from the thread that has `entered` it."""
        entered.remove(unit)
        if unit.is_as_new:
            # After most callbacks it is, and to make another costs more.
            self._here.spare = unit
        else:
            unit.rollback()


class _Entered(AbstractContextManager[UnitOfWork]):  # a generator's takes three times as long
    def __init__(self, units: Units, name: str) -> None:
        self._units = units
        self._name = name

    def __enter__(self) -> UnitOfWork:
        self._unit, self._entered = self._units._open(self._name)
        return self._unit

    def __exit__(self, *_: object) -> None:
        self._units._close(self._unit, self._entered)
