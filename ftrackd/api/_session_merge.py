"""How what the server sends becomes the one object for each entity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ftrackd.api import _answer
from ftrackd.api import collection as _collection
from ftrackd.api._group import Groups
from ftrackd.api._layout import Layout
from ftrackd.api._session_request import RequestMethods
from ftrackd.api.entity.base import DynamicEntityTypeMetaclass, Entity


def _is_entity(value: Any) -> bool:
    # isinstance() on an abstract base class is an order of magnitude slower.
    return isinstance(type(value), DynamicEntityTypeMetaclass)


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
        groups = Groups()
        top = groups if regroup else None
        absorb_entity = self._absorb_entity
        with self._thread_lock:
            absorbed = [absorb_entity(row, top, groups) if _is_entity(row) else row for row in rows]
            self._identity_map.sweep()
        return absorbed

    def _absorb_entity(self, entity: Entity, top: Groups | None, groups: Groups) -> Entity:
        if entity.session is not self or entity._local is not None:
            # Of another session, or built by hand: by the way of values, not of rows.
            return self._merge_entity(entity, {})
        layout = self._layouts[entity.__class__]
        absorbed: Entity = self._absorb_row(layout, entity._row, entity, top, groups)
        return absorbed

    def _absorb_dict(self, row: dict[str, Any], groups: Groups) -> Any:
        """Return the entity for a nested `row`; a mapping that is no entity is decoded."""
        entity_type = row.get("__entity_type__")
        if entity_type is None:
            return self._decode_value(row)
        layout = self._layouts[self.types.recognised(entity_type)]
        return self._absorb_row(layout, row, None, groups, groups)

    def _absorb_row(
        self,
        layout: Layout,
        row: dict[str, Any],
        candidate: Entity | None,
        top: Groups | None,
        groups: Groups,
    ) -> Entity:
        """Return the entity of this session for `row`, with the values of `row`.

        `candidate` is the object to use when there is none yet.
        """
        entity_type = layout.entity_type
        key = layout.key_of(row)
        if candidate is None:
            row.pop("__entity_type__", None)
            if not layout.names.issuperset(row):
                layout.drop_unknown(row)
        entity = self._identity_map.find(entity_type, key)
        if entity is None:
            entity = self._adopt(layout, key, row, candidate)
            row = entity._row
            known = False
        else:
            known = entity._row is not row
        if top is not None:
            entity._group = top.group_for(entity_type, key)
        if not layout.relations.isdisjoint(row):
            self._absorb_relations(layout, row, groups)
        if known:
            entity._row.update(row)
            if entity._local is not None:
                for name in layout.collections & row.keys():
                    entity._drop_copies(name)
        if len(self.cache.caches) > 1:
            self.cache.set(self._identity_map.key_of(entity), entity)
        return entity

    def _adopt(self, layout: Layout, key: Any, row: dict[str, Any], candidate: Entity | None) -> Entity:
        """Return the entity for a `row` that is not in the identity map, now in it."""
        entity = self._from_secondary_cache(layout, key)
        if entity is None:
            entity = candidate if candidate is not None else layout.maker(self)(row)
        else:
            entity._row.update(row)
        self._identity_map.add(layout.entity_type, key, entity)
        return entity

    def _absorb_relations(self, layout: Layout, row: dict[str, Any], groups: Groups) -> None:
        for name in layout.relations & row.keys():
            value = row[name]
            if value.__class__ is dict:
                row[name] = self._absorb_dict(value, groups)
            elif value.__class__ is list:
                members = [
                    self._absorb_dict(item, groups) if item.__class__ is dict else self.merge(item)
                    for item in value
                ]
                # The same entity twice would be one too many for a collection.
                distinct = {id(member): member for member in members}
                row[name] = list(distinct.values())
            elif _is_entity(value):
                row[name] = self.merge(value)

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
            if _is_entity(found):
                return found  # type: ignore[no-any-return]  # what the metaclass makes is an Entity
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
                return self._absorb_dict(value, Groups())
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
        if _is_entity(value):
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
        for name in self._layouts[type(entity)].relations & entity._row.keys():
            value = entity._row[name]
            if _is_entity(value) or value.__class__ is list:
                entity._row[name] = self.merge(
                    self._hydrate(value) if value.__class__ is list else value, merged
                )
