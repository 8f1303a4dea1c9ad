"""What can be wrong with a query.

Every error derives from :class:`QueryError`, is answered to the client and knows the position in the text
that it is about::

    QueryError
    ├── QuerySyntaxError        the text is not a query
    ├── QueryTooComplexError    nested deeper, or holding more criteria, than the limits allow
    ├── QueryEntityTypeError    a type that the schema does not have
    ├── QueryAttributeError     an attribute that the type, and each of its subtypes, lacks
    ├── QueryValueError         a value that cannot be compared with the attribute
    └── UnsupportedQueryError   a known attribute used in a way that it does not allow
"""

from __future__ import annotations

from typing import Self

from ftrackd.sandbox.errors import ValidationError

_EXCERPT_LENGTH = 40


class QueryError(ValidationError):
    """A query that cannot be answered.

    Args:
        message: What is wrong and what was expected.
        position: Offset into the query text, in characters; ``None`` when no single place is at fault.
        text: The query, from which the excerpt in the message is cut.
    """

    error_code = "query_invalid"

    def __init__(self, message: str, position: int | None = None, text: str | None = None) -> None:
        self.message = message
        self.position = position
        super().__init__(message if position is None else f"{message} {_locate(position, text)}")

    def with_text(self, text: str) -> Self:
        """Return the same error with an excerpt of *text* around its position."""
        return type(self)(self.message, self.position, text)


class QuerySyntaxError(QueryError):
    """The text does not follow the grammar of queries."""

    exception = "ParseError"
    error_code = "query_syntax"


class QueryTooComplexError(QueryError):
    """The query is nested deeper, or holds more criteria, than the limits allow."""

    error_code = "query_too_complex"


class QueryEntityTypeError(QueryError):
    """The schema has no entity type of that name."""

    error_code = "unknown_entity_type"


class QueryAttributeError(QueryError):
    """Neither the entity type nor one of its subtypes has an attribute of that name."""

    error_code = "unknown_attribute"


class QueryValueError(QueryError):
    """A value cannot be read as the type of the attribute that it is compared with."""

    error_code = "query_value"


class UnsupportedQueryError(QueryError):
    """A known attribute is used in a way that it does not allow."""

    error_code = "query_unsupported"


def _locate(position: int, text: str | None) -> str:
    """Describe a place in *text*: ``(at character 17, column 18, near "...")``."""
    if text is None:
        return f"(at character {position})"
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    start = max(0, position - _EXCERPT_LENGTH // 2)
    excerpt = " ".join(text[start : position + _EXCERPT_LENGTH // 2].split())
    place = f"line {line} column {column}" if line > 1 else f"column {column}"
    return f"(at character {position}, {place}" + (f', near "{excerpt}")' if excerpt else ")")
