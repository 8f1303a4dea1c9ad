"""What a session keeps: units of work, identity map, caches, settings per thread.

It is made in `__new__`, not in `__init__`: hosts of plugins replace `Session.__init__` with their own.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
import weakref
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ftrackd.api import _open_sessions, exception
from ftrackd.api import cache as _cache
from ftrackd.api._identity_map import IdentityMap
from ftrackd.api._layout import Layout
from ftrackd.api._unit_of_work import UnitOfWork, Units
from ftrackd.api.operation import Operations

if TYPE_CHECKING:
    from ftrackd.api._entity_types import EntityTypes
    from ftrackd.api.entity.base import Entity
    from ftrackd.api.event.hub import EventHub
    from ftrackd.api.query import QueryResult


class AutoPopulatingContext:
    """Sets `auto_populate` of `session` for this thread within a with statement."""

    def __init__(self, session: Any, auto_populate: bool) -> None:
        super().__init__()
        self._session = session
        self._auto_populate = auto_populate
        self._before: bool | None = None

    def __enter__(self) -> None:
        self._before = self._session.auto_populate
        self._session.auto_populate = self._auto_populate

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.auto_populate = self._before


class OperationRecordingContext:
    """Sets `record_operations` of `session` for this thread within a with statement."""

    def __init__(self, session: Any, record_operations: bool) -> None:
        super().__init__()
        self._session = session
        self._record_operations = record_operations
        self._before: bool | None = None

    def __enter__(self) -> None:
        self._before = self._session.record_operations
        self._session.record_operations = self._record_operations

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.record_operations = self._before


class _Layouts(dict[Any, Layout]):
    """Layouts by entity class, made on first use."""

    def __missing__(self, entity_class: Any) -> Layout:
        layout = self[entity_class] = Layout(entity_class)
        layout.let_attributes_read()
        return layout


class SessionState:
    """The state of a session, and the properties that show it."""

    logger: logging.Logger
    cache: _cache.LayeredCache
    cache_key_maker: _cache.KeyMaker
    schemas: list[dict[str, Any]]
    types: EntityTypes
    request_timeout: float

    _server_url: str
    _api_key: str
    _api_user: str
    _server_information: dict[str, Any]
    _event_hub: EventHub

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        session = super().__new__(cls)
        session.logger = logging.getLogger(f"ftrack_api.session.{cls.__name__}")
        reference = weakref.ref(session)

        def make_key(identity: tuple[str, list[str]]) -> Any:
            alive = reference()
            return None if alive is None else alive.cache_key_maker.key(identity)

        def roll_back(unit: UnitOfWork) -> None:
            alive = reference()
            if alive is not None:
                alive._roll_back(unit)

        session.cache_key_maker = _cache.StringKeyMaker()
        session._identity_map = IdentityMap(make_key)
        session.cache = _cache.LayeredCache([session._identity_map])
        session._units = Units(roll_back)
        session._layouts = _Layouts()
        session._thread_lock = threading.RLock()
        session._here = threading.local()
        session._default_auto_populate = True
        session._closed = False
        session._closing = threading.Event()
        session._custom_attribute_configurations = None
        session._aliases = {}
        session._awaited = {}
        session._expirations = 0
        session._auto_connect_event_hub_thread = None
        session._managed_request = None
        session._plugin_paths = []
        session._process = os.getpid()
        session._left_to_parent = []
        _open_sessions.add(session)
        return session

    def __reduce__(self) -> str:
        """Refuse to be pickled or copied, with a TypeError that says what to do."""
        raise TypeError(
            f"A {type(self).__name__} holds connections and cannot be pickled or copied; make another one."
        )

    _identity_map: IdentityMap
    _units: Units
    _layouts: _Layouts
    #: Guards what threads share while rows become entities and operations become a batch; never held
    #: during a call.
    _thread_lock: threading.RLock
    _here: threading.local
    _default_auto_populate: bool
    _closed: bool
    _closing: threading.Event
    _custom_attribute_configurations: list[Any] | None
    #: For each answer that is awaited, what was expired since it was asked for: entities and attributes.
    _awaited: dict[int, dict[tuple[str, Any], frozenset[str] | None]]
    #: How many changes were expired so far.
    _expirations: int
    #: Attributes by legacy names, by entity type.
    _aliases: dict[str, dict[str, set[str]]]
    _auto_connect_event_hub_thread: threading.Thread | None
    _managed_request: Any
    _plugin_paths: list[str]
    #: The id of the process that made the session, whose event hub it is.
    _process: int
    #: What was pending when this process was forked, until that is told.
    _left_to_parent: list[str]

    def close(self) -> None:
        """Close the connections."""
        raise NotImplementedError

    @property
    def _is_inherited(self) -> bool:
        """Whether this process was forked from the one that made the session."""
        return self._process != os.getpid()

    def _part_from_parent(self) -> None:
        """In a process just forked from the one that made the session: use none of its connections, and leave
        what is pending to it.
        """
        # Threads of the parent that held them do not exist here.
        self._thread_lock = threading.RLock()
        for unit in self._units.here():
            unit.part_from_parent()
            if unit.pending_count:
                # Committed by both, it would be done twice or fail in one. It is told at the next commit:
                # right after a fork even the log may lead into the parent's connections.
                self._left_to_parent = [*self._left_to_parent, unit.describe()]
                unit.rollback()
        if self._managed_request is None:
            return
        for prefix, adapter in list(self._managed_request.adapters.items()):
            # Copies of adapters have the same settings and no connections. Two processes on one connection
            # would read each other's answers.
            self._managed_request.mount(prefix, copy.copy(adapter))

    # Settings of the current thread. Mostly they are not set, and asking a thread's values for an attribute
    # that is missing takes five times as long as asking their mapping.

    @property
    def auto_populate(self) -> bool:
        """Whether reading a value that is not loaded asks the server; kept for each thread."""
        return bool(self._here.__dict__.get("auto_populate", self._default_auto_populate))

    @auto_populate.setter
    def auto_populate(self, value: bool) -> None:
        self._here.auto_populate = value

    @property
    def record_operations(self) -> bool:
        """Whether changes are recorded for the next commit; kept for each thread."""
        return bool(self._here.__dict__.get("record_operations", True))

    @record_operations.setter
    def record_operations(self, value: bool) -> None:
        self._here.record_operations = value

    def auto_populating(self, auto_populate: bool) -> AutoPopulatingContext:
        """Return a context manager that sets `auto_populate` for this thread for a while."""
        return AutoPopulatingContext(self, auto_populate)

    def operation_recording(self, record_operations: bool) -> OperationRecordingContext:
        """Return a context manager that sets `record_operations` for this thread for a while."""
        return OperationRecordingContext(self, record_operations)

    # Units of work.

    @property
    def recorded_operations(self) -> Operations:
        """The operations recorded in the current unit of work and not committed yet."""
        return self._units.current().operations

    @recorded_operations.setter
    def recorded_operations(self, value: Operations) -> None:
        self._units.current().operations = value

    @property
    def unit_of_work_per_thread(self) -> bool:
        """Whether each thread, but the one that made the session, has a unit of work of its own."""
        return self._units.per_thread

    @unit_of_work_per_thread.setter
    def unit_of_work_per_thread(self, value: bool) -> None:
        self._units.per_thread = value

    def unit_of_work(self, name: str) -> AbstractContextManager[UnitOfWork]:
        """Return a context manager that gives the current thread a unit of work called `name`, and yields it.

        Operations and local values recorded within belong to it alone. What is not committed when it ends
        is dropped, so ask its `pending_count` and `describe()` before.
        """
        return self._units.enter(name)

    # Memory.

    @property
    def identity_map_limit(self) -> int | None:
        """How many entities are kept that nobody holds; None for all."""
        return self._identity_map.limit

    @identity_map_limit.setter
    def identity_map_limit(self, value: int | None) -> None:
        if value is not None and value < 1:
            raise ValueError(f"identity_map_limit must be at least 1 or None, not {value}.")
        with self._thread_lock:
            self._identity_map.set_limit(value)

    @property
    def _local_cache(self) -> IdentityMap:
        return self._identity_map

    @_local_cache.setter
    def _local_cache(self, value: _cache.Cache) -> None:
        # Subclasses with a constructor of their own set this; the map made in __new__ stays the one that
        # is used.
        self.logger.debug("Keeping the identity map instead of %r", value)

    # What identifies the session.

    @property
    def closed(self) -> bool:
        """Whether the session was closed."""
        return self._closed

    @property
    def server_information(self) -> dict[str, Any]:
        """What the server said about itself, such as its version; a copy."""
        return self._server_information.copy()

    @property
    def server_url(self) -> str:
        """The URL of the server, without a slash at its end."""
        return self._server_url

    @property
    def api_user(self) -> str:
        """The name of the user that the session acts for."""
        return self._api_user

    @property
    def api_key(self) -> str:
        """The API key of the session."""
        return self._api_key

    @property
    def event_hub(self) -> EventHub:
        """The event hub."""
        return self._event_hub

    # Used by mixins and entities, provided by the parts of the session.

    @property
    def _request(self) -> Any:
        """The :class:`requests.Session`; ConnectionClosedError when the session was closed."""
        if self._managed_request is None:
            raise exception.ConnectionClosedError()
        return self._managed_request

    @_request.setter
    def _request(self, value: Any) -> None:
        self._managed_request = value

    def _layout(self, entity_class: type[Entity]) -> Layout:
        return self._layouts[entity_class]

    def _roll_back(self, unit: UnitOfWork) -> None:
        raise NotImplementedError

    def call(self, data: Any) -> Any:
        """Send `data` and return the answer."""
        raise NotImplementedError

    def query(self, expression: str, page_size: int = 500) -> QueryResult:
        """Return the result of `expression`."""
        raise NotImplementedError

    def entity_reference(self, entity: Entity) -> dict[str, Any]:
        """Return the type and primary key of `entity`, which is how others refer to it."""
        reference: dict[str, Any] = {"__entity_type__": entity.entity_type}
        for name in entity.primary_key_attributes:
            reference[name] = entity._stored(name)
        return reference

    def merge(self, value: Any, merged: dict[Any, Any] | None = None) -> Any:
        """Return `value` as it is in this session."""
        raise NotImplementedError
