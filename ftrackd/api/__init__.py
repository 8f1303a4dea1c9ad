"""The client library: Session, entities, queries, operations, event hub, locations.

Importable as ``ftrack_api`` after :func:`ftrackd.api.alias.install`. After a bare import these submodules
are there as attributes, because existing code uses them without importing them.
"""

from __future__ import annotations

from ftrackd.api import (
    _centralized_storage_scenario,
    accessor,
    attribute,
    cache,
    collection,
    data,
    entity,
    event,
    exception,
    inspection,
    logging,
    operation,
    plugin,
    query,
    session,
    structure,
    symbol,
)
from ftrackd.api._mixin import mixin
from ftrackd.api.session import Session

#: The release of the official client whose surface this library has; scripts compare it.
__version__ = "3.1.0"

__all__ = [
    "Session",
    "__version__",
    "_centralized_storage_scenario",
    "accessor",
    "attribute",
    "cache",
    "collection",
    "data",
    "entity",
    "event",
    "exception",
    "inspection",
    "logging",
    "mixin",
    "operation",
    "plugin",
    "query",
    "session",
    "structure",
    "symbol",
]
