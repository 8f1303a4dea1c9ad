"""The query language of ftrack: text to tree, tree to SQL, rows to entities."""

from ftrackd.sandbox.query.errors import (
    QueryAttributeError,
    QueryEntityTypeError,
    QueryError,
    QuerySyntaxError,
    QueryTooComplexError,
    QueryValueError,
    UnsupportedQueryError,
)
from ftrackd.sandbox.query.execution import QueryAnswer, execute, load_entities
from ftrackd.sandbox.query.parser import parse
from ftrackd.sandbox.query.printer import print_query
from ftrackd.sandbox.query.search import search
from ftrackd.sandbox.query.tree import Query

__all__ = [
    "Query",
    "QueryAnswer",
    "QueryAttributeError",
    "QueryEntityTypeError",
    "QueryError",
    "QuerySyntaxError",
    "QueryTooComplexError",
    "QueryValueError",
    "UnsupportedQueryError",
    "execute",
    "load_entities",
    "parse",
    "print_query",
    "search",
]
