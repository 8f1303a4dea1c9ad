"""The server's Event log, read as the ``ftrack.update`` events that it tells of; without I/O.

A row of ``Event`` stands for one change of one entity. Servers that keep the whole change in ``data``
(``entity``, ``transaction``, ``index``, ``size``, ``user``) give the very event back, under its own id.
From a row that tells less, what can be known is made: which entity, whether it was added, updated or
removed, and the attribute that its ``action`` names; a plugin then has to ask for the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ftrackd.api import _json

TOPIC: Final = "ftrack.update"
COLUMNS: Final = "id, action, insert, parent_type, parent_id, project_id, user_id, created_at, data"

_ACTIONS: Final = {"insert": "add", "add": "add", "update": "update", "delete": "remove", "remove": "remove"}


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One row: its number, the event it belongs to (None when the row does not say), and the change as in
    ``data.entities``. ``position`` of ``size`` changes of that event.
    """

    row_id: int
    transaction: str | None
    position: int
    size: int
    change: dict[str, Any]
    user: dict[str, Any]


def entry_of(row: Mapping[str, Any]) -> LogEntry:
    """A row of ``Event`` as :data:`COLUMNS` names them.

    Raises:
        ValueError: when the row has no number.
    """
    row_id = row.get("id")
    if not isinstance(row_id, int):
        raise ValueError(f"A row of the Event log has no number: {row_id!r}.")
    data = _object(row.get("data"))
    user = data.get("user")
    if not isinstance(user, dict):
        user = {"userid": row.get("user_id"), "name": None}
    change = data.get("entity")
    transaction = data.get("transaction")
    if not isinstance(change, dict) or not isinstance(transaction, str):
        return LogEntry(row_id, None, 0, 1, _reconstructed(row, data), user)
    index, size = data.get("index"), data.get("size")
    return LogEntry(
        row_id=row_id,
        transaction=transaction,
        position=index if isinstance(index, int) else 0,
        size=size if isinstance(size, int) else 1,
        change=change,
        user=user,
    )


def _object(text: Any) -> dict[str, Any]:
    if isinstance(text, dict):
        return text
    if not isinstance(text, str | bytes) or not text:
        return {}
    try:
        value = _json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _reconstructed(row: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The change, as far as a row without it tells."""
    action = str(row.get("action") or "")
    changes = _changes(action, data)
    project_id, entity_id = row.get("project_id"), row.get("parent_id")
    parents = [{"entityId": entity_id, "entityType": row.get("parent_type"), "parentId": None}]
    if project_id and project_id != entity_id:
        parents.append({"entityId": project_id, "entityType": "show", "parentId": None})
    return {
        "entityType": row.get("parent_type"),
        "entityId": entity_id,
        "action": _ACTIONS.get(str(row.get("insert") or "update"), "update"),
        "keys": sorted(changes) or None,
        "changes": changes or None,
        "parents": parents,
        "parentId": None,
    }


def _changes(action: str, data: Mapping[str, Any]) -> dict[str, Any]:
    given = data.get("changes")
    if isinstance(given, dict):
        return given
    if action.startswith("change.status."):
        key = "statusid"
    elif action.startswith("update.custom_attribute."):
        key = action.removeprefix("update.custom_attribute.")
    else:
        return {name: value for name, value in data.items() if isinstance(value, dict) and "new" in value}
    return {key: {"old": data.get("old"), "new": data.get("new")}}


def grouped(entries: Iterable[LogEntry]) -> Iterator[list[LogEntry]]:
    """Entries, in order of their number, as the events they belong to."""
    group: list[LogEntry] = []
    for entry in entries:
        if group and (entry.transaction is None or entry.transaction != group[0].transaction):
            yield group
            group = []
        group.append(entry)
    if group:
        yield group


def is_complete(group: Sequence[LogEntry]) -> bool:
    """Whether all changes of the event are there."""
    return len(group) >= group[0].size


def event_id_of(group: Sequence[LogEntry]) -> str:
    """The id of the event: its own, or one that the same row always gets."""
    return group[0].transaction or f"ftrack-event-log-{group[0].row_id}"


def event_of(group: Sequence[LogEntry]) -> dict[str, Any]:
    """The event that a group tells of, marked ``data.replayed``."""
    entities = [entry.change for entry in sorted(group, key=lambda entry: entry.position)]
    parents: dict[str, None] = {}
    for entity in entities:
        listed = entity.get("parents")
        for parent in listed if isinstance(listed, list) else ():
            if isinstance(parent, Mapping) and isinstance(parent.get("entityId"), str):
                parents[parent["entityId"]] = None
    user = group[0].user
    return {
        "topic": TOPIC,
        "id": event_id_of(group),
        "sent": None,
        "source": {"id": "ftrack-event-log", "user": {"id": user.get("userid")}},
        "target": "",
        "inReplyToEvent": None,
        "data": {"entities": entities, "parents": list(parents), "user": user, "replayed": True},
    }


def fingerprints(event: Mapping[str, Any]) -> list[str]:
    """What an event says about each entity, in a form that the live event and its rows share."""
    data = event.get("data")
    entities = data.get("entities") if isinstance(data, Mapping) else None
    if not isinstance(entities, list):
        return []
    return [_fingerprint(entity) for entity in entities if isinstance(entity, Mapping)]


def _fingerprint(entity: Mapping[str, Any]) -> str:
    changes = entity.get("changes")
    values = {
        str(key): str(value.get("new"))
        for key, value in (changes.items() if isinstance(changes, Mapping) else ())
        if isinstance(value, Mapping)
    }
    action = "update" if entity.get("action") in ("move", "encoded") else entity.get("action")
    if action != "update":
        values = {}  # one addition or removal of an entity is like another, however much is told of it
    return repr((entity.get("entityId"), action, sorted(values.items())))


class LiveStream:
    """What came live lately: recognises the rows of events that were received already, when no id tells.

    Each live event accounts for one row only: somebody may set a status twice.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def add(self, event: Mapping[str, Any]) -> None:
        """An event was received live."""
        self._seen.update(fingerprints(event))

    def accounts_for(self, group: Sequence[LogEntry]) -> bool:
        """Whether every change of the group was received live; they are used up by that."""
        wanted = Counter(_fingerprint(entry.change) for entry in group)
        if wanted - self._seen:
            return False
        self._seen -= wanted
        return True
