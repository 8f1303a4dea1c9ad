"""What keeps events in order: the keys of an event, and which deliveries may be claimed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

OrderBy = Literal["entity", "parent", "project", "none"]


def storable(text: str) -> str:
    """The text itself, or with lone surrogates escaped: JSON may carry them, a database's text may not."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def entity_keys(event: Mapping[str, Any], order_by: OrderBy) -> tuple[str, ...]:
    """The ids that two events must share to be kept in order.

    ``entity``: each changed entity; ``parent``: its direct parent, too, so that siblings stay in order with
    each other; ``project``: its project; ``none``: nothing. An event without ``data.entities`` is ordered
    by the component or entity that its data names, and by nothing when it names none. Odd shapes never
    raise.

    Args:
        event: the decoded event.
        order_by: the policy.
    """
    if order_by == "none":
        return ()
    data = event.get("data")
    if not isinstance(data, Mapping):
        return ()
    entities = data.get("entities")
    if not isinstance(entities, list):
        return _named_in(data)
    keys: dict[str, None] = {}
    for entity in entities:
        if isinstance(entity, Mapping):
            keys.update(dict.fromkeys(_keys_of(entity, order_by)))
    return tuple(map(storable, keys))


def _named_in(data: Mapping[str, Any]) -> tuple[str, ...]:
    found = (data.get(name) for name in ("component_id", "entityId", "entity_id"))
    return tuple(storable(value) for value in found if isinstance(value, str) and value)


def _keys_of(entity: Mapping[str, Any], order_by: OrderBy) -> Iterable[str]:
    own = entity.get("entityId")
    if order_by == "project":
        parents = entity.get("parents")
        last = parents[-1] if isinstance(parents, list) and parents else None
        project = last.get("entityId") if isinstance(last, Mapping) else None
        chosen = [project or own]
    elif order_by == "parent":
        chosen = [own, entity.get("parentId")]
    else:
        chosen = [own]
    return [key for key in chosen if isinstance(key, str) and key]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An unfinished delivery of one plugin, as the choice sees it.

    ``blocks``: it may not be claimed now (waits for a retry, is leased to another owner, or is held), so
    nothing that shares a key with it may overtake it. ``tried``: an attempt at it did not succeed.
    """

    delivery_id: int
    keys: tuple[str, ...]
    blocks: bool = False
    tried: bool = False


def choose(candidates: Iterable[Candidate], limit: int, ready: int) -> list[int]:
    """Choose the deliveries to claim: the oldest that overtake nothing that shares a key with them.

    A delivery that was tried before is chosen only if it starts at once, and nothing beyond what starts at
    once goes with it: if it ends the process, the attempt is counted for it and not for a window full of
    others.

    Args:
        candidates: every unfinished delivery of a plugin that this owner has not claimed, oldest first.
        limit: how many to choose at most.
        ready: how many of the chosen will be started at once.

    Returns:
        Ids, oldest first.
    """
    blocked: set[str] = set()
    chosen: list[int] = []
    for candidate in candidates:
        if candidate.blocks or not blocked.isdisjoint(candidate.keys):
            blocked.update(candidate.keys)
            continue
        if candidate.tried:
            limit = min(limit, ready)
        if len(chosen) >= limit:
            break
        chosen.append(candidate.delivery_id)
    return chosen
