"""Creating, changing, deleting, and sending all that in one batch."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from typing import Any

from ftrackd.api import _answer, _payload, exception, inspection
from ftrackd.api._group import Groups
from ftrackd.api._layout import Layout
from ftrackd.api._session_populate import PopulateMethods
from ftrackd.api._unit_of_work import UnitOfWork
from ftrackd.api.entity.base import Entity, is_entity
from ftrackd.api.operation import (
    CreateEntityOperation,
    DeleteEntityOperation,
    Operation,
)
from ftrackd.api.symbol import CREATED, DELETED, MODIFIED, NOT_SET, Symbol

_logger = logging.getLogger("ftrack_api.session.Session")


class CommitMethods(PopulateMethods):
    """Changes and how they reach the server."""

    @property
    def created(self) -> list[Any]:
        """The entities created in the current unit of work and not committed."""
        return self._entities_in_state(CREATED)

    @property
    def modified(self) -> list[Any]:
        """The entities changed in the current unit of work and not committed."""
        return self._entities_in_state(MODIFIED)

    @property
    def deleted(self) -> list[Any]:
        """The entities deleted in the current unit of work and not committed."""
        return self._entities_in_state(DELETED)

    def _entities_in_state(self, wanted: Symbol) -> list[Any]:
        addresses = dict.fromkeys(
            getattr(operation, "address", None) for operation in self.recorded_operations
        )
        found = []
        for address in addresses:
            if address is None:
                continue
            entity_type, values = address
            entity = self._identity_map.peek(entity_type, values[0] if len(values) == 1 else values)
            if entity is not None and inspection.state(entity) is wanted:
                found.append(entity)
        return found

    def _state(self, entity: Entity) -> Symbol:
        return inspection.state(entity)

    def create(
        self, entity_type: str, data: Mapping[str, Any] | None = None, reconstructing: bool = False
    ) -> Any:
        """Return a new entity of `entity_type` with `data`, recorded for the next commit.

        Attributes missing from `data` get the defaults of the schema. With `reconstructing` an existing
        entity is described instead, `data` being its values on the server, and nothing is recorded.
        UnrecognisedEntityTypeError when the server does not know the type.
        """
        entity = self.types.recognised(entity_type)(self, data=data, reconstructing=reconstructing)
        return self.merge(entity)

    def _warn_of_unknown_attributes(self, layout: Layout, unknown: list[str]) -> None:
        for name in unknown:
            close = difflib.get_close_matches(str(name), layout.names, n=3)
            hint = f" Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
            _logger.warning(
                "Ignoring %r given for a new %s: it has no such attribute.%s", name, layout.entity_type, hint
            )

    def delete(self, entity: Any) -> None:
        """Record that `entity` shall be deleted by the next commit."""
        if self.record_operations:
            self.recorded_operations.push(
                DeleteEntityOperation(entity.entity_type, inspection.primary_key(entity))
            )

    def commit(self) -> None:
        """Send the operations recorded in the current unit of work, as one transaction.

        Exactly those recorded up to now are sent; what other threads record meanwhile waits for the next
        commit. When the server refuses, all of them stay recorded and local values stay set, for the
        caller to mend or to roll back. With nothing recorded nothing happens: values that were set without
        recording stay. What had been recorded before a fork is for the process that was forked; a commit in
        the new one warns of it.
        """
        if self._left_to_parent:
            _logger.warning(
                "Not committed in this forked process, the one it was forked from still has it: %s",
                ", ".join(self._left_to_parent),
            )
            self._left_to_parent = []
        unit = self._units.current()
        with unit.commit_lock:
            with self._thread_lock:
                operations = unit.operations.hand_over()
            if not operations:
                return
            with self._keeping_fresh():
                try:
                    answers = self._send(operations)
                except BaseException:
                    with self._thread_lock:
                        unit.operations.came_back(operations)
                    raise
                with self._thread_lock:
                    unit.operations.arrived(operations)
                    self._settle(unit, operations, answers)

    def _send(self, operations: list[Operation]) -> list[tuple[dict[str, Any], Mapping[str, Any]]]:
        """Send `operations` and return each request with its answer."""
        with self._thread_lock:
            payloads = _payload.batch(operations)
            for payload in payloads:
                self._refer_to_entities(payload.get("entity_data", {}))
        if not payloads:
            return []
        answers = _answer.to_changes(self.call(payloads), payloads)
        return list(zip(payloads, answers, strict=True))

    def _refer_to_entities(self, data: dict[str, Any]) -> None:
        """Replace entities in `data` by references.

        What is set on them has operations of its own; written out with each of a thousand frames, a
        sequence and its thousand members would make a request of forty megabytes.
        """
        for name, value in data.items():
            if is_entity(value):
                data[name] = self.entity_reference(value)

    def _settle(
        self,
        unit: UnitOfWork,
        operations: list[Operation],
        answers: list[tuple[dict[str, Any], Mapping[str, Any]]],
    ) -> None:
        """Take over what the server made of `operations`."""
        touched = unit.entities()
        for entity in touched:
            self._drop_sent_values(unit, entity)
        rows = []
        for request, answer in answers:
            data = answer.get("data")
            if request["action"] in {"create", "update"} and is_entity(data):
                self._follow_type(request, data)
                rows.append(data)
        groups = Groups()
        for entity in self._absorb(rows, regroup=False):
            if entity._group is None:
                # New entities belong together like those of a query.
                entity._group = groups.group_for(entity.entity_type, entity._map_key())
        for entity in touched:
            # Held since before the local cache was cleared, it is not the one that took over the answer.
            self._share_values(entity)
        for operation in operations:
            if isinstance(operation, DeleteEntityOperation):
                self._forget(*operation.address)

    def _drop_sent_values(self, unit: UnitOfWork, entity: Entity) -> None:
        """Drop the local values of `entity` but those that operations recorded during the call will send."""
        values = entity._local.get(unit.token) if entity._local is not None else None
        if values is None:
            unit.forget_entity(entity)
            return
        kept: dict[str, Any] = {}
        if len(unit.operations):
            waiting = unit.operations.waiting_attributes(inspection.address(entity))
            kept = {name: value for name, value in values.items() if name in waiting}
        for name in entity.primary_key_attributes:
            if name in values:
                entity._row.setdefault(name, values[name])
        entity._drop_unit(unit.token)
        unit.forget_entity(entity)
        for name, value in kept.items():
            entity._set_local(name, value)

    def _follow_type(self, request: Mapping[str, Any], answer: Entity) -> None:
        """Let an entity that was created as one type become the type that the server made of it."""
        entity_type = request["entity_type"]
        if entity_type == answer.entity_type:
            return
        key = answer._map_key()
        entity = self._identity_map.peek(entity_type, key)
        if entity is not None and self._identity_map.peek(answer.entity_type, key) is None:
            self._identity_map.discard(entity_type, key)
            entity.__class__ = type(answer)
            self._identity_map.add(answer.entity_type, key, entity)

    def _forget(self, entity_type: str, values: tuple[str, ...]) -> None:
        """Let go of an entity that is gone from the server."""
        self._identity_map.discard(entity_type, values[0] if len(values) == 1 else values)
        if len(self.cache.caches) > 1:
            cache_key = self.cache_key_maker.key((entity_type, list(values)))
            try:
                self.cache.remove(cache_key)
            except KeyError:
                _logger.debug("No cache knew %s", cache_key)

    def rollback(self) -> None:
        """Forget the operations and local values of the current unit of work.

        Entities that were created and not committed leave the session. They keep the values they had, to be
        read, and must not be used in any other way.
        """
        self._roll_back(self._units.current())

    def _roll_back(self, unit: UnitOfWork) -> None:
        with unit.commit_lock, self._thread_lock:
            created = {
                operation.address
                for operation in unit.operations
                if isinstance(operation, CreateEntityOperation)
            }
            unit.operations.clear()
            for entity in unit.entities():
                address = inspection.address(entity)
                if unit.operations.of(address):
                    # Another thread is in the midst of creating it.
                    created.discard(address)
                    continue
                if address in created:
                    # Whoever holds it may still want to say what was not made.
                    entity._keep_values_of(unit.token)
                entity._drop_unit(unit.token)
                unit.forget_entity(entity)
            for address in created:
                self._forget(*address)

    def ensure(
        self, entity_type: str, data: Mapping[str, Any], identifying_keys: list[str] | None = None
    ) -> Any:
        """Return the entity of `entity_type` with `data`, created or updated, and committed, when it is
        not there.

        It is looked for by the values of `identifying_keys` (default: all of `data`), which must be
        scalars. KeyError when `data` lacks one of them, ValueError when there is no data,
        MultipleResultsFoundError when several entities match.
        """
        keys = list(identifying_keys or data)
        if not keys:
            raise ValueError(
                "Could not determine any identifying data to check against when ensuring "
                f"{entity_type} with data {data!r} and identifying keys {identifying_keys!r}."
            )
        conditions = " and ".join(f"{key} is {literal(data[key])}" for key in keys)
        try:
            entity = self.query(f"{entity_type} where {conditions}").one()
        except exception.NoResultFoundError:
            entity = self.create(entity_type, data)
            self.commit()
            return entity
        missing = [key for key in data if key not in keys and entity._stored(key) is NOT_SET]
        if missing and self.auto_populate:
            self.populate(entity, ", ".join(entity._attribute(key).projection(self) for key in missing))
        differing = [key for key in data if not _same(entity[key], data[key])]
        for key in differing:
            entity[key] = data[key]
        if differing:
            self.commit()
        return entity


def _same(present: Any, wanted: Any) -> bool:
    """Return whether a value that the server gave is the one wanted, dates being compared as moments."""
    if present is NOT_SET:
        return False
    if hasattr(present, "isoformat") and hasattr(wanted, "isoformat"):
        return bool(_seconds(present) == _seconds(wanted))
    return bool(present == wanted)


def _seconds(moment: Any) -> Any:
    """Return `moment` as the server keeps it: UTC, in whole seconds."""
    import arrow

    return arrow.get(moment).to("utc").floor("second")


def literal(value: Any) -> str:
    """Return `value` as it stands in a query."""
    from ftrackd.api._expression import quoted

    if hasattr(value, "isoformat"):
        # The server keeps naive times in UTC, without fractions.
        return quoted(_seconds(value).naive.isoformat())
    if isinstance(value, str):
        return quoted(value)
    return str(value)
