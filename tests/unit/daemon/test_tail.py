"""``events tail``: what happens, to whoever looks."""

import threading
from collections.abc import Iterator
from typing import Any

from ftrackd.daemon.tail import LONGEST_QUEUE, EventTail


def started(reader: Iterator[dict[str, Any]], tail: EventTail) -> dict[str, Any]:
    """Return the reader's first record; a generator only begins to listen when it is asked."""
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(next(reader)))
    thread.start()
    while thread.is_alive():
        tail.add("received", topic="begin", plugins=["p"])
        thread.join(0.01)
    return found[0]


def test_a_reader_gets_what_fits() -> None:
    tail = EventTail()
    reader = tail.read(topic="ftrack.*", plugin="p")
    threading_reader = tail.read(topic="begin")
    assert started(threading_reader, tail)["topic"] == "begin"
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(next(reader)))
    thread.start()
    while thread.is_alive():
        tail.add("received", topic="studio.x", plugins=["p"])
        tail.add("received", topic="ftrack.update", plugins=["q"])
        tail.add("returned", topic="ftrack.update", plugin="p", id="1")
        thread.join(0.01)
    assert found[0]["kind"] == "returned"
    assert found[0]["id"] == "1"


def test_a_slow_reader_misses_the_oldest_and_holds_nobody_up() -> None:
    tail = EventTail()
    reader = tail.read()
    started(reader, tail)
    for number in range(LONGEST_QUEUE + 50):
        tail.add("received", id=number)
    first = next(record for record in reader if "id" in record)
    assert first["id"] >= 50


def test_a_reader_that_leaves_is_forgotten() -> None:
    tail = EventTail()
    reader = tail.read()
    started(reader, tail)
    reader.close()  # type: ignore[attr-defined]
    assert tail._readers == []
