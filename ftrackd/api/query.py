"""Results of queries, fetched page by page as they are needed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, overload

from ftrackd.api import exception

#: Text between quotes, which is never part of the query's own words.
_STRING = re.compile(r"\"(?:[^\"\\]|\\[\"']|\\)*\"|'(?:[^'\\]|\\[\"']|\\)*'")
_INNERMOST = re.compile(r"\([^()]*\)")


def _own_words(expression: str) -> str:
    """Return `expression` with blanks in place of all text in quotes or parentheses."""
    masked = _STRING.sub(lambda match: " " * len(match.group()), expression)
    while True:
        inner = _INNERMOST.sub(lambda match: " " * len(match.group()), masked)
        if inner == masked:
            return masked
        masked = inner


class QueryResult(Sequence[Any]):
    """The entities that `expression` finds, in pages of `page_size`; ValueError when that is below 1.

    Iterating and indexing fetch as many pages as they need; ``len()`` fetches all.
    """

    OFFSET_EXPRESSION = re.compile(r"(?P<offset>offset (?P<value>\d+))")
    LIMIT_EXPRESSION = re.compile(r"(?P<limit>limit (?P<value>\d+))")

    _OFFSET = re.compile(r"\boffset\s+(\d+)")
    _LIMIT = re.compile(r"\blimit\s+(\d+)")

    def __init__(self, session: Any, expression: str, page_size: int = 500) -> None:
        super().__init__()
        if not isinstance(page_size, int) or page_size < 1:
            raise ValueError(f"page_size must be a whole number of at least 1, not {page_size!r}.")
        self._session = session
        self._page_size = page_size
        self._results: list[Any] = []
        self._expression, self._offset, self._limit = self._without_paging(expression)
        self._next_offset: int | None = self._offset or 0

    def _without_paging(self, expression: str) -> tuple[str, int | None, int | None]:
        """Return `expression` without its own offset and limit, and these two (None where it has none)."""
        found: list[int | None] = []
        for pattern in (self._OFFSET, self._LIMIT):
            matches = list(pattern.finditer(_own_words(expression)))
            if not matches:
                found.append(None)
                continue
            # Both stand at the end of a query; an earlier word of that form belongs to something else.
            match = matches[-1]
            expression = expression[: match.start()] + expression[match.end() :]
            found.append(int(match.group(1)))
        return expression.strip(), found[0], found[1]

    def _can_fetch_more(self) -> bool:
        return self._next_offset is not None

    def _fetch_more(self) -> None:
        """Fetch the next page; call only when there may be one."""
        assert self._next_offset is not None
        page_size = self._page_size
        if self._limit is not None:
            page_size = min(page_size, self._limit - len(self._results))
        if page_size <= 0:
            self._next_offset = None
            return
        entities, self._next_offset = self._session._query(
            f"{self._expression} offset {self._next_offset} limit {page_size}"
        )
        self._results.extend(entities)
        if self._limit is not None and len(self._results) >= self._limit:
            del self._results[self._limit :]
            self._next_offset = None

    def _fetch_until(self, count: int | None) -> None:
        """Fetch pages until there are `count` results (None: all) or no more."""
        while self._can_fetch_more() and (count is None or len(self._results) < count):
            self._fetch_more()

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            bounds = (index.start, index.stop)
            forward = index.step is None or index.step > 0
            within = (
                forward and index.stop is not None and all(bound is None or bound >= 0 for bound in bounds)
            )
            self._fetch_until(index.stop if within else None)
        else:
            self._fetch_until(index + 1 if index >= 0 else None)
        return self._results[index]

    def __len__(self) -> int:
        self._fetch_until(None)
        return len(self._results)

    def __bool__(self) -> bool:
        self._fetch_until(1)
        return bool(self._results)

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while True:
            self._fetch_until(position + 1)
            if position >= len(self._results):
                return
            yield self._results[position]
            position += 1

    def all(self) -> list[Any]:
        """Fetch and return all entities."""
        self._fetch_until(None)
        return list(self._results)

    def one(self) -> Any:
        """Return the only entity; always asks the server.

        NoResultFoundError when there is none, MultipleResultsFoundError when there are several, ValueError
        when the expression has a limit or an offset of its own.
        """
        if self._limit is not None:
            raise ValueError("Cannot determine a single result from a query with a limit.")
        if self._offset is not None:
            raise ValueError("Cannot determine a single result from a query with an offset.")
        entities, _ = self._session._query(f"{self._expression} limit 2")
        if not entities:
            raise exception.NoResultFoundError()
        if len(entities) > 1:
            raise exception.MultipleResultsFoundError()
        return entities[0]

    def first(self) -> Any:
        """Return the first entity, or None; always asks the server.

        ValueError when the expression has a limit of its own.
        """
        if self._limit is not None:
            raise ValueError("Cannot determine the first result from a query with a limit.")
        offset = "" if self._offset is None else f" offset {self._offset}"
        entities, _ = self._session._query(f"{self._expression}{offset} limit 1")
        return entities[0] if entities else None
