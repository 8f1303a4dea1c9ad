"""The values of attributes that hold many entities."""

from __future__ import annotations

import collections.abc
import copy
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, overload

from ftrackd.api import exception
from ftrackd.api._members import Members

if TYPE_CHECKING:
    from ftrackd.api.attribute import Attribute

Identity = tuple[str, tuple[Any, ...]]


def __getattr__(name: str) -> Any:
    # They belong to the factory, which needs this module; code takes them from here as well.
    if name in {"PerSessionDefaultKeyMaker", "memoise_session"}:
        from ftrackd.api.entity import factory

        return getattr(factory, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _identity(item: Any) -> Identity:
    """Return what makes `item` the same entity as another object."""
    return item.entity_type, tuple([item[name] for name in item.primary_key_attributes])


class Collection(collections.abc.MutableSequence[Any]):
    """An ordered list of entities in which no entity occurs twice.

    `entity` and `attribute` say whose value it is; `data` are the first members. A change of a mutable
    collection is recorded as an update of the whole attribute. DuplicateItemInCollectionError and
    ImmutableCollectionError are raised by changes that are not allowed.
    """

    def __init__(
        self, entity: Any, attribute: Attribute, mutable: bool = True, data: Iterable[Any] | None = None
    ) -> None:
        self.entity = entity
        self.attribute = attribute
        self.mutable = mutable
        #: Made only to be read so far: it holds what the server sent, and may be replaced by what it sends
        #: next.
        self.is_copy = False
        #: Counts the changes.
        self.version = 0
        self._is_bound = True
        self._members = Members([])
        #: Of which state of the members this is the collection; None: of the present one.
        self._state: int | None = None
        self._known: set[Identity] | None = set()
        for item in data if data is not None else ():
            self._refuse_duplicate(item)
            self._members.now.append(item)
            self._identities.add(_identity(item))

    @classmethod
    def from_server(cls, entity: Any, attribute: Attribute, mutable: bool, members: list[Any]) -> Collection:
        """Return a collection of `members` that the server sent, which are known to be distinct."""
        collection = cls(entity, attribute, mutable)
        collection._members = Members(list(members))
        collection._known = None
        collection.is_copy = True
        return collection

    @property
    def _data(self) -> list[Any]:
        """The members, not to be changed."""
        if self._state is not None:
            self._members = Members(self._members.at(self._state))
            self._state = None
        return self._members.now

    @property
    def _identities(self) -> set[Identity]:
        # Made on demand: most collections are only iterated.
        if self._known is None:
            self._known = {_identity(item) for item in self._data}
        return self._known

    def __copy__(self) -> Collection:
        duplicate = object.__new__(type(self))
        duplicate.__dict__.update(self.__dict__)
        if self._state is None:
            # The members stay common until one of the two is read after the other was changed.
            duplicate._state = self._members.state
        duplicate._known = None
        # What happens to a copy is nobody's change of the entity.
        duplicate._is_bound = False
        return duplicate

    def _refuse_duplicate(self, item: Any) -> None:
        if _identity(item) in self._identities:
            raise exception.DuplicateItemInCollectionError(item, self)

    def _change(self, start: int, stop: int, items: list[Any], known: set[Identity] | None) -> None:
        """Put `items` in the place of the members from `start` up to `stop`, and record the change."""
        present = self._data
        if self._members.has_long_history:
            self._members = Members(list(present))
        before = copy.copy(self)
        self._members.splice(start, stop, items)
        self._known = known
        self.version += 1
        self.is_copy = False
        if self._is_bound:
            self.attribute.collection_changed(self.entity, self, before)

    def _refuse_immutable(self) -> None:
        if not self.mutable:
            raise exception.ImmutableCollectionError(self)

    @property
    def _lock(self) -> Any:
        """The lock of the session: a change builds on the one before, whichever thread made that."""
        return self.entity.session._thread_lock

    def insert(self, index: int, item: Any) -> None:
        """Put `item` before position `index`."""
        self._refuse_immutable()
        with self._lock:
            self._refuse_duplicate(item)
            start, _, _ = slice(index, None).indices(len(self._data))
            known = self._identities
            known.add(_identity(item))
            self._change(start, start, [item], known)

    def append(self, item: Any) -> None:
        """Put `item` at the end."""
        with self._lock:
            super().append(item)

    def remove(self, item: Any) -> None:
        """Take `item` out; ValueError when it is no member."""
        with self._lock:
            super().remove(item)

    def __contains__(self, item: object) -> bool:
        try:
            return _identity(item) in self._identities
        except (AttributeError, KeyError, TypeError):
            return False  # not an entity, or one without identity

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._data[index]

    def __setitem__(self, index: int | slice, item: Any) -> None:
        self._refuse_immutable()
        with self._lock:
            changed = list(self._data)
            changed[index] = list(item) if isinstance(index, slice) else item
            identities: set[Identity] = set()
            for member in changed:
                identity = _identity(member)
                if identity in identities:
                    raise exception.DuplicateItemInCollectionError(member, self)
                identities.add(identity)
            self._change(0, len(self._data), changed, identities)

    def __delitem__(self, index: int | slice) -> None:
        self._refuse_immutable()
        with self._lock:
            if isinstance(index, slice):
                changed = list(self._data)
                del changed[index]
                self._change(0, len(self._data), changed, None)
                return
            position = range(len(self._data))[index]
            known = self._known
            if known is not None:
                known.discard(_identity(self._data[position]))
            self._change(position, position + 1, [], known)

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the position of `value`; ValueError when it is no member."""
        if start == 0 and stop is None:
            # Entities are compared in Python; most who ask hold the member itself.
            for position, member in enumerate(self._data):
                if member is value:
                    return position
        return super().index(value, start, len(self._data) if stop is None else stop)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Any]:
        # A copy: the loop's body may change the collection.
        return iter(list(self._data))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Collection):
            return False
        return self._identities == other._identities

    __hash__ = None  # type: ignore[assignment]  # mutable and compared by content

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._data!r}>"


class MappedCollectionProxy(collections.abc.MutableMapping[str, Any]):
    """Shows a collection of key and value entities as a mapping; `collection` is what stands behind."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        super().__init__()

    def __copy__(self) -> MappedCollectionProxy:
        duplicate = object.__new__(type(self))
        duplicate.__dict__.update(self.__dict__)
        duplicate.collection = copy.copy(self.collection)
        return duplicate

    @property
    def mutable(self) -> bool:
        """Whether the collection may be changed."""
        return self.collection.mutable

    @mutable.setter
    def mutable(self, value: bool) -> None:
        self.collection.mutable = value

    @property
    def attribute(self) -> Attribute:
        """The attribute whose value this is."""
        return self.collection.attribute

    @attribute.setter
    def attribute(self, value: Attribute) -> None:
        self.collection.attribute = value

    @abstractmethod
    def __getitem__(self, key: str) -> Any:
        """Return the value under `key`."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.collection!r}>"


class KeyValueMappedCollectionProxy(MappedCollectionProxy):
    """A mapping over entities of which one attribute is the key and one the value, such as metadata.

    `creator` is called with ``(proxy, data)``, data holding the key and value attributes, and returns a
    new entity.
    """

    def __init__(
        self,
        collection: Collection,
        creator: Callable[[Any, dict[str, Any]], Any],
        key_attribute: str,
        value_attribute: str,
    ) -> None:
        self.creator = creator
        self.key_attribute = key_attribute
        self.value_attribute = value_attribute
        self._by_key: dict[str, Any] | None = None
        self._indexed_version = 0
        super().__init__(collection)

    def __copy__(self) -> KeyValueMappedCollectionProxy:
        duplicate = super().__copy__()
        assert isinstance(duplicate, KeyValueMappedCollectionProxy)
        duplicate._by_key = None
        return duplicate

    def _index(self) -> dict[str, Any]:
        """Return the members by their keys, the first of those with one key."""
        by_key = self._by_key
        if by_key is None or self._indexed_version != self.collection.version:
            version = self.collection.version
            by_key = {}
            for entity in self.collection:
                by_key.setdefault(entity[self.key_attribute], entity)
            # Whole, and before its version: another thread must not look into half an index.
            self._by_key = by_key
            self._indexed_version = version
        return by_key

    def _follow(self, version: int, key: str, entity: Any) -> None:
        """Keep the index over the one change since `version`: `key` got a member, or with None lost it."""
        if self._by_key is None or self._indexed_version != version:
            return
        if self.collection.version != version + 1:
            return
        if entity is not None:
            self._by_key[key] = entity
        elif len(self._by_key) == len(self.collection) + 1:
            del self._by_key[key]
        else:
            # Several members with one key: another may take the place of the one that is gone.
            return
        self._indexed_version += 1

    def _entity(self, key: str) -> Any:
        """Return the member with `key`; KeyError when there is none."""
        entity = self._index().get(key)
        if entity is not None and entity[self.key_attribute] == key:
            return entity
        if self._has_lasting_keys():
            raise KeyError(key)
        # What has no key, or had another one when it was looked at, may have this one by now.
        self._by_key = None
        return self._index()[key]

    def _has_lasting_keys(self) -> bool:
        """Whether the members' keys can never change."""
        attributes = [member.attributes.get(self.key_attribute) for member in self.collection._data[:1]]
        return not any(attribute is None or attribute.mutable for attribute in attributes)

    def __getitem__(self, key: str) -> Any:
        return self._entity(key)[self.value_attribute]

    def __setitem__(self, key: str, value: Any) -> None:
        try:
            entity = self._entity(key)
        except KeyError:
            data = {self.key_attribute: key, self.value_attribute: value}
            version = self.collection.version
            entity = self.creator(self, data)
            if entity not in self.collection:
                self.collection.append(entity)
            self._follow(version, key, entity)
        else:
            entity[self.value_attribute] = value

    def __delitem__(self, key: str) -> None:
        entity = self._entity(key)
        version = self.collection.version
        self.collection.remove(entity)
        self._follow(version, key, None)
        entity.session.delete(entity)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(entity[self.key_attribute] for entity in self.collection))

    def __len__(self) -> int:
        return len({entity[self.key_attribute] for entity in self.collection})

    def keys(self) -> list[str]:  # type: ignore[override]  # a list, as it always was
        """Return the keys."""
        return list(self)


class CustomAttributeCollectionProxy(MappedCollectionProxy):
    """The custom attributes of old servers, which keep a row only for values that were set.

    Every configured key is there; one without a row has the default of its configuration.
    """

    key_attribute = "configuration_id"
    value_attribute = "value"

    def get_configuration_id_from_key(self, key: str) -> str:
        """Return the id of the configuration with `key`; KeyError when none applies to the entity."""
        for configuration in self._configurations():
            if configuration["key"] == key:
                return str(configuration["id"])
        raise KeyError(key)

    def _configurations(self) -> list[Any]:
        from ftrackd.api.entity import _custom_attribute

        return _custom_attribute.applicable(self.collection.entity)

    def _configuration(self, key: str) -> Any:
        for configuration in self._configurations():
            if configuration["key"] == key:
                return configuration
        raise KeyError(key)

    def _stored(self, configuration_id: str) -> Any:
        for entity in self.collection:
            if entity[self.key_attribute] == configuration_id:
                return entity
        return None

    def __getitem__(self, key: str) -> Any:
        configuration = self._configuration(key)
        entity = self._stored(configuration["id"])
        return configuration["default"] if entity is None else entity[self.value_attribute]

    def __setitem__(self, key: str, value: Any) -> None:
        configuration_id = self.get_configuration_id_from_key(key)
        entity = self._stored(configuration_id)
        if entity is not None:
            entity[self.value_attribute] = value
            return
        owner = self.collection.entity
        data = {self.key_attribute: configuration_id, self.value_attribute: value, "entity_id": owner["id"]}
        self.collection.append(owner.session.create("CustomAttributeValue", data))

    def __delitem__(self, key: str) -> None:
        entity = self._stored(self.get_configuration_id_from_key(key))
        if entity is None:
            raise KeyError(key)
        self.collection.remove(entity)
        entity.session.delete(entity)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(configuration["key"] for configuration in self._configurations()))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def keys(self) -> list[str]:  # type: ignore[override]  # a list, as it always was
        """Return the keys."""
        return list(self)
