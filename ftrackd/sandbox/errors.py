"""What the sandbox answers to a client as an error, or cannot start with.

::

    SandboxError
    ├── RequestError                      answered to the client as an error object
    │   ├── ValidationError               a value is missing, of the wrong type or not allowed
    │   │   ├── UnknownEntityTypeError    no such entity type in the schema
    │   │   └── UnknownAttributeError     no such attribute on that entity type
    │   ├── DuplicateEntryError           a unique constraint
    │   ├── IntegrityError                a reference to a row that does not exist
    │   ├── EntityNotFoundError           update or delete of an entity that does not exist
    │   └── PermissionError               not allowed
    └── DatabaseError                     the database cannot be opened or used
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ftrackd.errors import FtrackdError


class SandboxError(FtrackdError):
    """Anything the sandbox itself reports as wrong."""


class RequestError(SandboxError):
    """An error that the client is told about.

    ``exception`` is the class name that clients read, ``error_code`` the optional slug beside it.
    ``operation`` says which of a batch failed, empty when there is only one.
    """

    exception: str = "ServerError"
    error_code: str | None = None
    operation: str = ""


class ValidationError(RequestError):
    """A value is missing, of the wrong type or not allowed."""

    exception = "ValidationError"
    error_code = "validation_error"


class UnknownEntityTypeError(ValidationError):
    """No such entity type in the schema."""

    error_code = "unknown_entity_type"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        super().__init__(f"Unknown entity type {name!r}.{_suggestion(name, known)}")


class UnknownAttributeError(ValidationError):
    """No such attribute on that entity type."""

    error_code = "unknown_attribute"

    def __init__(self, entity_type: str, name: str, known: Iterable[str]) -> None:
        self.entity_type = entity_type
        self.name = name
        super().__init__(f"{entity_type} has no attribute {name!r}.{_suggestion(name, known)}")


class DuplicateEntryError(RequestError):
    """A unique constraint was violated."""

    exception = "DuplicateEntryError"
    error_code = "duplicate_entry"


class IntegrityError(RequestError):
    """A reference to a row that does not exist."""

    exception = "IntegrityError"
    error_code = "integrity_error"


class EntityNotFoundError(RequestError):
    """Update or delete of an entity that does not exist."""

    exception = "NotFoundError"
    error_code = "not_found"


class PermissionError(RequestError):
    """The user may not do that."""

    exception = "PermissionError"
    error_code = "permission_denied"


class DatabaseError(SandboxError):
    """The database cannot be opened or used; names the address and the remedy."""


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Did you mean {', '.join(close)}?" if close else ""
