"""Statements of the SQLite journal that find deliveries, or change them one by one."""

from __future__ import annotations

_CHECKED = "delivery_checksum(id, event_seq, plugin, {state}, {attempts}, {due_at}, {token}, keys, replayed)"


def _change(
    state: str, *, attempts: str = "attempts", due_at: str = "due_at", fence: str = "token", more: str = ""
) -> str:
    """An UPDATE of deliveries that keeps their checksums right; the texts are SQL of this module."""
    checksum = _CHECKED.format(state=state, attempts=attempts, due_at=due_at, token=fence)
    return (
        f"UPDATE delivery SET state = {state}, attempts = {attempts}, due_at = {due_at}, token = {fence},"  # noqa: S608
        f" checksum = {checksum}{more}"
    )


# SQLite uses an index over a part of the rows only when the statement repeats that index's condition as it
# stands there; hence "state < 4" beside what implies it, and "unlikely" so that SQLite searches by the state
# itself and not by that condition, which every unfinished delivery fulfils.
_OWN = " WHERE id = :id AND token = :token AND state = 1"
RETRY = _change("2", attempts="attempts + 1", due_at=":due_at", more=", error = :error, owner = NULL") + _OWN
PARK = (
    _change(
        ":state",
        attempts="attempts + 1",
        more=", error = :error, error_id = :error_id, settled_at = :now, owner = NULL",
    )
    + _OWN
)
RELEASE = _change("0", due_at="0.0", more=", owner = NULL") + _OWN
GIVE_WAY = (
    _change("5", more=", settled_at = :now, error = 'coalesced'")
    + " WHERE plugin = :plugin AND coalesce_key = :key AND state IN (0, 2) AND attempts = 0"
    + " RETURNING due_at"
)
RECLAIM = (
    _change(
        "CASE WHEN attempts + 1 >= :max_attempts THEN :parked ELSE 0 END",
        attempts="attempts + 1",
        due_at="0.0",
        more=(
            ", owner = NULL, settled_at = :now, error = 'The process that ran it ended without an outcome.'"
        ),
    )
    + " WHERE state = 1 AND lease_until <= :now RETURNING id, plugin, event_seq, attempts, state"
)
REVIVE = _change("0", attempts="0", due_at="0.0", more=", error = NULL") + " WHERE id = ? AND state IN (3, 4)"
DROP = _change("5") + " WHERE id = ? AND state IN (3, 4)"
FORGET = (
    _change("5", more=", settled_at = :now, error = 'plugin forgotten'")
    + " WHERE plugin = :plugin AND state IN (0, 2, 3, 4)"
)
CLAMP = _change("state", due_at=":limit") + " WHERE state < 4 AND unlikely(state = 2) AND due_at > :limit"

_COLUMNS = "id, event_seq, attempts, due_at, keys, replayed"
READY = f"""
SELECT {_COLUMNS} FROM delivery
WHERE plugin = ? AND state < 4 AND unlikely(state = 0) ORDER BY id LIMIT ?
"""  # noqa: S608
CHOSEN = f"SELECT {_COLUMNS} FROM delivery WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"  # noqa: S608
# The same as one row: fetching a row is a step, and each lets another thread in. The keys are hexadecimal
# because JSON of SQLite carries no NUL.
READY_AT_ONCE = f"""
SELECT json_group_array(json_array(id, event_seq, attempts, due_at <> 0.0, hex(keys), replayed))
FROM ({READY})
"""  # noqa: S608
# Two ranges instead of one inequality: whatever is leased to the owner itself is not looked at.
ANYTHING_WAITS = """
SELECT 1 WHERE EXISTS (SELECT 1 FROM delivery WHERE plugin = :plugin AND state < 4 AND state > 1)
    OR EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_claimed
               WHERE state = 1 AND owner < :owner AND plugin = :plugin)
    OR EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_claimed
               WHERE state = 1 AND owner > :owner AND plugin = :plugin)
"""
EVENTS = """
SELECT seq, id, topic, payload, received_at, replayed, checksum FROM event
WHERE seq IN (SELECT value FROM json_each(?))
"""
