"""What a transaction changed, in the form that ``ftrack.update`` announces it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.schema import EntityType, Schema

#: Changes that one ``ftrack.update`` tells of at most.
MAXIMUM_CHANGES: Final = 500


@dataclass(slots=True)
class Change:
    """One entity that was added, changed or removed.

    ``values`` maps legacy keys to ``{"old": ..., "new": ...}``; ``parents`` leads from the entity to the
    project.
    """

    entity_type: str
    key: tuple[str, ...]
    #: ``add``, ``update``, ``move``, ``remove`` or ``encoded``.
    action: str
    legacy_type: str
    object_type_id: str | None = None
    parent_id: str | None = None
    project_id: str | None = None
    parents: list[dict[str, Any]] = field(default_factory=list)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Keys of custom attributes among ``values``.
    custom_keys: set[str] = field(default_factory=set)

    @property
    def entity_id(self) -> str:
        """The id that ``entityId`` carries: the first part of a key of several parts."""
        return self.key[0]

    def to_payload(self) -> dict[str, Any]:
        """The member of ``data.entities``."""
        payload: dict[str, Any] = {
            "entity_type": self.entity_type,
            "entityType": self.legacy_type,
            "entityId": self.entity_id,
            "action": self.action,
            "keys": list(self.values),
            "changes": self.values,
            "parents": self.parents,
            "parentId": self.parent_id,
        }
        if self.object_type_id is not None:
            payload["objectTypeId"] = self.object_type_id
        return payload


@dataclass(frozen=True, slots=True)
class Announcement:
    """The changes that one ``ftrack.update`` tells of, and the id of that event."""

    id: str
    changes: list[Change]


def announcements(transaction_id: str, changes: list[Change]) -> list[Announcement]:
    """*changes* in the events that announce them.

    Usually one, which has the id of the transaction. Very many are spread over several events, so that the
    deletion of a whole project is no event of a hundred megabytes.
    """
    found = []
    for number, start in enumerate(range(0, len(changes), MAXIMUM_CHANGES)):
        event_id = uuid.uuid5(uuid.UUID(transaction_id), str(number)).hex if number else transaction_id
        found.append(Announcement(event_id, changes[start : start + MAXIMUM_CHANGES]))
    return found


class ChangeRecorder:
    """Collects changes and folds those of one entity into one.

    An entity that is created and removed in one transaction leaves nothing.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._changes: dict[tuple[str, tuple[str, ...]], Change] = {}

    def __len__(self) -> int:
        return len(self._changes)

    def record(self, change: Change) -> None:
        """Add *change* after all that was recorded before."""
        identity = (change.entity_type, change.key)
        earlier = self._changes.get(identity)
        if earlier is None:
            self._changes[identity] = change
        elif change.action == "remove":
            del self._changes[identity]
            if earlier.action != "add":
                change.values = _removed(change.values, earlier.values)
                self._changes[identity] = change
        else:
            values = _of_new(change.values) if earlier.action == "add" else change.values
            earlier.values = _fold(earlier.values, values)
            earlier.custom_keys |= change.custom_keys
            earlier.parents, earlier.parent_id = change.parents, change.parent_id
            if change.action != "update" and earlier.action != "add":
                earlier.action = change.action

    def finish(self) -> list[Change]:
        """All changes in the order of their first recording, without those that changed nothing."""
        return [change for change in self._changes.values() if _is_real(change)]


def event_data(changes: Iterable[Change], actor: Actor | None) -> dict[str, Any]:
    """``data`` of the ``ftrack.update`` that announces *changes*, without the tokens of the request."""
    entities = [change.to_payload() for change in changes]
    parents = {parent["entityId"]: None for entity in entities for parent in entity["parents"]}
    return {"entities": entities, "parents": list(parents), "user": actor_payload(actor)}


def actor_payload(actor: Actor | None) -> dict[str, Any]:
    """``data.user`` of an event."""
    if actor is None:
        return {"userid": None, "name": None}
    return {"userid": actor.user_id, "name": actor.name}


def legacy_type(schema: Schema, entity_type: EntityType) -> str:
    """``entityType`` of an entity: the lower-case name of its legacy table."""
    current: EntityType | None = entity_type
    while current is not None:
        if current.legacy_name is not None:
            return current.legacy_name.lower()
        if current.name in ("User", "Group", "Collaborator"):
            return current.name.lower()
        current = schema.types.get(current.base) if current.base is not None else None
    return entity_type.root.lower()


def _fold(first: Mapping[str, dict[str, Any]], second: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Values of *first*, then *second*: the oldest old with the newest new."""
    folded = {name: dict(pair) for name, pair in first.items()}
    for name, pair in second.items():
        if name in folded:
            folded[name]["new"] = pair["new"]
        else:
            folded[name] = dict(pair)
    return folded


def _of_new(values: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """*values* for an entity that was not there before: there is nothing old, not even what it inherits."""
    return {name: {"old": None, "new": pair["new"]} for name, pair in values.items()}


def _is_real(change: Change) -> bool:
    if change.action != "update":
        return True
    return any(pair["old"] != pair["new"] for pair in change.values.values())


def _removed(
    last: Mapping[str, dict[str, Any]], earlier: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Values of a removal after an update: what they were before the transaction."""
    removed = {name: dict(pair) for name, pair in last.items()}
    for name, pair in earlier.items():
        removed[name] = {"old": pair["old"], "new": None}
    return removed
