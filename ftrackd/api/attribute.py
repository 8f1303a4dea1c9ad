"""The attributes of an entity class: how a value is read, set, fetched and compared.

Each attribute of each entity has two values, the local one, set here and not yet committed, and the remote
one, as the server sent it. Both may be NOT_SET. The entity keeps them (rows as decoded, local values per
unit of work); attributes hold no values themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar

from ftrackd.api import collection as _collection
from ftrackd.api import exception, inspection, operation
from ftrackd.api.symbol import NOT_SET

_F = TypeVar("_F", bound=Callable[..., Any])


def merge_references(function: _F) -> _F:
    """Decorate a function ``(attribute, entity)`` so that an entity it returns is the one of the session."""

    @functools.wraps(function)
    def get_value(attribute: Any, entity: Any) -> Any:
        value = function(attribute, entity)
        if value is NOT_SET or value is None or entity.session is None:
            return value
        return entity.session.merge(value)

    return get_value  # type: ignore[return-value]  # the wrapper takes what the function takes


class Attributes:
    """The attributes of an entity class, by name and in the order of the schema."""

    def __init__(self, attributes: Iterable[Attribute] | None = None) -> None:
        super().__init__()
        self._by_name: dict[str, Attribute] = {}
        for attribute in attributes or ():
            self.add(attribute)

    def add(self, attribute: Attribute) -> None:
        """Add `attribute`; NotUniqueError when there is one of its name."""
        if attribute.name in self._by_name:
            raise exception.NotUniqueError(f'Attribute with name "{attribute.name}" already added.')
        self._by_name[attribute.name] = attribute

    def remove(self, attribute: Attribute) -> None:
        """Remove `attribute`; KeyError when it is not there."""
        del self._by_name[attribute.name]

    def get(self, name: str) -> Attribute | None:
        """Return the attribute called `name`, or None."""
        return self._by_name.get(name)

    def keys(self) -> list[str]:
        """Return the names of the attributes."""
        return list(self._by_name)

    def __contains__(self, item: object) -> bool:
        return getattr(item, "name", None) in self._by_name

    def __iter__(self) -> Iterator[Attribute]:
        return iter(list(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)


class _Storage(MutableMapping[str, Any]):
    """The local and the remote value of one attribute of one entity, under these two names."""

    def __init__(self, attribute: Attribute, entity: Any) -> None:
        self._attribute = attribute
        self._entity = entity

    def __getitem__(self, key: str) -> Any:
        if key == Attribute._local_key:
            return self._attribute.get_local_value(self._entity)
        if key == Attribute._remote_key:
            return self._attribute.get_remote_value(self._entity)
        raise KeyError(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key == Attribute._local_key:
            self._entity._set_local(self._attribute.name, value)
        elif key == Attribute._remote_key:
            self._attribute.set_remote_value(self._entity, value)
        else:
            raise KeyError(key)

    def __delitem__(self, key: str) -> None:
        self[key] = NOT_SET

    def __iter__(self) -> Iterator[str]:
        return iter((Attribute._local_key, Attribute._remote_key))

    def __len__(self) -> int:
        return 2


class Attribute:
    """An attribute called `name`.

    `default_value` is given to new entities (a function is called with the entity); one that is not
    `mutable` may be set once; a `computed` one is the server's own and is not kept in serialised caches.
    """

    _local_key = "local"
    _remote_key = "remote"

    def __init__(
        self, name: str, default_value: Any = NOT_SET, mutable: bool = True, computed: bool = False
    ) -> None:
        super().__init__()
        self._name = name
        self._mutable = mutable
        self._computed = computed
        self.default_value = default_value

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__}({self.name}) object at {id(self)}>"

    @property
    def name(self) -> str:
        """The name of the attribute."""
        return self._name

    @property
    def mutable(self) -> bool:
        """Whether a value that is set may be replaced."""
        return self._mutable

    @property
    def computed(self) -> bool:
        """Whether the server computes the value."""
        return self._computed

    def get_entity_storage(self, entity: Any) -> MutableMapping[str, Any]:
        """Return the values of `entity` as a mapping with the keys ``local`` and ``remote``."""
        return _Storage(self, entity)

    def get_value(self, entity: Any) -> Any:
        """Return the value of `entity`: the local one, else the remote one, else what the server answers."""
        value = self.get_local_value(entity)
        if value is not NOT_SET:
            return value
        value = self.get_remote_value(entity)
        if value is not NOT_SET or not entity.session.auto_populate:
            return value
        self.populate_remote_value(entity)
        return self.get_remote_value(entity)

    def get_local_value(self, entity: Any) -> Any:
        """Return the value set on `entity` here, or NOT_SET."""
        return entity._local_value(self._name)

    def get_remote_value(self, entity: Any) -> Any:
        """Return the value of `entity` that the server sent, or NOT_SET; never asks the server."""
        return entity._remote_value(self._name)

    def set_local_value(self, entity: Any, value: Any) -> None:
        """Set the value of `entity` and record it for the next commit.

        NOT_SET takes the local value away. ImmutableAttributeError when the attribute may be set only once
        and is.
        """
        if not self._mutable and value is not NOT_SET and self.is_set(entity):
            raise exception.ImmutableAttributeError(self)
        # In one step: a commit in between would take the value for one that it has sent.
        with entity.session._thread_lock:
            old_value = self.get_local_value(entity)
            entity._set_local(self._name, value)
            self._record(entity, old_value, value)

    def _record(self, entity: Any, old_value: Any, new_value: Any) -> None:
        session = entity.session
        if not session.record_operations:
            return
        session.recorded_operations.push(
            operation.UpdateEntityOperation(
                entity.entity_type, inspection.primary_key(entity), self._name, old_value, new_value
            )
        )

    def set_remote_value(self, entity: Any, value: Any) -> None:
        """Set what counts as the server's value of `entity`."""
        entity._set_remote(self._name, value)

    def populate_remote_value(self, entity: Any) -> Any:
        """Load the value of `entity`, and of those that came with it; return the remote value."""
        entity.session._populate_attribute(entity, self._name, self.projection(entity.session))
        return self.get_remote_value(entity)

    def projection(self, session: Any) -> str:
        """Return what a query must select to fetch this attribute."""
        return self._name

    def is_modified(self, entity: Any) -> bool:
        """Return whether `entity` has a local value that is not the remote one."""
        local = self.get_local_value(entity)
        return local is not NOT_SET and bool(local != self.get_remote_value(entity))

    def is_set(self, entity: Any) -> bool:
        """Return whether `entity` has a value, local or remote."""
        return entity._stored(self._name) is not NOT_SET

    def collection_changed(self, entity: Any, collection: Any, before: Any) -> None:
        """Take note that `collection`, the value of `entity`, was changed by its own methods."""
        raise NotImplementedError(f"{self!r} does not hold collections.")


class ScalarAttribute(Attribute):
    """An attribute with a plain value of `data_type` (a name such as ``string`` or ``datetime``)."""

    def __init__(self, name: str, data_type: str, **kw: Any) -> None:
        self.data_type = data_type
        super().__init__(name, **kw)


class ReferenceAttribute(Attribute):
    """An attribute whose value is another entity, of `entity_type` or a type derived from it."""

    def __init__(self, name: str, entity_type: str, **kw: Any) -> None:
        self.entity_type = entity_type
        super().__init__(name, **kw)

    def projection(self, session: Any) -> str:
        """Return what a query must select to fetch the entity with its default projections."""
        target = session.types.get(self.entity_type)
        names = list(target.default_projections) if target is not None else []
        return ", ".join(f"{self._name}.{name}" for name in names) or self._name

    def set_local_value(self, entity: Any, value: Any) -> None:
        """Let `entity` refer to `value` and record it; an entity of another session is merged here."""
        session = entity.session
        if getattr(value, "session", session) is not session:
            value = session.merge(value)
        super().set_local_value(entity, value)

    def is_modified(self, entity: Any) -> bool:
        """Return whether `entity` refers locally to another entity than remotely."""
        local = self.get_local_value(entity)
        if local is NOT_SET:
            return False
        remote = self.get_remote_value(entity)
        if local is None or remote is None or remote is NOT_SET:
            return local is not remote
        return bool(local != remote)


class AbstractCollectionAttribute(Attribute):
    """An attribute that holds many entities; `collection_class` is the type of its values."""

    collection_class: type[Any] = _collection.Collection

    def get_value(self, entity: Any) -> Any:
        """Return the collection of `entity`, one object until it is committed or changes remotely."""
        value = self.get_local_value(entity)
        if value is not NOT_SET:
            return value
        if entity._remote_raw(self._name) is NOT_SET and entity.session.auto_populate:
            self.populate_remote_value(entity)
        members = entity._remote_members(self._name)
        # Read copies are not local values that anybody set; NOT_SET members are those of a new entity.
        value = self._from_server(entity, self._mutable, members if members is not NOT_SET else [])
        return entity._keep_copy(self._name, value)

    def get_remote_value(self, entity: Any) -> Any:
        """Return the collection that the server sent for `entity`, immutable, or NOT_SET."""
        members = entity._remote_members(self._name)
        if members is NOT_SET:
            return NOT_SET
        return self._from_server(entity, False, members)

    def is_modified(self, entity: Any) -> bool:
        """Return whether `entity` has a collection that was set or changed here."""
        value = self.get_local_value(entity)
        if value is NOT_SET or getattr(value, "collection", value).is_copy:
            return False
        return bool(value != self.get_remote_value(entity))

    def _from_server(self, entity: Any, mutable: bool, members: list[Any]) -> Any:
        return self.wrap(_collection.Collection.from_server(entity, self, mutable, members))

    def wrap(self, collection: _collection.Collection) -> Any:
        """Return the value that shows `collection`."""
        return collection

    def set_local_value(self, entity: Any, value: Any) -> None:
        """Set the collection of `entity` and record it; None is an empty one.

        Takes a list or a collection, and a mapping where the values are mapped. NotImplementedError for
        other types,
        AttributeError of this library for the collection of another attribute.
        """
        if value is not NOT_SET:
            value = self._adapt(entity, value)
            value.mutable = self._mutable
        super().set_local_value(entity, value)

    def set_remote_value(self, entity: Any, value: Any) -> None:
        """Set what counts as the server's collection of `entity`."""
        if value is not NOT_SET:
            value = self._adapt(entity, value)
            value = list(getattr(value, "collection", value))
        super().set_remote_value(entity, value)

    def _adapt(self, entity: Any, value: Any) -> Any:
        """Return `value` as a collection of this attribute of `entity`."""
        if value is None:
            return self.wrap(_collection.Collection(entity, self))
        if isinstance(value, list):
            return self.wrap(_collection.Collection(entity, self, data=value))
        if isinstance(value, (_collection.Collection, _collection.MappedCollectionProxy)):
            if value.attribute is not self:
                raise exception.AttributeError(
                    "Collection already bound to a different attribute: "
                    f"{value.attribute.name!r} instead of {self._name!r}."
                )
            members: Any = getattr(value, "collection", value)
            if members.entity is entity:
                return self.wrap(members)
            return self.wrap(_collection.Collection(entity, self, data=list(members)))
        raise NotImplementedError(
            f"Cannot use {type(value).__name__} for the collection {self._name!r}; give a list."
        )

    def collection_changed(self, entity: Any, collection: Any, before: Any) -> None:
        """Make `collection` the local value of `entity` and record the change."""
        with entity.session._thread_lock:
            current = self.get_local_value(entity)
            if current is NOT_SET or getattr(current, "collection", current) is not collection:
                current = self.wrap(collection)
            entity._set_local(self._name, current)
            self._record(entity, self.wrap(before), current)


class CollectionAttribute(AbstractCollectionAttribute):
    """An attribute that holds a list of entities."""


class KeyValueMappedCollectionAttribute(AbstractCollectionAttribute):
    """An attribute that shows key and value entities as a mapping.

    `creator`, `key_attribute` and `value_attribute` are those of
    :class:`ftrackd.api.collection.KeyValueMappedCollectionProxy`.
    """

    collection_class = _collection.KeyValueMappedCollectionProxy

    def __init__(
        self, name: str, creator: Callable[..., Any], key_attribute: str, value_attribute: str, **kw: Any
    ) -> None:
        self.creator = creator
        self.key_attribute = key_attribute
        self.value_attribute = value_attribute
        super().__init__(name, **kw)

    def wrap(self, collection: _collection.Collection) -> Any:
        """Return the mapping that shows `collection`."""
        return _collection.KeyValueMappedCollectionProxy(
            collection, self.creator, self.key_attribute, self.value_attribute
        )

    def projection(self, session: Any) -> str:
        """Return what a query must select to fetch the keys and values."""
        return self._name

    def _adapt(self, entity: Any, value: Any) -> Any:
        if isinstance(value, Mapping) and not isinstance(value, _collection.MappedCollectionProxy):
            return self._adapt_mapping(entity, value)
        return super()._adapt(entity, value)

    def _adapt_mapping(self, entity: Any, value: Mapping[str, Any]) -> Any:
        """Change the present members to `value`; the entities of keys that go are deleted too."""
        current = self.get_value(entity)
        proxy = self.wrap(_collection.Collection(entity, self, data=list(current.collection)))
        for key in [key for key in proxy if key not in value]:
            del proxy[key]
        for key, item in value.items():
            proxy[key] = item
        return proxy

    #: Whether the server keeps an entity for every key there can be: a mapping that is assigned sets the
    #: values of the keys it has, and no list of members is ever sent.
    is_dense = False

    def set_local_value(self, entity: Any, value: Any) -> None:
        """Set the mapping of `entity` and record it; a dense one key by key."""
        if self.is_dense and isinstance(value, Mapping) and not isinstance(value, self.collection_class):
            present = self.get_value(entity)
            for key, item in value.items():
                present[key] = item
            return
        super().set_local_value(entity, value)


class CustomAttributeCollectionAttribute(AbstractCollectionAttribute):
    """The custom attributes of old servers, as a mapping."""

    collection_class = _collection.CustomAttributeCollectionProxy

    def wrap(self, collection: _collection.Collection) -> Any:
        """Return the mapping that shows `collection`."""
        return _collection.CustomAttributeCollectionProxy(collection)

    def _adapt(self, entity: Any, value: Any) -> Any:
        if isinstance(value, Mapping) and not isinstance(value, _collection.MappedCollectionProxy):
            present = list(self.get_value(entity).collection)
            proxy = self.wrap(_collection.Collection(entity, self, data=present))
            for key, item in value.items():
                proxy[key] = item
            return proxy
        return super()._adapt(entity, value)
