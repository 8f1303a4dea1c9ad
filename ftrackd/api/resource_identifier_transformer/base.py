"""The transformer that changes nothing, to derive others from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftrackd.api.session import Session


class ResourceIdentifierTransformer:
    """Translates resource identifiers on their way to the server and back.

    What :meth:`encode` returns is stored; :meth:`decode` must give back what it was made from.
    """

    def __init__(self, session: Session) -> None:
        """Make a transformer for locations of *session*."""
        self.session = session
        super().__init__()

    def encode(self, resource_identifier: str, context: Mapping[str, Any] | None = None) -> str:
        """Return what to store for *resource_identifier*; *context* holds the ``component``."""
        return resource_identifier

    def decode(self, resource_identifier: str, context: Mapping[str, Any] | None = None) -> str:
        """Return the location's identifier for the stored one; *context* holds the ``component``."""
        return resource_identifier
