"""The identity map: one object for each entity, however often it is fetched."""

from __future__ import annotations

import ast
import functools
import re
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ftrackd.api.cache import MemoryCache

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity

#: The text of the primary key value, or of each of several.
PrimaryKey = str | tuple[str, ...]

#: How far beyond the limit the map grows before it is swept, so that the sweep's cost is shared by many rows.
_SLACK = 1.25


class IdentityMap(MemoryCache):
    """The first layer of a session's cache.

    Within the session entities are found by type and primary key without making cache keys; through the
    interface of a cache they have the keys that the session's key maker gives them. With a `limit` only
    that many entities are kept; beyond it those used longest ago are let go as soon as nobody else holds
    them. An entity with changes of its own in Python (a configured location) is never let go.
    """

    def __init__(self, make_key: Callable[[tuple[str, list[str]]], Any]) -> None:
        super().__init__()
        self._make_key = make_key
        self._by_type: dict[str, dict[PrimaryKey, Entity]] = {}
        self._let_go: dict[str, weakref.WeakValueDictionary[PrimaryKey, Entity]] = {}
        self._count = 0
        #: How many were left by the last sweep, which those that cannot go need not cause again.
        self._kept = 0
        self.limit: int | None = None

    def find(self, entity_type: str, primary_key: PrimaryKey) -> Entity | None:
        """Return the entity, or None; it counts as used."""
        entities = self._by_type.get(entity_type)
        entity = entities.get(primary_key) if entities is not None else None
        if self.limit is None:
            return entity
        if entity is not None:
            assert entities is not None
            del entities[primary_key]
            entities[primary_key] = entity
            return entity
        let_go = self._let_go.get(entity_type)
        entity = let_go.get(primary_key) if let_go is not None else None
        if entity is not None:
            self.add(entity_type, primary_key, entity)
        return entity

    def finder(self, entity_type: str) -> Callable[[PrimaryKey], Entity | None]:
        """Return what :meth:`find` does for one type, as a function to be used while the lock is held."""
        if self.limit is None:
            return self._by_type.setdefault(entity_type, {}).get
        return functools.partial(self.find, entity_type)

    def peek(self, entity_type: str, primary_key: PrimaryKey) -> Entity | None:
        """Return the entity, or None; it does not count as used."""
        entity = self._by_type.get(entity_type, {}).get(primary_key)
        if entity is None and self._let_go:
            let_go = self._let_go.get(entity_type)
            entity = let_go.get(primary_key) if let_go is not None else None
        return entity

    def peek_anywhere(self, primary_key: PrimaryKey) -> Entity | None:
        """Return the entity of whatever type that has `primary_key`, or None."""
        for entity_type in {*self._by_type, *self._let_go}:
            entity = self.peek(entity_type, primary_key)
            if entity is not None:
                return entity
        return None

    def add(self, entity_type: str, primary_key: PrimaryKey, entity: Entity) -> None:
        """Make `entity` the one object of its identity."""
        entities = self._by_type.get(entity_type)
        if entities is None:
            entities = self._by_type[entity_type] = {}
        if primary_key not in entities:
            self._count += 1
        entities[primary_key] = entity

    def discard(self, entity_type: str, primary_key: PrimaryKey) -> None:
        """Forget the entity, if it is known."""
        entities = self._by_type.get(entity_type)
        if entities is not None and entities.pop(primary_key, None) is not None:
            self._count -= 1
            self._kept = min(self._kept, self._count)
        let_go = self._let_go.get(entity_type)
        if let_go is not None:
            let_go.pop(primary_key, None)

    def entities(self) -> Iterator[Entity]:
        """Yield the entities, those that are kept and those that somebody else holds."""
        for entities in list(self._by_type.values()):
            yield from list(entities.values())
        for let_go in list(self._let_go.values()):
            yield from list(let_go.values())

    def __len__(self) -> int:
        return self._count

    def set_limit(self, limit: int | None) -> None:
        """Keep at most `limit` entities that nobody holds; None keeps all from now on."""
        self.limit = limit
        self._kept = 0
        if limit is not None:
            self.sweep()
            return
        for entity_type, let_go in self._let_go.items():
            for primary_key, entity in list(let_go.items()):
                self.add(entity_type, primary_key, entity)
        self._let_go = {}

    def sweep(self) -> None:
        """Let go of the entities used longest ago, if there are too many."""
        if self.limit is None or self._count <= max(self.limit, self._kept) + self.limit * (_SLACK - 1):
            return
        excess = self._count - self.limit
        # The share of each type: which of two types was used longer ago is not known, and not worth knowing.
        for entity_type, entities in self._by_type.items():
            share = -(-excess * len(entities) // self._count)
            let_go = self._let_go.setdefault(entity_type, weakref.WeakValueDictionary())
            for primary_key in list(entities)[:share]:
                entity = entities[primary_key]
                if entity._is_pinned():
                    continue
                del entities[primary_key]
                let_go[primary_key] = entity
        self._count = self._kept = sum(len(entities) for entities in self._by_type.values())

    # The interface of a cache, with the session's keys.

    def key_of(self, entity: Entity) -> Any:
        """Return the key that the session's key maker gives `entity`."""
        return self._make_key((entity.entity_type, list(entity._primary_values())))

    def get(self, key: Any) -> Any:
        """Return the value under `key`; KeyError when there is none."""
        entity = self._find_by_key(key)
        return entity if entity is not None else self._cache[key]

    def set(self, key: Any, value: Any) -> None:
        """Keep `value` under `key`."""
        if hasattr(value, "primary_key_attributes") and self.key_of(value) == key:
            self.add(value.entity_type, value._map_key(), value)
        else:
            self._cache[key] = value

    def remove(self, key: Any) -> None:
        """Forget `key`; KeyError when it is not there."""
        entity = self._find_by_key(key)
        if entity is None:
            del self._cache[key]
        else:
            self.discard(entity.entity_type, entity._map_key())

    def keys(self) -> list[Any]:
        """Return the keys."""
        return [*(self.key_of(entity) for entity in self.entities()), *self._cache]

    def values(self) -> list[Any]:
        """Return the values."""
        return [*self.entities(), *self._cache.values()]

    def clear(self, pattern: str | None = None) -> None:
        """Forget all keys, or those in which the regular expression `pattern` is found."""
        if pattern is not None:
            super().clear(re.compile(pattern).pattern)
            return
        # In place: an answer that is being taken in goes on with these.
        for entities in self._by_type.values():
            entities.clear()
        self._let_go = {}
        self._count = self._kept = 0
        self._cache.clear()

    def _find_by_key(self, key: Any) -> Entity | None:
        if isinstance(key, str) and key.startswith("("):
            # The text of (type, [values]), which is what a StringKeyMaker makes of it.
            try:
                entity_type, values = ast.literal_eval(key)
            except (ValueError, SyntaxError, TypeError):
                return None
            return self.peek(entity_type, values[0] if len(values) == 1 else tuple(values))
        for entity in self.entities():
            if self.key_of(entity) == key:
                return entity
        return None
