"""What the engine is wired to: who runs deliveries, and who wants to hear of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from ftrackd.delivery.classification import Lane

Status = Literal["returned", "raised", "timed_out", "died", "unbegun"]


class Recipient(NamedTuple):
    """A plugin with a subscription that matches an event; lower priority numbers come first."""

    plugin: str
    priority: int = 100


class Handover(Protocol):
    """One event for one plugin, to be run now.

    ``token`` comes back with the outcome and proves that it is the outcome of this attempt. ``payload``: the
    event as JSON bytes. ``expires_at``: seconds since 1970 after which running it is pointless; None for
    the event lane. Ids are never used twice in one journal; those of the interactive lane are negative and
    mean nothing to the next process.
    """

    @property
    def delivery_id(self) -> int: ...
    @property
    def token(self) -> int: ...
    @property
    def lane(self) -> Lane: ...
    @property
    def event_id(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def attempt(self) -> int: ...
    @property
    def replayed(self) -> bool: ...
    @property
    def expires_at(self) -> float | None: ...


class Runner(Protocol):
    """Runs deliveries in plugins."""

    def run(self, plugin: str, deliveries: Sequence[Handover]) -> None:
        """Pass deliveries to the plugin, to be run in turn; must not block, the outcomes come to
        :meth:`Delivery.finished`.

        The next one begins only when the one before has returned and its outcome is on its way. After one
        that ended otherwise none of the rest begins: they come back as ``unbegun`` together with its
        outcome. Called from the engine's threads. An error means that the plugin cannot be reached: none of
        them ran, and the engine waits for the next :meth:`Delivery.plugin_ready`.
        """

    def recall(self, plugin: str) -> None:
        """Let the plugin finish what it runs and begin nothing more of what it was passed before; the rest
        comes back as ``unbegun``. Must not block.
        """


class Outcome(Protocol):
    """How an attempt ended; the daemon may pass any object with these attributes.

    ``status`` ``unbegun``: there was no attempt, nothing of the plugin ran. ``transient``: worth another
    attempt (connection lost, 502, 503, 504, timeout). ``error`` is its text or
    traceback, ``error_id`` what the log and a reply call it. ``stopped``: a callback called
    ``event.stop()``.
    """

    @property
    def delivery_id(self) -> int: ...
    @property
    def token(self) -> int: ...
    @property
    def status(self) -> Status: ...
    @property
    def error(self) -> str | None: ...
    @property
    def error_id(self) -> str | None: ...
    @property
    def transient(self) -> bool: ...
    @property
    def stopped(self) -> bool: ...
    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Health:
    """Whether durable events are safe.

    ``degraded`` says why not, in one line; None when all is well. ``waiting`` events are in memory until
    the journal can be written again, ``lost`` could not be kept since the start.
    """

    degraded: str | None = None
    waiting: int = 0
    lost: int = 0


class DeliveryListener:
    """Hears what happens to deliveries; every method does nothing unless overridden.

    Called from the engine's threads, which wait: be quick, and raise nothing.
    """

    def health_changed(self, health: Health) -> None:
        """The journal began to fail, or works again."""

    def stored(self, event_id: str, plugins: tuple[str, ...]) -> None:
        """A durable event is on disk, with a delivery for each of these plugins."""

    def duplicate(self, event_id: str) -> None:
        """A durable event came that was stored before; nothing was done."""

    def closed(self, deliveries: Sequence[Handover]) -> None:
        """Durable deliveries were handled, and that is on disk."""

    def coalesced(self, plugin: str, event_id: str, count: int) -> None:
        """So many deliveries gave way to the one of this event."""

    def retrying(self, plugin: str, event_id: str, attempts: int, delay_s: float, error: str) -> None:
        """An attempt failed; another follows."""

    def parked(self, plugin: str, event_id: str, delivery_id: int, error: str) -> None:
        """A delivery became a dead letter."""

    def looping(self, plugin: str, entity_id: str, count: int, delay_s: float) -> None:
        """A plugin triggers itself with its commits to this entity: so many events in a minute; they are
        delayed now.
        """

    def paused(self, plugin: str, delay_s: float) -> None:
        """The event lane of a plugin waits, because attempt after attempt fails for a transient reason."""

    def interactive_ended(
        self, plugin: str, event: bytes, status: Status | Literal["expired"], error_id: str | None
    ) -> None:
        """An interactive event ended in a plugin without a proper answer: it died, timed out, or was never
        run.
        """
