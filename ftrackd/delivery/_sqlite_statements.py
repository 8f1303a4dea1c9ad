"""Statements of the SQLite journal that find deliveries, or change them one by one."""

from __future__ import annotations

from ftrackd.delivery._sqlite_schema import CLOSING_BITS

_CHECKED = "delivery_checksum(id, event_seq, plugin, {state}, {attempts}, {due_at}, keys, replayed)"


def _change(state: str, *, attempts: str = "attempts", due_at: str = "due_at", more: str = "") -> str:
    """An UPDATE of deliveries that keeps their checksums right; the texts are SQL of this module."""
    checksum = _CHECKED.format(state=state, attempts=attempts, due_at=due_at)
    return (
        f"UPDATE delivery SET state = {state}, attempts = {attempts}, due_at = {due_at},"  # noqa: S608
        f" checksum = {checksum}{more}"
    )


# SQLite uses an index over a part of the rows only when the statement repeats that index's condition as it
# stands there; hence "state < 4" beside what implies it, and "unlikely" so that SQLite searches by the state
# itself and not by that condition, which every unfinished delivery fulfils.
_ONE = " WHERE id = :id AND +state IN (0, 2)"
# As a rule a delivery is ready when it is closed, and its checksum need not be made anew.
_THESE = " WHERE id IN (SELECT value FROM json_each(:ids))"
CLOSE_READY = (
    "UPDATE delivery SET state = 5, settled_at = :now,"  # noqa: S608
    f" checksum = (checksum | {CLOSING_BITS}) - (checksum & {CLOSING_BITS}){_THESE} AND +state = 0"
)
CLOSE_DELAYED = _change("5", more=", settled_at = :now") + _THESE + " AND +state = 2"
RETRY = _change("2", attempts="attempts + 1", due_at=":due_at", more=", error = :error") + _ONE
PARK = (
    _change(
        ":state",
        attempts="attempts + 1",
        more=", error = :error, error_id = :error_id, settled_at = :now",
    )
    + _ONE
)
RELEASE = _change("0", due_at="0.0") + _ONE
MAY_GIVE_WAY = (
    "SELECT id, due_at FROM delivery"
    " WHERE plugin = ? AND coalesce_key = ? AND state IN (0, 2) AND attempts = 0"
)
GIVE_WAY = _change("5", more=", settled_at = :now, error = 'coalesced'") + _ONE
RECLAIM = (
    _change(
        "CASE WHEN attempts + 1 >= :max_attempts THEN :parked ELSE 0 END",
        attempts="attempts + 1",
        due_at="0.0",
        more=", settled_at = :now, error = 'The process that ran it ended without an outcome.'",
    )
    + _ONE
    + " RETURNING event_seq, attempts, state"
)
REVIVE = (
    _change("0", attempts="0", due_at="0.0", more=", error = NULL")
    + " WHERE id = ? AND state IN (3, 4) RETURNING plugin"
)
DROP = _change("5") + " WHERE id = ? AND state IN (3, 4)"
FORGET = (
    _change("5", more=", settled_at = :now, error = 'plugin forgotten'")  # noqa: S608
    + " WHERE plugin = :plugin AND state IN (0, 2, 3, 4)"
    + " AND id NOT IN (SELECT value FROM json_each(:claimed))"
)
CLAMP = _change("state", due_at=":limit") + " WHERE state < 4 AND unlikely(state = 2) AND due_at > :limit"

_COLUMNS = "id, event_seq, attempts, keys, replayed"
READY = f"""
SELECT {_COLUMNS} FROM delivery
WHERE plugin = ? AND state < 4 AND unlikely(state = 0) AND id > ? ORDER BY id LIMIT ?
"""  # noqa: S608
CHOSEN = f"SELECT {_COLUMNS} FROM delivery WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"  # noqa: S608
# The same as one row: fetching a row is a step, and each lets another thread in. The keys are hexadecimal
# because JSON of SQLite carries no NUL.
READY_AT_ONCE = f"""
SELECT json_group_array(json_array(id, event_seq, attempts, hex(keys), replayed))
FROM ({READY})
"""  # noqa: S608
DELAYED_OR_HELD = "SELECT 1 FROM delivery WHERE plugin = ? AND state < 4 AND state > 1 LIMIT 1"
READY_IDS = """
SELECT id FROM delivery WHERE plugin = ? AND state < 4 AND unlikely(state = 0) AND id > ? ORDER BY id LIMIT ?
"""
DUE_IDS = """
SELECT id FROM delivery WHERE plugin = ? AND state < 4 AND unlikely(state = 2) AND due_at <= ? LIMIT ?
"""
NEXT_DUE = """
SELECT min(due_at) FROM delivery WHERE plugin = ? AND state < 4 AND unlikely(state = 2) AND due_at > ?
"""
WAITING = """
SELECT id, keys, state, due_at, attempts FROM delivery
WHERE plugin = ? AND state < 4 AND state > 1 ORDER BY id
"""
READY_KEYS = """
SELECT id, keys, state, due_at, attempts FROM delivery
WHERE plugin = ? AND state < 4 AND unlikely(state = 0) ORDER BY id
"""
CLOSED = "SELECT id FROM delivery WHERE id IN (SELECT value FROM json_each(?)) AND +state = 5"
EVENTS = """
SELECT seq, id, topic, payload, received_at, replayed, checksum FROM event
WHERE seq IN (SELECT value FROM json_each(?))
"""
