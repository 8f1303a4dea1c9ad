"""The base of all entity classes."""

from __future__ import annotations

import abc
import collections.abc
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from ftrackd.api import inspection, operation
from ftrackd.api.attribute import Attribute, Attributes
from ftrackd.api.symbol import CREATED, NOT_SET

if TYPE_CHECKING:
    from ftrackd.api._unit_of_work import UnitOfWork


class DynamicEntityTypeMetaclass(abc.ABCMeta):
    """The class of entity classes; they show themselves by the name of their type."""

    def __repr__(cls) -> str:
        return f"<dynamic ftrack class '{cls.__name__}'>"


def is_entity(value: Any) -> TypeGuard[Entity]:
    """Return whether `value` is an entity; isinstance() on an abstract base class is far slower."""
    return isinstance(type(value), DynamicEntityTypeMetaclass)


class _EntityBase(metaclass=DynamicEntityTypeMetaclass):
    """The base of mixins for entities that need the metaclass."""

    __slots__ = ()


class _CommonValues(dict[int, dict[str, Any]]):
    """The local values of an entity that has copies, which stay common to all of them when there are none."""


class Entity(_EntityBase, collections.abc.MutableMapping[str, Any]):
    """An entity: a mapping of attribute names to values.

    `data` are first values. A new entity gets the defaults of its schema and is recorded for creation; with
    `reconstructing` an existing entity is described and `data` are its values on the server.
    """

    # A session holds tens of thousands of these. The row stays as it was decoded; what is seldom used
    # (attributes set from Python, values set locally) has no memory until it is needed.
    __slots__ = ("__dict__", "__weakref__", "_group", "_local", "_row", "session")

    entity_type: str = "Entity"
    attributes: Attributes = Attributes()
    primary_key_attributes: list[str] = []
    default_projections: list[str] = []

    #: The values by which this entity is known to the server, as decoded; hydrated when they are read.
    _row: dict[str, Any]
    #: Values set or collections read here and not committed, by unit of work.
    _local: dict[int, dict[str, Any]] | None
    #: The entities that came with the same answer, which are loaded together.
    _group: Any

    def __init__(
        self, session: Any, data: Mapping[str, Any] | None = None, reconstructing: bool = False
    ) -> None:
        super().__init__()
        self.session = session
        self._row = {}
        self._local = None
        self._group = None
        if reconstructing:
            self._reconstruct(data or {})
        else:
            self._construct(data or {})

    @property
    def logger(self) -> logging.Logger:
        """The logger of this class of entities."""
        return logging.getLogger(f"ftrack_api.entity.base.{type(self).__name__}")

    def _construct(self, data: Mapping[str, Any]) -> None:
        session = self.session
        layout = session._layout(type(self))
        values = layout.defaults(self)
        unknown = []
        relations = []
        for name, value in data.items():
            if name not in layout.names:
                unknown.append(name)
            elif name not in layout.plain:
                relations.append(name)
            elif value is not NOT_SET:
                values[name] = value
            else:
                values.pop(name, None)
        if unknown:
            session._warn_of_unknown_attributes(layout, unknown)
        # Identity is not a change that belongs to a unit of work: every thread must see who this is, and a
        # rollback must not take it away from whoever keeps the entity in a set.
        self._row = row = {name: values[name] for name in layout.primary_key if name in values}
        unit = session._units.current()
        # Without what it refers to, the server would refuse the new entity.
        with unit.operations.together():
            with session._thread_lock:
                self._local = {unit.token: {name: value for name, value in values.items() if name not in row}}
                unit.changed[id(self)] = self
                if session.record_operations:
                    key = inspection.primary_key(self)
                    unit.operations.push(operation.CreateEntityOperation(self.entity_type, key, values))
            for name in relations:
                self[name] = data[name]

    def _reconstruct(self, data: Mapping[str, Any]) -> None:
        for name, value in data.items():
            attribute = self.attributes.get(name)
            if attribute is None:
                self.logger.debug("Cannot populate %r attribute as no such attribute exists.", name)
            else:
                attribute.set_remote_value(self, value)

    # Values as the attributes and the session see them.

    # Threads and their units set and drop them at the same time: that is guarded, reading is not.

    def _local_value(self, name: str) -> Any:
        local = self._local
        if local is None:
            return NOT_SET
        values = local.get(self.session._units.current().token)
        return NOT_SET if values is None else values.get(name, NOT_SET)

    def _local_values(self) -> dict[str, Any]:
        """Return the local values in the current unit of work, not to be changed."""
        return (self._local or {}).get(self.session._units.current().token) or {}

    def _set_local(self, name: str, value: Any) -> None:
        unit = self.session._units.current()
        with self.session._thread_lock:
            if value is NOT_SET:
                self._drop_local(unit, name)
                return
            self._values_of(unit)[name] = value
            unit.changed[id(self)] = self

    def _keep_copy(self, name: str, value: Any) -> Any:
        """Keep a collection that was made to be read, and return what every read gives from now on.

        That is `value`, or what another thread made or set meanwhile.
        """
        unit = self.session._units.current()
        with self.session._thread_lock:
            kept = self._values_of(unit).setdefault(name, value)
            if id(self) not in unit.changed:
                unit.read[id(self)] = self
        return kept

    def _values_of(self, unit: UnitOfWork) -> dict[str, Any]:
        if self._local is None:
            self._local = {}
        return self._local.setdefault(unit.token, {})

    def _drop_local(self, unit: UnitOfWork, name: str) -> None:
        with self.session._thread_lock:
            values = (self._local or {}).get(unit.token)
            if values is not None:
                values.pop(name, None)
                if not values:
                    self._drop_unit(unit.token)
                    unit.forget_entity(self)

    def _drop_unit(self, token: int) -> None:
        """Forget the local values of the unit of work with `token`."""
        with self.session._thread_lock:
            self._abandon_unit(token)
            if not self._local and not isinstance(self._local, _CommonValues):
                self._local = None

    def _abandon_unit(self, token: int) -> None:
        """Forget the local values of a unit of work that is gone.

        Without the lock: this comes whenever garbage is collected, in the midst of whatever else is locked.
        """
        local = self._local
        if local is not None:
            local.pop(token, None)

    def _keep_values_of(self, token: int) -> None:
        """Let the local values of the unit of work with `token` be read like values from the server."""
        collections = self.session._layout(type(self)).collections
        for name, value in ((self._local or {}).get(token) or {}).items():
            self._row[name] = list(getattr(value, "collection", value)) if name in collections else value

    def _drop_copies(self, name: str) -> None:
        """Forget, in all units, the copies of the collection `name` that nobody changed."""
        with self.session._thread_lock:
            for token, values in list((self._local or {}).items()):
                if _is_copy(values.get(name)):
                    del values[name]
                    if not values:
                        self._drop_unit(token)

    def _expire(self, names: frozenset[str]) -> None:
        """Forget what the server said about the attributes `names`."""
        for name in names & self._row.keys():
            del self._row[name]
            if self._group is not None:
                self._group.forget(name)
            if self._local is not None:
                self._drop_copies(name)

    def _remote_raw(self, name: str) -> Any:
        return self._row.get(name, NOT_SET)

    def _remote_value(self, name: str) -> Any:
        value = self._row.get(name, NOT_SET)
        if value.__class__ is dict or value.__class__ is list:
            value = self._row[name] = self.session._hydrate(value)
        return value

    def _remote_members(self, name: str) -> Any:
        """Return the entities of a collection as a list, or NOT_SET."""
        value = self._remote_value(name)
        return [] if value is None else value

    def _set_remote(self, name: str, value: Any) -> None:
        if value is NOT_SET:
            self._row.pop(name, None)
        else:
            self._row[name] = value

    def _stored(self, name: str) -> Any:
        """Return the local value of `name`, else the remote one, else NOT_SET; never asks the server."""
        value = self._local_value(name)
        return value if value is not NOT_SET else self._remote_value(name)

    def _primary_values(self) -> tuple[str, ...]:
        """Return the text of the primary key values; KeyError when one is not set."""
        values = []
        for name in self.primary_key_attributes:
            value = self._row.get(name, NOT_SET)
            if value is NOT_SET:
                value = self._local_value(name)
                if value is NOT_SET:
                    raise KeyError(f"Primary key attribute {name!r} of {self!r} has no value.")
            values.append(value if value.__class__ is str else str(value))
        return tuple(values)

    def _has_identity(self) -> bool:
        return all(self._stored(name) is not NOT_SET for name in self.primary_key_attributes)

    def _map_key(self) -> str | tuple[str, ...]:
        """Return the key of this entity in the identity map."""
        names = self.primary_key_attributes
        if len(names) == 1 and (value := self._row.get(names[0])).__class__ is str:
            return value
        values = self._primary_values()
        return values[0] if len(values) == 1 else values

    def _is_pinned(self) -> bool:
        """Return whether this object carries what fetching the entity again would not give."""
        if self.__dict__ or type(self) is not self.session.types[self.entity_type]:
            return True
        return any(
            not _is_copy(value) for values in (self._local or {}).values() for value in values.values()
        )

    @property
    def _ftrack_attribute_storage(self) -> dict[str, Any]:
        return {attribute.name: attribute.get_entity_storage(self) for attribute in self.attributes}

    def __copy__(self) -> Entity:
        # Copies are views of one entity: what is set on one is read from all.
        with self.session._thread_lock:
            if not isinstance(self._local, _CommonValues):
                self._local = _CommonValues(self._local or {})
        duplicate = object.__new__(type(self))
        duplicate.session = self.session
        duplicate._row = self._row
        duplicate._local = self._local
        duplicate._group = self._group
        duplicate.__dict__.update(self.__dict__)
        return duplicate

    def __reduce__(self) -> str:
        """Refuse to be pickled or copied deeply, with a TypeError that says what to do."""
        raise TypeError(
            f"{self} belongs to a session and cannot be pickled or copied deeply; "
            "hand on its entity type and primary key and get it from the other session."
        )

    # The mapping.

    def _attribute(self, key: str) -> Attribute:
        attribute = self.attributes.get(key)
        if attribute is None:
            raise KeyError(key)
        return attribute

    def __getitem__(self, key: str) -> Any:
        # The common case, a loaded value and nothing set locally, without a call.
        if self._local is None:
            value = self._row.get(key, NOT_SET)
            kind = value.__class__
            if value is not NOT_SET and kind is not dict and kind is not list:
                return value
        return self._attribute(key).get_value(self)

    def _get_by_attribute(self, key: str) -> Any:
        """Stand in for `__getitem__` on classes whose attributes have ways of their own."""
        return self._attribute(key).get_value(self)

    def __setitem__(self, key: str, value: Any) -> None:
        self._attribute(key).set_local_value(self, value)

    def __delitem__(self, key: str) -> None:
        self._attribute(key).set_local_value(self, NOT_SET)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.attributes.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.attributes.keys())

    def __len__(self) -> int:
        return len(self.attributes)

    def values(self) -> list[Any]:  # type: ignore[override]  # a list, as it always was
        """Return the values of all attributes, loading in one call those that are not loaded."""
        self._load_unset()
        return list(super().values())

    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override]  # a list, as it always was
        """Return names and values of all attributes, loading in one call those that are not loaded."""
        self._load_unset()
        return list(super().items())

    def _load_unset(self) -> None:
        session = self.session
        if not session.auto_populate:
            return
        projections = [
            attribute.projection(session)
            for attribute in self.attributes
            if self._stored(attribute.name) is NOT_SET
        ]
        if projections:
            session.populate(self, ", ".join(projections))

    def clear(self) -> None:
        """Forget all values that were set here and not committed."""
        for name in list(self._local_values()):
            if _is_copy(self._local_value(name)):
                self._drop_local(self.session._units.current(), name)
            else:
                del self[name]

    def merge(self, entity: Entity, merged: dict[Any, Any] | None = None) -> list[dict[str, Any]]:
        """Take over the values of `entity`, another object for the same entity, and return what changed.

        A value set here stays. Each change is a mapping with the keys ``type`` (``remote_attribute`` or
        ``local_attribute``), ``name``, ``old_value`` and ``new_value``. `merged` holds what was merged
        already, by identity.
        """
        if merged is None:
            merged = {}
        relations = self.session._layout(type(self)).relations
        changes = []
        # Scalars first: with the primary key set, collections can refer back to this entity.
        for name in sorted(entity._row, key=relations.__contains__):
            new_value = entity._remote_value(name)
            if name in relations:
                new_value = self.session.merge(new_value, merged)
            old_value = self._row.get(name, NOT_SET)
            if old_value is NOT_SET or new_value != self._remote_value(name):
                self._row[name] = new_value
                self._drop_copies(name)
                changes.append(_change("remote_attribute", name, old_value, new_value))
        for name, new_value in list(entity._local_values().items()):
            old_value = self._local_value(name)
            if old_value is NOT_SET and not _is_copy(new_value):
                self._set_local(name, new_value)
                changes.append(_change("local_attribute", name, old_value, new_value))
        return changes

    # What an entity is.

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        try:
            return bool(
                self.entity_type == other.entity_type  # type: ignore[attr-defined]
                and self._primary_values() == other._primary_values()  # type: ignore[attr-defined]
            )
        except (AttributeError, KeyError):
            return False  # not an entity, or one without identity

    def __hash__(self) -> int:
        return hash((self.entity_type, self._primary_values()))

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        values = (self._stored(name) for name in self.primary_key_attributes)
        return f"<{type(self).__name__}({', '.join(str(value) for value in values)})>"

    def __repr__(self) -> str:
        return f"<dynamic ftrack {type(self).__name__} object {id(self)}>"

    def _is_created(self) -> bool:
        """Return whether the server does not know this entity yet."""
        return inspection.state(self) is CREATED


def _change(kind: str, name: str, old_value: Any, new_value: Any) -> dict[str, Any]:
    return {"type": kind, "name": name, "old_value": old_value, "new_value": new_value}


def _is_copy(value: Any) -> bool:
    """Return whether `value` is a collection that was made only to be read."""
    return getattr(getattr(value, "collection", value), "is_copy", False) is True
