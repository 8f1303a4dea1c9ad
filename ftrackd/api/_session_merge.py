"""How what the server sends becomes the one object for each entity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ftrackd.api import _answer
from ftrackd.api import collection as _collection
from ftrackd.api._absorption import Absorption
from ftrackd.api._collector import CollectorPaused
from ftrackd.api._layout import Layout
from ftrackd.api._session_request import RequestMethods
from ftrackd.api.entity.base import Entity, is_entity


class MergeMethods(RequestMethods):
    """The identity map's rules."""

    def _query(self, expression: str, *, regroup: bool = True) -> tuple[list[Any], int | None]:
        """Return the entities that `expression` finds, and the offset of the next page or None.

        For `regroup` see :meth:`_absorb`.
        """
        with self._keeping_fresh():
            rows, following = _answer.found(self.call([{"action": "query", "expression": expression}]))
            return self._absorb(rows, regroup=regroup), following

    @contextmanager
    def _keeping_fresh(self) -> Iterator[None]:
        """Within, ask the server and absorb its answer.

        The answer may be older than an event that comes meanwhile: what that event expired stays expired.
        """
        expired: dict[tuple[str, Any], frozenset[str] | None] = {}
        self._awaited[id(expired)] = expired
        try:
            yield
        finally:
            with self._thread_lock:
                del self._awaited[id(expired)]
                for (entity_type, key), names in expired.items():
                    entity = self._identity_map.peek(entity_type, key)
                    if entity is not None:
                        layout = self._layouts[type(entity)]
                        entity._expire((layout.names if names is None else names) - {*layout.primary_key})

    def _absorb(self, rows: Iterable[Any], *, regroup: bool = True) -> list[Any]:
        """Return `rows`, decoded entities and plain rows, with each entity being the one of this session.

        With `regroup` they are loaded together from now on; without, they stay with those they came with
        before.
        """
        absorbed = list(rows)
        by_class: dict[type[Entity], list[int]] = {}
        with self._thread_lock, CollectorPaused():
            for index, row in enumerate(absorbed):
                if not is_entity(row):
                    continue
                if row.session is not self or row._local is not None:
                    # Of another session, or built by hand: by the way of values, not of rows.
                    absorbed[index] = self._merge_entity(row, {})
                    continue
                same_class = by_class.get(row.__class__)
                if same_class is None:
                    same_class = by_class[row.__class__] = []
                same_class.append(index)
            answer = Absorption(self)
            for entity_class, indices in by_class.items():
                candidates = [absorbed[index] for index in indices]
                entities = answer.of_class(entity_class).absorb(
                    [entity._row for entity in candidates], candidates, regroup=regroup
                )
                for index, entity in zip(indices, entities, strict=True):
                    absorbed[index] = entity
            self._identity_map.sweep()
        return absorbed

    def _from_secondary_cache(self, layout: Layout, key: Any) -> Entity | None:
        """Return the entity that a cache behind the identity map keeps, or None."""
        if len(self.cache.caches) < 2:
            return None
        cache_key = self.cache_key_maker.key(
            (layout.entity_type, [key] if isinstance(key, str) else list(key))
        )
        for secondary in self.cache.caches:
            if secondary is self._identity_map:
                continue
            try:
                found = secondary.get(cache_key)
            except KeyError:
                continue
            if is_entity(found):
                return found
        return None

    def _hydrate(self, value: Any) -> Any:
        """Return `value`, a part of a row as decoded, with its dates and entities made."""
        if value.__class__ is list:
            for index, item in enumerate(value):
                if item.__class__ is dict or item.__class__ is list:
                    value[index] = self._hydrate(item)
            return value
        if "__entity_type__" in value:
            with self._thread_lock:
                return Absorption(self).nested([value], value["__entity_type__"])[0]
        if "__type__" in value:
            return self._decode_value(value)
        for key, item in value.items():
            if item.__class__ is dict or item.__class__ is list:
                value[key] = self._hydrate(item)
        return value

    def merge(self, value: Any, merged: dict[Any, Any] | None = None) -> Any:
        """Return `value` with entities replaced by those of this session that have the same identity.

        An entity takes over the values of the one that is merged; a collection gives a list of merged
        entities; other values are returned as they are. `merged` holds what was merged already, by identity.
        """
        if merged is None:
            merged = {}
        if is_entity(value):
            with self._thread_lock:
                return self._merge_entity(value, merged)
        if isinstance(value, _collection.MappedCollectionProxy):
            value = value.collection
        elif not isinstance(value, (_collection.Collection, list)):
            return value
        return [self.merge(item, merged) for item in value]

    def _merge_entity(self, entity: Entity, merged: dict[Any, Any]) -> Entity:
        key = entity._map_key()
        address = (entity.entity_type, key)
        if address in merged:
            return merged[address]  # type: ignore[no-any-return]  # the mapping is the caller's
        attached = self._identity_map.find(entity.entity_type, key)
        if attached is None:
            layout = self._layouts[type(entity)]
            attached = self._from_secondary_cache(layout, key)
            if attached is None:
                attached = entity if entity.session is self else self._empty(entity.entity_type)
            self._identity_map.add(entity.entity_type, key, attached)
        merged[address] = attached
        if attached is entity:
            self._attach_references(entity, merged)
        else:
            attached.merge(entity, merged)
        return attached

    def _empty(self, entity_type: str) -> Entity:
        entity: Entity = self.types.recognised(entity_type)(self, reconstructing=True)
        return entity

    def _attach_references(self, entity: Entity, merged: dict[Any, Any]) -> None:
        """Replace what `entity` refers to by the entities of this session."""
        relations = self._layouts[type(entity)].relations
        if relations.isdisjoint(entity._row):
            return
        for name in relations & entity._row.keys():
            value = entity._row[name]
            if is_entity(value) or value.__class__ is list:
                entity._row[name] = self.merge(
                    self._hydrate(value) if value.__class__ is list else value, merged
                )
