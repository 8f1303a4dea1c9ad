"""``ftrackd events tail``: what happens, to whoever looks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

LONGEST_QUEUE = 1000
"""Records kept for one reader; a slower reader misses the oldest."""


class EventTail:
    """Spreads records to readers; costs nothing while nobody reads."""

    def __init__(self) -> None:
        self._readers: list[queue.Queue[dict[str, Any]]] = []  # guarded by _lock
        self._lock = threading.Lock()

    @property
    def is_read(self) -> bool:
        """Whether somebody reads."""
        return bool(self._readers)

    def add(self, kind: str, **details: Any) -> None:
        """Record what happened: ``received``, ``returned``, ``raised``, ``retry``, ``parked`` ..."""
        if not self._readers:
            return
        record = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "kind": kind, **details}
        with self._lock:
            for reader in self._readers:
                if reader.full():
                    reader.get_nowait()
                reader.put_nowait(record)

    def read(self, topic: str | None = None, plugin: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield records as they come, and an ``alive`` record after each quiet five seconds.

        ``topic`` may end in ``*``. The reader is forgotten when the iterator is closed.
        """
        reader: queue.Queue[dict[str, Any]] = queue.Queue(LONGEST_QUEUE)
        with self._lock:
            self._readers.append(reader)
        try:
            while True:
                try:
                    record = reader.get(timeout=5)
                except queue.Empty:
                    # Writing to a reader that went away is how we notice that it did.
                    yield {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "kind": "alive"}
                    continue
                if _fits(record, topic, plugin):
                    yield record
        finally:
            with self._lock:
                self._readers.remove(reader)


def _fits(record: dict[str, Any], topic: str | None, plugin: str | None) -> bool:
    if topic is not None:
        text = str(record.get("topic", ""))
        if not (text.startswith(topic[:-1]) if topic.endswith("*") else text == topic):
            return False
    return plugin is None or plugin == record.get("plugin") or plugin in record.get("plugins", ())
