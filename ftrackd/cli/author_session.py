"""Sessions for the author commands, and finding entities by what a person types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftrackd.cli.options import control_client, loaded_settings
from ftrackd.daemon.errors import ControlError, MissingServerError
from ftrackd.errors import FtrackdError


def credentials(config: Path | None) -> dict[str, str]:
    """Return ``server_url``, ``api_user`` and ``api_key``: of the settings, else of a running sandbox daemon.

    Raises MissingServerError when there are none.
    """
    server = loaded_settings(config).settings.server
    if server.url and server.api_user and server.api_key:
        return {
            "server_url": server.url,
            "api_user": server.api_user,
            "api_key": server.api_key.get_secret_value(),
        }
    try:
        answer: dict[str, str] = control_client(config).get("/credentials")
    except ControlError as error:
        raise MissingServerError(
            "no server: set FTRACK_SERVER, FTRACK_API_USER and FTRACK_API_KEY,\n"
            "or start `ftrackd run --sandbox`, whose server this command then uses"
        ) from error
    return answer


@contextmanager
def plain_session(config: Path | None) -> Iterator[Any]:
    """Yield a Session without plugins."""
    from ftrackd.api.session import Session

    entry = credentials(config)
    with Session(entry["server_url"], entry["api_key"], entry["api_user"], plugin_paths=[]) as session:
        yield session


@contextmanager
def connected_session(config: Path | None) -> Iterator[Any]:
    """Yield a Session without plugins whose event hub is connected."""
    with plain_session(config) as session:
        session.event_hub.connect()
        yield session


def find_entities(session: Any, texts: Sequence[str]) -> list[Any]:
    """Return the entities that the texts name; raises FtrackdError for one that names none."""
    found = []
    for text in texts:
        entities = _find(session, text.strip())
        if not entities:
            raise FtrackdError(f"{text!r} names no entity")
        found.extend(entities)
    return found


def _find(session: Any, text: str) -> list[Any]:
    entity_type, separator, key = text.partition(":")
    if separator and entity_type in session.types:
        entity = session.get(entity_type, key)
        return [entity] if entity is not None else []
    if " " in text and text.split()[0] in [*session.types, "select"]:
        return list(session.query(text).all())
    return _find_by_path(session, text)


def _find_by_path(session: Any, text: str) -> list[Any]:
    project, *names = (quoted(name) for name in text.strip("/").split("/"))
    entity = session.query(f"Project where name is {project}").first()
    for name in names:
        if entity is None:
            return []
        entity = session.query(f'TypedContext where parent_id is "{entity["id"]}" and name is {name}').first()
    return [entity] if entity is not None else []


def quoted(text: str) -> str:
    """Return ``text`` as a string of the query language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def set_attribute(session: Any, entity: Any, name: str, value: str) -> None:
    """Set one attribute from text; a reference is found by its id or name.

    Raises FtrackdError for an unknown attribute or a name that nothing has.
    """
    from ftrackd.api.attribute import ReferenceAttribute

    attribute = entity.attributes.get(name)
    if attribute is None:
        raise FtrackdError(f"{entity.entity_type} has no attribute {name!r}")
    if not isinstance(attribute, ReferenceAttribute):
        entity[name] = _typed(session, entity.entity_type, name, value)
        return
    kind = attribute.entity_type
    criterion = f"id is {quoted(value)} or name is {quoted(value)}"
    referred = session.query(f"{kind} where {criterion}").first()
    if referred is None:
        raise FtrackdError(f"no {kind} has the id or name {value!r}")
    entity[name] = referred


def _typed(session: Any, entity_type: str, name: str, value: str) -> Any:
    schema = next(schema for schema in session.schemas if schema["id"] == entity_type)
    kind = schema["properties"].get(name, {}).get("type")
    try:
        if kind == "integer":
            return int(value)
        if kind == "number":
            return float(value)
    except ValueError as error:
        raise FtrackdError(f"{name}: {value!r} is not a number") from error
    if kind == "boolean":
        return value.lower() in ("1", "true", "yes", "on")
    return None if value == "none" else value
