"""The values that hosting takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import SecretStr

OutcomeStatus = Literal["returned", "raised", "timed_out", "died", "unbegun"]
PluginState = Literal[
    "starting", "running", "failed", "restarting", "disabled", "refused", "stopping", "stopped"
]


@dataclass(frozen=True)
class ServerAccess:
    """Where plugin processes reach the server, and as whom."""

    url: str
    api_user: str
    api_key: SecretStr
    identity_map_limit: int | None = 20_000
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0


@dataclass(frozen=True)
class Bootstrap:
    """What every Session asks first, fetched once by the main process: the server's facts and its schemas."""

    server_information: Mapping[str, Any]
    schemas: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class PluginSubscription:
    """A subscription of a plugin: ``metadata`` (with ``id``) and ``expression`` as it gave them.

    ``callback`` and ``file`` say which function is called, and where it is defined.
    """

    metadata: Mapping[str, Any]
    expression: str
    priority: int = 100
    callback: str = ""
    file: str = ""

    @property
    def id(self) -> str:
        """The subscriber's identifier."""
        return str(self.metadata["id"])


class HostedDelivery(Protocol):
    """One event for one plugin; the daemon may pass any object with these attributes.

    ``lane`` is ``event`` or ``interactive``. ``payload`` is the event's JSON exactly as it was received,
    ``topic`` and ``event_id`` what it says, empty when nobody looked. ``delivery_id`` and ``token`` come
    back with the outcome.
    """

    @property
    def delivery_id(self) -> int: ...
    @property
    def token(self) -> int: ...
    @property
    def lane(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def replayed(self) -> bool: ...
    @property
    def attempt(self) -> int: ...
    @property
    def expires_at(self) -> float | None: ...
    @property
    def topic(self) -> str: ...
    @property
    def event_id(self) -> str: ...


class HostedOutcome(NamedTuple):  # made for each delivery, where a frozen dataclass takes four times as long
    """How a delivery ended; ``seconds`` is how long it ran. ``unbegun``: not at all, its turn did not come.

    ``transient`` says that the cause lies outside: a connection, a busy server, a plugin between two
    processes. A process that died during the delivery is not called that, since the event may be the reason.
    ``stopped``: a callback called ``event.stop()``.
    """

    delivery_id: int
    token: int
    status: OutcomeStatus
    error: str | None = None
    transient: bool = False
    error_id: str | None = None
    stopped: bool = False
    seconds: float = 0.0
    topic: str = ""
    event_id: str = ""


@dataclass(frozen=True)
class RunningCallback:
    """A delivery that a plugin works on. ``seconds`` since it began."""

    delivery_id: int
    lane: str
    topic: str
    seconds: float
    is_slow: bool = False


@dataclass(frozen=True)
class PluginStatus:
    """Everything an operator asks about one plugin.

    ``reason`` says why it is not running, ``error`` why its newest version is not (an older one may be),
    ``stack`` is the last stack taken of a slow or hanging callback. ``loading_s`` is for how long a new
    process has been importing and registering.
    """

    name: str
    path: str
    state: PluginState
    reason: str = ""
    error: str = ""
    group: str = ""
    version: str = ""
    pid: int | None = None
    generation: int = 0
    uptime_s: float = 0.0
    memory_bytes: int = 0
    concurrency: int = 1
    subscriptions: tuple[PluginSubscription, ...] = ()
    running: tuple[RunningCallback, ...] = ()
    is_session_plugin: bool = False
    is_responsive: bool = True
    modules: tuple[Mapping[str, Any], ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    failures: int = 0
    retry_in_s: float | None = None
    loading_s: float | None = None
    stack: str = ""


Acknowledge = Callable[[bool, str], None]
"""Called once with whether the server took a published event, and its words if not."""


class HostListener(Protocol):
    """What the daemon hears from the host; called from the host's thread, so answer quickly."""

    def plugin_subscribed(self, plugin: str, subscription: PluginSubscription) -> None:
        """A subscription is in place in the plugin's process."""

    def plugin_unsubscribed(self, plugin: str, subscriber_id: str) -> None:
        """A subscription is gone."""

    def plugin_published(self, plugin: str, raw: bytes, acknowledge: Acknowledge) -> None:
        """The plugin publishes the event *raw*; call *acknowledge* when the server answered."""

    def plugin_ready(self, plugin: str, concurrency: int) -> None:
        """The plugin takes deliveries, *concurrency* of them side by side."""

    def plugin_gone(self, plugin: str, reason: str) -> None:
        """The plugin takes no deliveries until it is ready again."""

    def deliveries_done(self, plugin: str, outcomes: Sequence[HostedOutcome]) -> None:
        """Deliveries ended; together with one that failed comes what did not begin because of it."""

    def state_changed(self, status: PluginStatus) -> None:
        """Something an operator would see has changed."""
