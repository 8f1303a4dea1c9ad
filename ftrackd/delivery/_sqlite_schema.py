"""Tables of the SQLite journal, and the checksums of their rows."""

from __future__ import annotations

import functools
import json
import sqlite3
import struct
import zlib
from typing import Final

from ftrackd.delivery.journal import State

SCHEMA_VERSION: Final = 3
APPLICATION_ID: Final = 0x6674726B  # "ftrk": names the file for file(1) and refuses somebody else's database

# The state is stored as its number; an index over the unfinished alone keeps claims fast however many are
# closed.
_UNFINISHED: Final = int(State.PARKED)
# The ids of what is claimed, as a JSON array. Without a checksum: a wrong one costs an attempt.
_LEASE: Final = "CREATE TABLE lease (plugin TEXT PRIMARY KEY, deliveries TEXT NOT NULL) WITHOUT ROWID;"
SCHEMA: Final = f"""
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    received_at REAL NOT NULL,
    replayed INTEGER NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE INDEX event_received ON event (received_at);
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_seq INTEGER NOT NULL,
    plugin TEXT NOT NULL,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due_at REAL NOT NULL,
    keys TEXT NOT NULL,
    replayed INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    coalesce_key TEXT,
    error TEXT,
    error_id TEXT,
    settled_at REAL
);
CREATE INDEX delivery_unfinished ON delivery (plugin, state, id) WHERE state < {_UNFINISHED};
CREATE INDEX delivery_dead ON delivery (id) WHERE state IN ({int(State.HELD)}, {int(State.PARKED)});
CREATE INDEX delivery_event ON delivery (event_seq);
CREATE INDEX delivery_coalesce ON delivery (plugin, coalesce_key)
    WHERE coalesce_key IS NOT NULL AND state IN ({int(State.READY)}, {int(State.DELAYED)});
CREATE TABLE memory (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
{_LEASE}
"""

_CLAIMS_LEAVE_THEIR_ROWS: Final = """
INSERT INTO lease SELECT plugin, json_group_array(id) FROM delivery WHERE state = 1 GROUP BY plugin;
UPDATE delivery SET state = 0 WHERE state = 1;
DROP INDEX delivery_claimed;
ALTER TABLE delivery DROP COLUMN token;
ALTER TABLE delivery DROP COLUMN owner;
ALTER TABLE delivery DROP COLUMN lease_until;
UPDATE delivery
    SET checksum = delivery_checksum(id, event_seq, plugin, state, attempts, due_at, keys, replayed);
"""
UPGRADES: Final = {1: "", 2: _LEASE + _CLAIMS_LEAVE_THEIR_ROWS}
"""What makes of a journal of this version one of the next.

1: the checksums were made in another way; the next step makes them anew. 2: each claim was written into its
delivery's row.
"""

_NUMBERS: Final = struct.Struct("!qqqdqB")

CLOSING_BITS: Final = zlib.crc32(bytes([State.READY])) ^ zlib.crc32(bytes([State.CLOSED]))
"""The bits of its checksum that change when a delivery that is ready is closed: a CRC is linear, so they are
the same ones whatever else it covers."""


def event_checksum(event_id: str, topic: str, payload: bytes, received_at: float, replayed: int) -> int:
    """CRC-32 over what must not change in an event's row."""
    head = f"{event_id}\0{topic}\0{received_at!r}\0{replayed}\0".encode("utf-8", "surrogatepass")
    return zlib.crc32(payload, zlib.crc32(head))


def delivery_checksum(
    delivery_id: int,
    event_seq: int,
    plugin: str,
    state: int,
    attempts: int,
    due_at: float,
    keys: str,
    replayed: int,
) -> int:
    """CRC-32 over what decides about a delivery; -1, which no row has, for values of another type."""
    try:
        numbers = _NUMBERS.pack(delivery_id, event_seq, attempts, due_at, replayed, state)
    except struct.error:
        return -1
    (start,) = _plugin_checksums((plugin,))
    return zlib.crc32(numbers, zlib.crc32(_keys_bytes(keys), start))


def ready_checksums(
    first_id: int, event_seq: int, plugins: tuple[str, ...], keys: str, replayed: int
) -> list[int]:
    """The checksums of deliveries of one event that are ready, numbered from the first."""
    crc32, pack, text, ready = zlib.crc32, _NUMBERS.pack, _keys_bytes(keys), int(State.READY)
    return [
        crc32(pack(delivery_id, event_seq, 0, 0.0, replayed, ready), crc32(text, start))
        for delivery_id, start in enumerate(_plugin_checksums(plugins), first_id)
    ]


@functools.lru_cache(maxsize=1024)
def _plugin_checksums(plugins: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(zlib.crc32(f"{plugin}\0".encode("utf-8", "surrogatepass")) for plugin in plugins)


def _keys_bytes(keys: str) -> bytes:
    return f"{keys}\0".encode("utf-8", "surrogatepass")


def encode_keys(keys: tuple[str, ...]) -> str:
    """Keys as the text of their column: one on each line, or as JSON when that would be ambiguous."""
    text = "\n".join(keys)
    if text.count("\n") == len(keys) - 1 and text and text[0] != "[":
        return text
    return json.dumps(keys) if keys else ""


def decode_keys(text: str) -> tuple[str, ...]:
    """Keys from the text of their column."""
    if not text:
        return ()
    return tuple(json.loads(text)) if text[0] == "[" else tuple(text.split("\n"))


def add_functions(connection: sqlite3.Connection) -> None:
    """Make the checksums available to SQL, so that a bulk change keeps them right."""
    connection.create_function("delivery_checksum", 8, delivery_checksum, deterministic=True)
    connection.create_function("event_checksum", 5, event_checksum, deterministic=True)
