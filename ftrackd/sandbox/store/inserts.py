"""Inserting rows, many at a time where that can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from ftrackd.sandbox.schema import table

#: Statements that are kept, with room for several databases in one process.
_KEPT: Final = 2048

Row: TypeAlias = Mapping[str, Any]


def insert(connection: sa.Connection, name: str, rows: Sequence[Row]) -> None:
    """Insert *rows*, at least one, into the table called *name*; all of them have the same columns.

    The driver gets the statement and the values as they are: all that SQLAlchemy could do for them is to
    take twice the time.
    """
    statement, parameters_of = _prepare(connection.dialect, name, tuple(rows[0]))
    connection.exec_driver_sql(statement, [parameters_of(row) for row in rows])


@lru_cache(maxsize=_KEPT)
def _prepare(dialect: sa.Dialect, name: str, columns: tuple[str, ...]) -> tuple[str, Callable[[Row], Any]]:
    """Return the statement for rows with these *columns*, and what makes its parameters of a row."""
    compiled = table(name).insert().inline().compile(dialect=dialect, column_keys=list(columns))
    assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
    if compiled.positiontup is None:
        return str(compiled), dict
    if len(columns) == 1:
        return str(compiled), lambda row: (row[columns[0]],)
    return str(compiled), itemgetter(*compiled.positiontup)


class LateInserts:
    """A connection to write on, with rows that need not be there before anything else is done on it.

    Executing a statement takes longer than inserting a row. *direct* is the connection for what does not look
    at such rows.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self.direct = connection
        self._rows: dict[str, list[Row]] = {}

    @property
    def connection(self) -> sa.Connection:
        """The connection, once every row is there."""
        for name, rows in self._rows.items():
            insert(self.direct, name, rows)
        self._rows.clear()
        return self.direct

    def add(self, name: str, rows: Sequence[Row]) -> None:
        """Insert *rows* into the table called *name*; those of one table have the same columns."""
        self._rows.setdefault(name, []).extend(rows)
