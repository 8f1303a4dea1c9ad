"""Rows that follow from what a client writes, inserted many at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ftrackd.sandbox.schema import insertion


class LateInserts:
    """A connection to write on, with rows that need not be there before anything else is done on it.

    Executing a statement takes longer than inserting a row. *direct* is the connection for what does not look
    at such rows.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self.direct = connection
        self._rows: dict[str, list[Mapping[str, Any]]] = {}

    @property
    def connection(self) -> sa.Connection:
        """The connection, once every row is there."""
        for name, rows in self._rows.items():
            self.direct.execute(insertion(name), rows)
        self._rows.clear()
        return self.direct

    def add(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert *rows* into the table called *name*; those of one table have the same columns."""
        self._rows.setdefault(name, []).extend(rows)
