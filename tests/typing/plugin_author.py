"""A plugin author's code, checked by mypy in strict mode.

Attributes of entities are Any, because the server's schemas decide them; everything around them is typed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, assert_type

from ftrackd import api as ftrack_api
from ftrackd.api import exception, inspection, operation, symbol
from ftrackd.api.attribute import Attribute, Attributes
from ftrackd.api.cache import LayeredCache, MemoryCache
from ftrackd.api.collection import Collection
from ftrackd.api.entity.base import Entity
from ftrackd.api.entity.factory import StandardFactory
from ftrackd.api.event.base import Event
from ftrackd.api.query import QueryResult
from ftrackd.api.session import Session

logger = logging.getLogger("studio.cascade")


def on_update(session: Session, event: Event) -> None:
    """Follow the status of a task with that of its parent."""
    for change in event["data"].get("entities", []):
        if change.get("entityType") != "task" or "statusid" not in (change.get("keys") or ()):
            continue
        task = session.get("Task", change["entityId"])
        if task is None:
            continue
        task["parent"]["status"] = task["status"]
    try:
        session.commit()
    except exception.PermissionDeniedError as error:
        logger.warning("Not allowed: %s (%s)", error.message, error.details)
        session.rollback()
    except exception.ServerError as error:
        assert_type(error.exception, str | None)
        assert_type(error.content, str | None)
        assert_type(error.status, int | None)
        session.rollback()
        raise


def report(session: Session) -> dict[str, float]:
    """Sum up the bids of each project."""
    bids: dict[str, float] = {}
    result = session.query('Task where status.state.short is "NOT_STARTED"', page_size=200)
    assert_type(result, QueryResult)
    assert_type(result.all(), list[Any])
    assert_type(result[0:5], list[Any])
    assert_type(len(result), int)
    for task in result:
        bids[task["project"]["name"]] = bids.get(task["project"]["name"], 0.0) + task["bid"]
    return bids


def units_of_work(session: Session) -> int:
    """Change something apart from what the rest of the plugin does."""
    with session.unit_of_work("thumbnails") as unit:
        version = session.query("AssetVersion").one()
        version["comment"] = "checked"
        session.commit()
        assert_type(unit.describe(), str)
        unit.rollback()
        return unit.pending_count


def inspect(session: Session, entity: Entity) -> tuple[str, list[str]]:
    """Look at an entity without asking the server."""
    assert_type(entity.entity_type, str)
    assert_type(entity.attributes, Attributes)
    for attribute in entity.attributes:
        assert_type(attribute, Attribute)
        if attribute.is_modified(entity) and attribute.get_local_value(entity) is not symbol.NOT_SET:
            logger.info("%s was changed", attribute.name)
    assert_type(inspection.state(entity), symbol.Symbol)
    assert_type(session.entity_reference(entity), dict[str, Any])
    with session.auto_populating(False), session.operation_recording(False):
        entity["name"] = "unrecorded"
    return inspection.identity(entity)


def push(session: Session) -> None:
    """Record an operation by hand."""
    key = {"configuration_id": "c", "entity_id": "e"}
    session.recorded_operations.push(
        operation.UpdateEntityOperation("CustomAttributeValue", key, "value", symbol.NOT_SET, 3)
    )
    assert_type(len(session.recorded_operations), int)


class ShoutingFactory(StandardFactory):
    """Gives every class one more method."""

    def create(self, schema: Any, bases: Any = None) -> type[Any]:
        """Return the class for `schema`."""
        made = super().create(schema, bases=bases)
        made.shout = lambda entity: str(entity["name"]).upper()
        return made


def construct(event: Event) -> type[Any] | None:
    """Make the class of shots."""
    schema = event["data"]["schema"]
    return ShoutingFactory().create(schema) if schema["id"] == "Shot" else None


def collections(task: Entity) -> list[str]:
    """Use what attributes with many entities hold."""
    scopes: Collection = task["scopes"]
    scopes.append(task.session.create("Scope", {"name": "new"}))
    task["metadata"]["key"] = "value"
    assert_type(len(scopes), int)
    return [scope["name"] for scope in scopes]


def make_cache(session: Session) -> LayeredCache:
    """Return a cache to stand behind the session's own."""
    return LayeredCache([MemoryCache()])


def standalone() -> None:
    """Use a session outside of a host."""
    with ftrack_api.Session(
        server_url="https://studio.example.com",
        auto_connect_event_hub=True,
        cache=make_cache,
        plugin_arguments={"site": "north"},
        headers={"x-studio": "north"},
    ) as session:
        assert_type(session, Session)
        assert_type(session.server_information, dict[str, Any])
        session.identity_map_limit = 10_000
        assert_type(session.expire_changes({"topic": "ftrack.update"}), int)


def register(session: object, **kw: object) -> None:
    """Take part in events; what a host calls."""
    if not isinstance(session, ftrack_api.Session):
        return
    callback: Callable[[Event], None] = functools.partial(on_update, session)
    session.event_hub.subscribe("topic=ftrack.update", callback)
    session.event_hub.subscribe("topic=ftrack.api.session.construct-entity-type", construct)
