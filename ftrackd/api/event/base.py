"""The event: what travels over the hub."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, MutableMapping
from typing import Any

#: The keys of every event, in the order in which they are written to the wire.
EVENT_KEYS = ("topic", "id", "data", "sent", "source", "target", "in_reply_to_event")


class Event(MutableMapping[str, Any]):
    """One event, a mapping with the keys of :data:`EVENT_KEYS`.

    The same object goes to every callback, so what one callback changes the next one sees.
    """

    def __init__(
        self,
        topic: str,
        id: str | None = None,
        data: Any = None,
        sent: Any = None,
        source: Any = None,
        target: Any = "",
        in_reply_to_event: str | None = None,
    ) -> None:
        """Make an event about *topic*.

        *id* is made up when not given. *data* is a mapping in nearly every event and any JSON value in
        replies; what is false becomes ``{}``, as it does for *source*. *target* is an expression on the
        metadata of subscribers, empty for everybody. *in_reply_to_event* is the id of the event that this one
        answers.
        """
        self._data: dict[str, Any] = {
            "topic": topic,
            "id": id or uuid.uuid4().hex,
            "data": data or {},
            "sent": sent,
            "source": source or {},
            "target": target,
            "in_reply_to_event": in_reply_to_event,
        }
        self._stopped = False

    def stop(self) -> None:
        """Keep the callbacks that have not been called yet from seeing this event."""
        self._stopped = True

    def is_stopped(self) -> bool:
        """Return whether :meth:`stop` was called."""
        return self._stopped

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._data}>"

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        del self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)
