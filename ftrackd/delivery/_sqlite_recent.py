"""Events of the SQLite journal that need not be read again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

Row = tuple[Any, ...]

_LIMIT_BYTES: Final = 512 * 1024
_PAYLOAD_LIMIT_BYTES: Final = 32_768
_ROW_BYTES: Final = 512  # about what an event takes in memory besides its payload


class RecentEvents:
    """The events that were stored or claimed last, because plugins claim the same ones.

    Only what is sound and committed may be in here: the number of an event whose transaction was undone is
    given to another one.
    """

    def __init__(self) -> None:
        # Ordered, because the first of a plain dictionary is found behind all that went before it.
        self._rows: OrderedDict[int, Row] = OrderedDict()
        self._bytes = 0

    def get(self, seq: int) -> Row | None:
        """The row of an event, without its number."""
        return self._rows.get(seq)

    def update(self, rows: Mapping[int, Row]) -> None:
        """Keep these, and let go of the oldest."""
        for seq, row in rows.items():
            if seq not in self._rows and len(row[2]) <= _PAYLOAD_LIMIT_BYTES:
                self._rows[seq] = row
                self._bytes += len(row[2]) + _ROW_BYTES
        while self._bytes > _LIMIT_BYTES:
            _, row = self._rows.popitem(last=False)
            self._bytes -= len(row[2]) + _ROW_BYTES

    def clear(self) -> None:
        """Keep nothing."""
        self._rows.clear()
        self._bytes = 0
