"""Statements of the SQLite journal that work on many rows at once.

Each step of a statement lets another thread in, and waits for it: few statements are to do much. Their rows
come as bound values, because SQLite reads as much out of a JSON text as out of three tables.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

_T = TypeVar("_T")
_LONGEST_PORTION: Final = 256


def portions(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Cut rows into lengths that are powers of two, so that only a few statements have to be prepared."""
    begin = 0
    while begin < len(rows):
        end = begin + min(_LONGEST_PORTION, 1 << ((len(rows) - begin).bit_length() - 1))
        yield rows[begin:end]
        begin = end


@functools.cache
def known_events(count: int) -> str:
    """SQL that finds which of so many ids are stored: id and number of each."""
    return f"SELECT id, seq FROM event WHERE id IN ({_places(count, '?')})"  # noqa: S608


@functools.cache
def insert_events(count: int) -> str:
    """SQL that inserts so many events: number, id, topic, payload, received_at, replayed, checksum."""
    return (
        "INSERT INTO event (seq, id, topic, payload, received_at, replayed, checksum)"  # noqa: S608
        f" VALUES {_places(count, '(?, ?, ?, ?, ?, ?, ?)')}"
    )


@functools.cache
def insert_ready(count: int) -> str:
    """SQL that inserts so many deliveries that may run now: id, event, plugin, keys, replayed, checksum."""
    return (
        "INSERT INTO delivery (id, event_seq, plugin, state, attempts, due_at, keys, replayed,"  # noqa: S608
        f" checksum) VALUES {_places(count, '(?, ?, ?, 0, 0, 0.0, ?, ?, ?)')}"
    )


def _places(count: int, row: str) -> str:
    return ", ".join([row] * count)
