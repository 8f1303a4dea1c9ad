"""Loading what is missing, for many entities at once, and forgetting what an event says has changed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from ftrackd.api import exception
from ftrackd.api._expression import is_expressible, primary_key_in, select
from ftrackd.api._group import CHUNK
from ftrackd.api._session_merge import MergeMethods
from ftrackd.api.entity.base import Entity, is_entity
from ftrackd.api.query import QueryResult
from ftrackd.api.symbol import NOT_SET

_logger = logging.getLogger("ftrack_api.session.Session")


class PopulateMethods(MergeMethods):
    """Reads beyond what was fetched, and freshness."""

    def populate(self, entities: Any, projections: str) -> None:
        """Load the attributes named by `projections` for `entities`, one entity or a sequence of them.

        Values set here stay; what the server says lies under them. Entities that are not committed yet are
        skipped.
        """
        if is_entity(entities):
            entities = [entities]
        elif not isinstance(entities, (list, tuple, QueryResult)):
            entities = list(entities)
        by_type: dict[str, list[Entity]] = {}
        for entity in entities:
            if not entity._is_created():
                by_type.setdefault(entity.entity_type, []).append(entity)
        for same_type in by_type.values():
            for start in range(0, len(same_type), CHUNK):
                self._load(same_type[start : start + CHUNK], projections)

    def _load(self, entities: list[Entity], projections: str) -> None:
        """Ask for `projections` of `entities`, which are of one type and no more than a chunk."""
        entity_type = entities[0].entity_type
        keys = [entity._primary_values() for entity in entities]
        condition = primary_key_in(entities[0].primary_key_attributes, keys)
        expression = select(projections, entity_type, condition)
        # Room for one more than there can be, so that a full page does not make us ask for another one.
        offset: int | None = 0
        while offset is not None:
            page = f"{expression} offset {offset} limit {len(keys) + 1}"
            answer, offset = self._query(page, regroup=False)
            if not answer:
                break
        with self._thread_lock:
            for entity in entities:
                self._share_values(entity)

    def _share_values(self, entity: Entity) -> None:
        """Give `entity` the values of the object in the identity map, if that is another one."""
        attached = self._identity_map.find(entity.entity_type, entity._map_key())
        if attached is not None and attached is not entity:
            entity._row.update(attached._row)

    def _populate_attribute(self, entity: Entity, name: str, projection: str) -> None:
        """Load the attribute `name` of `entity`, and of those that came with it and lack it too."""
        if not entity._has_identity() or entity._is_created():
            # There is nothing that the server could be asked for.
            return
        companions = self._companions(entity, name)
        expirations = self._expirations
        self._load_companions(entity, companions, projection)
        if entity._remote_raw(name) is NOT_SET and self._expirations != expirations:
            # It changed while the answer was on its way, which is out of date already.
            self._load([entity], projection)

    def _load_companions(self, entity: Entity, companions: list[Entity], projection: str) -> None:
        try:
            self._load(companions, projection)
        except exception.ServerError:
            if len(companions) == 1:
                raise
            # One of the others may be what the server refuses.
            self._load([entity], projection)
        except ValueError:
            # A query cannot name every key there is; that is no reason not to load the others.
            expressible = [each for each in companions if is_expressible(each._primary_values())]
            self._load(expressible if entity in expressible else [entity], projection)

    def _companions(self, entity: Entity, name: str) -> list[Entity]:
        group = entity._group
        if group is None or group.entity_type != entity.entity_type:
            return [entity]
        is_collection = name in self._layouts[type(entity)].collections
        keys, limit = group.companions(entity._map_key(), name, is_collection=is_collection)
        companions = [entity]
        with self._thread_lock:
            for key in keys:
                if len(companions) >= limit:
                    break
                other = self._identity_map.peek(group.entity_type, key)
                if other is not None and other is not entity and other._remote_raw(name) is NOT_SET:
                    companions.append(other)
        return companions

    # Freshness.

    def expire_changes(self, event: Mapping[str, Any]) -> int:
        """Forget the values that an ``ftrack.update`` event says have changed, and return of how many
        entities.

        They are loaded again when they are read next. Values set here stay. Other events change nothing.
        """
        if event.get("topic") != "ftrack.update":
            return 0
        data = event.get("data")
        changes = data.get("entities") if isinstance(data, Mapping) else None
        if not isinstance(changes, list):
            return 0
        expired: set[int] = set()
        with self._thread_lock:
            for change in changes:
                if isinstance(change, Mapping):
                    expired.update(self._expire_change(change))
        return len(expired)

    def _expire_change(self, change: Mapping[str, Any]) -> Iterable[int]:
        """Expire what one entity change touches; return the ids of the objects that lost values."""
        action = change.get("action")
        touched = []
        entity = self._entity_of(change)
        if entity is None:
            self._expire_awaited(change.get("entity_type"), change.get("entityId"), None)
        else:
            if action == "remove":
                self._identity_map.discard(entity.entity_type, entity._map_key())
            else:
                self._expire_attributes(entity, self._changed_attributes(entity, change))
            touched.append(id(entity))
        if action in {"add", "remove", "move"}:
            # Somebody's collection gained or lost a member.
            for owner in self._owners(change):
                if owner is not None:
                    layout = self._layouts[type(owner)]
                    self._expire_attributes(owner, layout.collections | layout.computed)
                    touched.append(id(owner))
        return touched

    def _expire_attributes(self, entity: Entity, names: frozenset[str]) -> None:
        entity._expire(names)
        self._expire_awaited(entity.entity_type, entity._map_key(), names)

    def _expire_awaited(self, entity_type: Any, key: Any, names: frozenset[str] | None) -> None:
        """Have answers that are on their way not bring back the attributes `names` (None: all)."""
        self._expirations += 1
        if not isinstance(entity_type, str) or not isinstance(key, str):
            return
        for expired in list(self._awaited.values()):
            before = expired.get((entity_type, key), frozenset())
            expired[entity_type, key] = None if names is None or before is None else before | names

    def _owners(self, change: Mapping[str, Any]) -> list[Entity | None]:
        """Return the entities that `change` puts into or takes out of, as far as they are known here."""
        owners = [
            self._entity_of(parent)
            for parent in (change.get("parents") or [])[1:2]
            if isinstance(parent, Mapping)
        ]
        moved = (change.get("changes") or {}).get("parent_id")
        if isinstance(moved, Mapping) and isinstance(moved.get("old"), str):
            owners.append(self._identity_map.peek_anywhere(moved["old"]))
        return owners

    def _entity_of(self, change: Mapping[str, Any]) -> Entity | None:
        """Return the entity in the identity map that `change` is about, or None."""
        entity_id = change.get("entityId")
        if not isinstance(entity_id, str):
            return None
        entity_type = change.get("entity_type")
        if isinstance(entity_type, str):
            found = self._identity_map.peek(entity_type, entity_id)
            if found is not None:
                return found
        # Events may name a base type, or none at all; ids are unique among all entities.
        return self._identity_map.peek_anywhere(entity_id)

    def _changed_attributes(self, entity: Entity, change: Mapping[str, Any]) -> frozenset[str]:
        """Return the attributes of `entity` that `change` names by their legacy names.

        A name that the schema does not know is the key of a custom attribute.
        """
        layout = self._layouts[type(entity)]
        keys = {*(change.get("keys") or ()), *(change.get("changes") or ())}
        names = set(layout.computed)
        aliases = self._legacy_names(entity.entity_type)
        for key in keys:
            found = aliases.get(str(key).lower())
            if found is None:
                names.update(layout.names & {"custom_attributes"})
            else:
                names.update(found)
        return frozenset(names & layout.names) - frozenset(layout.primary_key)

    def _legacy_names(self, entity_type: str) -> dict[str, set[str]]:
        """Return the attributes of `entity_type` by their legacy names in lower case."""
        found = self._aliases.get(entity_type)
        if found is not None:
            return found
        properties: Mapping[str, Any] = {}
        for schema in self.schemas:
            if schema.get("id") == entity_type:
                properties = schema.get("properties", {})
        names: dict[str, set[str]] = {}
        for name, fragment in properties.items():
            alias = fragment.get("alias_for")
            legacy = alias if isinstance(alias, str) else name
            changed = {name}
            if name.endswith("_id") and name[:-3] in properties:
                # The reference changes with its key.
                changed.add(name[:-3])
            for key in {legacy.lower(), name.lower()}:
                names.setdefault(key, set()).update(changed)
        self._aliases[entity_type] = names
        return names
