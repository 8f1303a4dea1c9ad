"""The Session: an isolated place to work with entities of one server as one user."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ftrackd.api import _answer, _open_sessions, _schema_cache, exception, plugin
from ftrackd.api import cache as _cache
from ftrackd.api._entity_types import EntityTypes
from ftrackd.api._expression import primary_key_is, select
from ftrackd.api._payload import OperationPayload
from ftrackd.api._session_action import ActionMethods
from ftrackd.api._session_state import AutoPopulatingContext, OperationRecordingContext
from ftrackd.api._session_storage import StorageMethods
from ftrackd.api.entity import factory
from ftrackd.api.entity.base import Entity
from ftrackd.api.event.base import Event
from ftrackd.api.event.hub import EventHub
from ftrackd.api.query import QueryResult

if TYPE_CHECKING:
    from ftrackd.api._session_authentication import SessionAuthentication as SessionAuthentication

__all__ = [
    "AutoPopulatingContext",
    "OperationPayload",
    "OperationRecordingContext",
    "Session",
    "SessionAuthentication",
]

_CONSTRUCT_TOPIC = "ftrack.api.session.construct-entity-type"
_MINIMUM_VERSION = (3, 3, 11)
_MISSING = 'Required "{name}" not specified. Pass it as an argument, or {remedy}.'
_MAPPING = "The {name} argument is required to be a mapping."
#: A subscription that matches one topic at most: nothing in it widens or negates.
_ONE_TOPIC = re.compile(
    r"""topic\s*=\s*["']?([\w.-]+)["']?(?:\s+and\s+(?:(?!\b(?:or|not)\b).)*)?""", re.IGNORECASE | re.DOTALL
)
_SELECT = re.compile(r"\s*select\b", re.IGNORECASE)
_FIRST_WORD = re.compile(r"\s*(\w*)")


def __getattr__(name: str) -> Any:
    # Its base class is requests', which only a session that connects has to import.
    if name == "SessionAuthentication":
        from ftrackd.api._session_authentication import SessionAuthentication

        return SessionAuthentication
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Session(ActionMethods, StorageMethods):
    """An isolated session for interaction with an ftrack server."""

    def __init__(
        self,
        server_url: str | None = None,
        api_key: str | None = None,
        api_user: str | None = None,
        auto_populate: bool = True,
        plugin_paths: Sequence[str] | None = None,
        cache: _cache.Cache | Callable[[Session], _cache.Cache | None] | None = None,
        cache_key_maker: _cache.KeyMaker | None = None,
        auto_connect_event_hub: bool = False,
        schema_cache_path: str | bool | None = None,
        plugin_arguments: Mapping[str, Any] | None = None,
        timeout: float = 60,
        cookies: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        strict_api: bool = False,
    ) -> None:
        """Connect to the server, load plugins, and configure locations.

        `server_url`, `api_key` and `api_user` default to ``FTRACK_SERVER``, ``FTRACK_API_KEY`` and
        ``FTRACK_API_USER`` (then the login name). `auto_populate`: whether reading a value that is not
        loaded asks the server. `plugin_paths` (default ``FTRACK_EVENT_PLUGIN_PATH``): folders whose
        plugins are registered, with `plugin_arguments` reduced to what each takes. `cache`: a further
        cache behind the identity map, or a function that returns one for the session or None.
        `cache_key_maker` makes its keys. `auto_connect_event_hub`: connect the event hub in the
        background. `schema_cache_path`: a folder to keep schemas in, False for none (default
        ``FTRACK_API_SCHEMA_CACHE_PATH``, then the user's cache folder). `timeout`: seconds to wait for an
        answer. `cookies` and `headers` are sent with every request. `strict_api`: ask the server for
        errors as HTTP statuses.

        TypeError when something needed is missing or of a wrong type, ServerError when the server refuses the
        credentials, NetworkError when it cannot be reached, ServerCompatibilityError when it is too old.
        """
        super().__init__()
        self._take_credentials(server_url, api_key, api_user)
        _require(cookies is None or isinstance(cookies, Mapping), _MAPPING.format(name="cookies"))
        _require(headers is None or isinstance(headers, Mapping), _MAPPING.format(name="headers"))
        _require(isinstance(strict_api, bool), "The strict_api argument is required to be a bool.")
        self._default_auto_populate = auto_populate
        self.request_timeout = timeout
        self._headers = dict(headers or {})
        self._cookies = dict(cookies or {})
        self._request = self._create_request_session(strict_api)
        self._configure_caches(cache, cache_key_maker)
        self._plugin_paths = _plugin_paths(plugin_paths)
        try:
            self._start(auto_connect_event_hub, plugin_arguments, _schema_cache_folder(schema_cache_path))
        except BaseException:
            # Nobody will get this session to close it.
            self.close()
            raise

    def _start(
        self,
        auto_connect_event_hub: bool,
        plugin_arguments: Mapping[str, Any] | None,
        schema_cache_path: Path | None,
    ) -> None:
        """Take the steps that need the server, in the order that plugins rely on."""
        self._server_information = self._fetch_server_information()
        self.check_server_compatibility()
        self._event_hub = self._create_event_hub()
        if auto_connect_event_hub:
            self._auto_connect_event_hub_thread = self._event_hub.connect_in_background()
        self._discover_plugins(plugin_arguments=plugin_arguments)
        self.schemas = self._load_schemas(schema_cache_path)
        self.types = self._build_entity_type_classes(self.schemas)
        self._register_storage_scenario()
        self._configure_locations()
        self._publish_locally("ftrack.api.session.ready", {"session": self})

    # Steps of the construction, in their order.

    def _take_credentials(self, server_url: str | None, api_key: str | None, api_user: str | None) -> None:
        server_url = server_url if server_url is not None else os.environ.get("FTRACK_SERVER")
        _require(server_url, _MISSING.format(name="server_url", remedy="set FTRACK_SERVER"))
        assert server_url is not None
        self._server_url = server_url.rstrip("/")
        if api_key is None:
            api_key = os.environ.get("FTRACK_API_KEY", os.environ.get("FTRACK_APIKEY"))
        _require(api_key, _MISSING.format(name="api_key", remedy="set FTRACK_API_KEY"))
        assert api_key is not None
        self._api_key = api_key
        if api_user is None:
            api_user = os.environ.get("FTRACK_API_USER")
        if api_user is None:
            try:
                api_user = getpass.getuser()
            except (KeyError, ImportError, OSError):
                api_user = ""
        _require(api_user, _MISSING.format(name="api_user", remedy="set FTRACK_API_USER or log in"))
        self._api_user = api_user

    def _create_request_session(self, strict_api: bool) -> Any:
        """Return the :class:`requests.Session` for all calls."""
        import requests
        import requests.adapters

        from ftrackd.api._session_authentication import SessionAuthentication

        request = requests.Session()
        # One connection for each of a good number of threads; the default drops those beyond ten with a
        # warning.
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=32)
        request.mount("http://", adapter)
        request.mount("https://", adapter)
        request.headers.update(self._headers)
        request.headers["ftrack-strict-api"] = "true" if strict_api else "false"
        request.cookies.update(self._cookies)
        request.auth = SessionAuthentication(self._api_key, self._api_user)
        return request

    def _configure_caches(
        self,
        cache: _cache.Cache | Callable[[Session], _cache.Cache | None] | None,
        cache_key_maker: _cache.KeyMaker | None,
    ) -> None:
        if cache_key_maker is not None:
            self.cache_key_maker = cache_key_maker
        if callable(cache):
            cache = cache(self)
        if cache is not None:
            self.cache.caches.append(cache)

    def _fetch_server_information(self) -> dict[str, Any]:
        """Return what the server says about itself; this is also the check of the credentials."""
        answers = self.call([{"action": "query_server_information"}])
        information: dict[str, Any] = _answer.only(answers, dict)
        return information

    def check_server_compatibility(self) -> None:
        """Raise ServerCompatibilityError when the server is older than what this client needs."""
        version = self._server_information.get("version")
        if version is None:
            raise exception.ServerCompatibilityError("Could not determine server version.")
        # "dev", and whatever else does not begin like a version, is taken for new enough.
        match = re.match(r"(\d+)\.(\d+)\.(\d+)", str(version))
        if match and tuple(int(part) for part in match.groups()) < _MINIMUM_VERSION:
            needed = ".".join(str(part) for part in _MINIMUM_VERSION)
            raise exception.ServerCompatibilityError(
                f"Server version {version} is incompatible with this version of the API, "
                f"which needs {needed} or later. Please update the server."
            )

    def _create_event_hub(self) -> EventHub:
        """Return the event hub of this session, not connected."""
        return EventHub(
            self._server_url,
            self._api_user,
            self._api_key,
            headers=self._headers or None,
            cookies=self._cookies or None,
        )

    def _discover_plugins(self, plugin_arguments: Mapping[str, Any] | None = None) -> None:
        """Register the plugins of the plugin paths with this session."""
        plugin.discover(self._plugin_paths, [self], dict(plugin_arguments or {}))

    def _load_schemas(self, schema_cache_path: Any) -> list[dict[str, Any]]:
        """Return the schemas of the server, from the cache in the folder `schema_cache_path` when they are
        current.

        False, or None, for no cache.
        """
        expected = self._server_information.get("schema_hash")
        path = None
        if schema_cache_path:
            path = _schema_cache.file_for(Path(schema_cache_path), self._server_url)
            schemas = _schema_cache.read(path, expected)
            if schemas is not None:
                return schemas
        fetched: list[dict[str, Any]] = _answer.only(self.call([{"action": "query_schemas"}]), list)
        if path is not None:
            _schema_cache.write(path, fetched, expected)
        return fetched

    def _build_entity_type_classes(self, schemas: list[dict[str, Any]]) -> EntityTypes:
        """Return the mapping of entity types to classes.

        Classes are made on first use. When a plugin wants to make some of them it is asked for all, here
        and now.
        """
        types = EntityTypes(schemas, factory.StandardFactory().create)
        if self._has_subscriber_for(_CONSTRUCT_TOPIC):
            for schema in schemas:
                entity_class = self._ask_for_class(schema, schemas)
                if entity_class is not None:
                    types[str(schema["id"])] = entity_class
        return types

    def _has_subscriber_for(self, topic: str) -> bool:
        """Return whether a subscription may match an event on `topic`."""
        for subscriber in self._event_hub._subscribers:
            one_topic = _ONE_TOPIC.fullmatch(str(subscriber.subscription).strip())
            if one_topic is None or one_topic.group(1) == topic:
                return True
        return False

    def _ask_for_class(self, schema: dict[str, Any], schemas: list[dict[str, Any]]) -> Any:
        results = self._publish_locally(_CONSTRUCT_TOPIC, {"schema": schema, "schemas": schemas})
        classes = [result for result in results or () if result is not None]
        if len(classes) > 1:
            raise ValueError(
                f"Expected single entity type to represent schema {schema['id']!r} "
                f"but received {len(classes)} entity types instead."
            )
        return classes[0] if classes else None

    def _register_storage_scenario(self) -> None:
        from ftrackd.api import _centralized_storage_scenario

        _centralized_storage_scenario.register(self)

    def _publish_locally(self, topic: str, data: dict[str, Any]) -> Any:
        # Through the attribute: plugins replace publish() and expect to see these events too.
        return self.event_hub.publish(Event(topic=topic, data=data), synchronous=True)

    # The end.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, drop what is pending and forget the entities; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._closing.set()
        _open_sessions.discard(self)
        self._drop_pending("Session is closing")
        self._identity_map.clear()
        if self._managed_request is not None:
            self._managed_request.close()
            self._managed_request = None
        self._close_event_hub()

    def _close_event_hub(self) -> None:
        hub = getattr(self, "_event_hub", None)
        if hub is not None and not self._is_inherited:
            try:
                hub.disconnect()
            except exception.EventHubConnectionError:
                self.logger.debug("The event hub was not connected")

    def _drop_pending(self, occasion: str) -> None:
        unit = self._units.current()
        if unit.pending_count:
            self.logger.warning("%s with pending operations not persisted: %s", occasion, unit.describe())
        unit.rollback()

    def reset(self) -> None:
        """Forget all entities and pending operations, configure locations anew, and publish
        ``ftrack.api.session.reset``.

        Plugins, schemas, classes and connections stay. Caches behind the identity map keep what they have.
        """
        self._drop_pending("Resetting session")
        self._identity_map.clear()
        self._custom_attribute_configurations = None
        self._configure_locations()
        self._publish_locally("ftrack.api.session.reset", {"session": self})

    # Reading.

    def get(self, entity_type: str, entity_key: Any) -> Any:
        """Return the entity of `entity_type` with the primary key `entity_key`, or None.

        `entity_key` is the value, or a sequence of the values in the order of the schema. An entity that
        is known here is returned without a call. KeyError for an unknown type, ValueError for a wrong
        number of values.
        """
        entity_class = self.types[entity_type]
        names = entity_class.primary_key_attributes
        values = (
            [entity_key]
            if isinstance(entity_key, str) or not hasattr(entity_key, "__iter__")
            else list(entity_key)
        )
        if len(values) != len(names):
            raise ValueError(
                f"Incompatible entity_key {entity_key!r} supplied. Entity type {entity_type} expects a "
                f"primary key composed of {len(names)} values ({', '.join(names)})."
            )
        key = tuple(str(value) for value in values)
        with self._thread_lock:
            known = self._known(entity_class, key)
        if known is not None:
            return known
        found = self.query(f"{entity_type} where ({primary_key_is(names, key)})").all()
        return found[0] if found else None

    def _known(self, entity_class: type[Entity], key: tuple[str, ...]) -> Any:
        map_key = key[0] if len(key) == 1 else key
        entity = self._identity_map.find(entity_class.entity_type, map_key)
        if entity is None:
            cached = self._from_secondary_cache(self._layouts[entity_class], map_key)
            entity = self._merge_entity(cached, {}) if cached is not None else None
        return entity

    def query(self, expression: str, page_size: int = 500) -> QueryResult:
        """Return the result of `expression`, fetched in pages of `page_size` when it is used.

        An expression without ``select`` gets the default projections of its type. KeyError for an unknown
        type.
        """
        selecting = _SELECT.match(expression)
        if selecting:
            # Servers know the word in lower case only.
            expression = "select" + expression[selecting.end() :]
        else:
            match = _FIRST_WORD.match(expression)
            entity_type = match.group(1) if match else ""
            projections = self.types[entity_type].default_projections
            expression = select(", ".join(projections), expression.strip())
        return QueryResult(self, expression, page_size=page_size)


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise TypeError(message)


def _plugin_paths(plugin_paths: Sequence[str] | None) -> list[str]:
    """Return the folders to search for plugins: those given, else those of ``FTRACK_EVENT_PLUGIN_PATH``."""
    if plugin_paths is None:
        return os.environ.get("FTRACK_EVENT_PLUGIN_PATH", "").split(os.pathsep)
    # One path instead of a list of them is what `plugin_paths=""` means in scripts that want no plugins.
    return [plugin_paths] if isinstance(plugin_paths, str) else list(plugin_paths)


def _schema_cache_folder(schema_cache_path: str | bool | None) -> Path | None:
    """Return the folder for schemas, or None when they are not to be kept."""
    if schema_cache_path is False:
        return None
    if isinstance(schema_cache_path, (str, os.PathLike)):
        return Path(schema_cache_path)
    return _schema_cache.default_folder()
