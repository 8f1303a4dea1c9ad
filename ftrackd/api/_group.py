"""Entities that came with one answer, so that what is missing is loaded for all of them at once."""

from __future__ import annotations

from typing import Any, Final

#: The most entities loaded with one call; also the size of a group.
CHUNK: Final = 500

#: For how many entities a collection is loaded, the first time one is read in a group, the second, and so
#: on. One collection can be a whole project: reading it on one entity must not fetch it for hundreds, yet
#: a loop over all must take a handful of calls.
_COLLECTION_STAGES: Final = (1, 10, 100, CHUNK)
_STAGES: Final = (CHUNK,)


class Group:
    """The primary keys of entities of one type that came together.

    Keys, not entities: to hold one row of a large result must not hold them all.
    """

    __slots__ = ("_asked", "entity_type", "keys")

    def __init__(self, entity_type: str) -> None:
        self.entity_type = entity_type
        self.keys: dict[Any, None] = {}
        self._asked: dict[str, int] = {}

    def companions(self, key: Any, name: str, *, is_collection: bool) -> tuple[list[Any], int]:
        """Return whose attribute `name` may be loaded together with that of `key`, and for how many at most.

        The keys begin with `key` and go on in the order of the answer. What the server did not give when
        it was asked for all is asked for one entity at a time from then on.
        """
        asked = self._asked.get(name, 0)
        self._asked[name] = asked + 1
        stages = _COLLECTION_STAGES if is_collection else _STAGES
        if asked >= len(stages) or stages[asked] == 1 or key not in self.keys:
            return [key], 1
        keys = list(self.keys)
        start = keys.index(key)
        return keys[start:] + keys[:start], stages[asked]

    def forget(self, name: str) -> None:
        """Let the attribute `name` be loaded for all again: what was loaded is out of date."""
        self._asked.pop(name, None)


class Groups:
    """The groups of one answer: one for each type, and another when it is full."""

    def __init__(self) -> None:
        self._by_type: dict[str, Group] = {}

    def group_for(self, entity_type: str, key: Any) -> Group:
        """Add the entity with `key` and return its group."""
        group = self._by_type.get(entity_type)
        if group is None or len(group.keys) >= CHUNK:
            group = self._by_type[entity_type] = Group(entity_type)
        group.keys[key] = None
        return group
