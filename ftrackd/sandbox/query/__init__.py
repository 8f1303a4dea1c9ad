"""The query language of ftrack: text to tree, tree to SQL, rows to entities."""

from ftrackd.sandbox.query.errors import (
    InvalidValueError,
    QueryError,
    QuerySyntaxError,
    QueryTooComplexError,
    UnknownAttributeError,
    UnknownEntityTypeError,
    UnsupportedQueryError,
)
from ftrackd.sandbox.query.parser import parse
from ftrackd.sandbox.query.printer import print_query
from ftrackd.sandbox.query.tree import Query

__all__ = [
    "InvalidValueError",
    "Query",
    "QueryError",
    "QuerySyntaxError",
    "QueryTooComplexError",
    "UnknownAttributeError",
    "UnknownEntityTypeError",
    "UnsupportedQueryError",
    "parse",
    "print_query",
]
