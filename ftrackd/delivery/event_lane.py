"""The event lane: what is claimed, what runs, what is to be written; without I/O."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ftrackd.delivery.backoff import full_jitter
from ftrackd.delivery.brake import Brake
from ftrackd.delivery.journal import Claim
from ftrackd.delivery.ordering import storable
from ftrackd.delivery.ports import Outcome
from ftrackd.delivery.settlement import Settlement, Settlements, Verdict
from ftrackd.delivery.window import Window

if TYPE_CHECKING:
    from ftrackd.settings import DeliverySettings


@dataclass(slots=True)
class _Plugin:
    """What the lane knows of one plugin.

    ``generation`` changes when claims that are under way must not run any more. ``more``: the journal may
    hold something to claim. ``due_at``: when something delayed is due. ``giving_back``: the journal does
    not know yet what was given back, and a claim made now could overtake it. ``starved``: something waits
    in the journal for the end of what runs, because it is claimed only to start at once.
    """

    window: Window
    brake: Brake
    ready: bool = False
    generation: int = 0
    more: bool = True
    due_at: float | None = None
    giving_back: bool = False
    starved: bool = False

    def wait_until(self, due_at: float) -> None:
        """Something is due then; the earliest counts."""
        self.due_at = due_at if self.due_at is None else min(self.due_at, due_at)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A claim to make; see :meth:`JournalTransaction.claim` for ``limit`` and ``ready``."""

    plugin: str
    generation: int
    limit: int
    ready: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a claim left behind: whether something is ready, and when the next delayed delivery is due."""

    is_ready: bool = False
    due_in_s: float | None = None


class Verdicts(NamedTuple):
    """What an attempt that failed led to: the settlement, and the pause that begins with it."""

    settlement: Settlement
    pause_s: float | None = None


class Closing(NamedTuple):
    """What attempts that returned led to: the claims to close, and the outcomes that came too late to count.

    ``urgent``: there may be something to claim; otherwise their writing can wait a moment for others.
    """

    claims: Sequence[Claim] = ()
    late: Sequence[Outcome] = ()
    urgent: bool = False


class Started(NamedTuple):
    """What a plugin is handed: sequences, each to be run in turn. ``generation`` tells whether the plugin is
    still the same afterwards.
    """

    generation: int
    sequences: list[list[Claim]]


@dataclass(slots=True)
class EventLane:
    """Decides what is claimed, started, retried and parked.

    Not thread-safe, and without I/O: the engine calls it under its lock and writes and runs what it
    returns. ``now`` is the monotonic clock's.

    Args:
        settings: limits of this room.
        uniform: draws a number between two others.
    """

    settings: DeliverySettings
    uniform: Callable[[float, float], float] = random.uniform
    settlements: Settlements = field(default_factory=Settlements)
    draining: bool = False
    _plugins: dict[str, _Plugin] = field(default_factory=dict)

    def _plugin(self, name: str) -> _Plugin:
        plugin = self._plugins.get(name)
        if plugin is None:
            brake = Brake(self.settings.retry_delay_s, self.settings.retry_delay_cap_s, self.uniform)
            plugin = self._plugins[name] = _Plugin(Window(1), brake)
        return plugin

    @property
    def running(self) -> int:
        """How many deliveries run."""
        return sum(plugin.window.running for plugin in self._plugins.values())

    def plugin_ready(self, name: str, concurrency: int) -> None:
        """A plugin takes deliveries from now on; a changed concurrency holds for what starts next."""
        plugin = self._plugin(name)
        plugin.window.concurrency = concurrency
        plugin.ready = plugin.more = True
        plugin.generation += 1

    def plugin_gone(self, name: str) -> None:
        """A plugin takes nothing more. What was handed over has its own outcome: of the process that ended
        it came before this, in the one that a new version replaced it may still run.
        """
        plugin = self._plugin(name)
        plugin.ready = False
        self._give_back(plugin)

    def _interrupted(self, claim: Claim) -> Verdicts:
        """Give back, uncounted, what ran in a process that the end of the daemon ended."""
        settlement = Settlement(claim, Verdict.RELEASE)
        self.settlements.others.append(settlement)
        return Verdicts(settlement)

    def unreached(self, name: str, claims: Sequence[Claim], generation: int) -> None:
        """Deliveries could not be handed over: they did not run, and the plugin is not there.

        ``generation`` is of the moment when they started: with another one by now the plugin may have become
        ready meanwhile, and would not say so again.
        """
        plugin = self._plugin(name)
        plugin.window.put_back(plugin.window.finish_all(claims)[0])
        if plugin.generation == generation:
            plugin.ready = False
        self._give_back(plugin)

    def _release(self, claims: Iterable[Claim]) -> None:
        self.settlements.others += [Settlement(claim, Verdict.RELEASE) for claim in claims]

    def _give_back(self, plugin: _Plugin) -> None:
        self._release(plugin.window.abandon())
        plugin.generation += 1
        plugin.more = plugin.giving_back = True

    def take_settlements(self, limit: int | None = None) -> Settlements:
        """What is to be written, before anything is claimed in the same transaction; so much of it, with a
        limit.
        """
        if limit is not None:
            return self.settlements.take(limit)
        taken, self.settlements = self.settlements, Settlements()
        for plugin in self._plugins.values():
            plugin.giving_back = False
        return taken

    def appended(self, name: str, delayed_s: float = 0.0, now: float = 0.0) -> None:
        """A delivery for a plugin is in the journal, due after so many seconds."""
        plugin = self._plugin(name)
        if delayed_s > 0:
            plugin.wait_until(now + delayed_s)
        else:
            plugin.more = True

    def look_again(self) -> None:
        """Anything may have become claimable: operators changed the journal."""
        for plugin in self._plugins.values():
            plugin.more = True

    def wanted(self, now: float) -> list[Wanted]:
        """The claims to make now: for each plugin that is ready and has room."""
        if self.draining:
            return []
        found: list[Wanted] = []
        for name, plugin in self._plugins.items():
            if plugin.due_at is not None and plugin.due_at <= now:
                plugin.more, plugin.due_at = True, None
            if not (plugin.ready and plugin.more) or plugin.giving_back or plugin.brake.remaining_s(now) > 0:
                continue
            window, ready = plugin.window, plugin.window.free
            if plugin.brake.probing:
                room = 1 if window.running + window.waiting == 0 else 0
                ready = min(ready, room)
            else:
                size = max(self.settings.claim_batch, window.concurrency)
                room = size - window.waiting if window.waiting <= size // 2 else 0
            if room > 0:
                # From here on whatever changes sets them again; what this claim brings must not undo that.
                plugin.more, plugin.due_at = False, None
                found.append(Wanted(name, plugin.generation, room, ready))
        return found

    def next_wake(self, now: float) -> float | None:
        """When :meth:`wanted` may have something new without anything else happening."""
        if self.draining:
            return None
        times: list[float] = []
        for plugin in self._plugins.values():
            if plugin.ready and plugin.due_at is not None:
                times.append(plugin.due_at)
            if plugin.ready and plugin.more and plugin.brake.until > now:
                times.append(plugin.brake.until)
        return min(times, default=None)

    def claimed(self, wanted: Wanted, claims: list[Claim], outlook: Outlook, now: float) -> None:
        """What a claim brought; when it is less than was wanted, the outlook says when more may come."""
        plugin = self._plugin(wanted.plugin)
        if plugin.generation != wanted.generation or self.draining:
            self._release(claims)
            plugin.more = True
            return
        plugin.window.add(claims)
        if len(claims) == wanted.limit:
            plugin.more = True
            return
        plugin.starved = outlook.is_ready
        if plugin.starved and plugin.window.free > wanted.ready:
            # What ran when the claim was made has ended since, and nothing is left that would end later.
            plugin.more = True
        if outlook.due_in_s is not None:
            plugin.wait_until(now + outlook.due_in_s)

    def start(self, name: str) -> Started | None:
        """What a plugin is handed now; None when it is nothing."""
        plugin = self._plugins.get(name)
        if plugin is None or not plugin.ready or self.draining:
            return None
        sequences = plugin.window.start()
        if not sequences:
            return None
        return Started(plugin.generation, sequences)

    def first_keys(self, name: str) -> tuple[str, ...]:
        """The keys of what a plugin that runs one at a time runs now."""
        plugin = self._plugins.get(name)
        first = plugin.window.first() if plugin is not None else None
        return first.keys if first is not None else ()

    def ahead(self) -> list[str]:
        """The plugins that were handed what they have not begun."""
        return [name for name, plugin in self._plugins.items() if plugin.window.ahead]

    def unbegun(self, name: str, outcomes: Sequence[Outcome]) -> None:
        """Deliveries that were handed over come back, because their turn did not come."""
        plugin = self._plugins.get(name)
        if plugin is None:
            return
        plugin.window.put_back(plugin.window.finish_all(outcomes)[0])
        if self.draining:
            self._give_back(plugin)

    def returned(self, name: str, outcomes: Sequence[Outcome]) -> Closing:
        """Attempts succeeded."""
        plugin = self._plugins.get(name)
        if plugin is None or not outcomes:
            return Closing(late=outcomes)
        claims, late = plugin.window.finish_all(outcomes)
        if claims:
            self.settlements.closing += claims
            if plugin.window.free and (plugin.starved or plugin.brake.until):
                plugin.more = True
            plugin.brake.succeeded()
        return Closing(claims, late, plugin.more)

    def finished(self, name: str, outcome: Outcome, now: float) -> Verdicts | None:
        """An attempt did not succeed; None when it is not the running one, and its outcome counts for
        nothing.
        """
        plugin = self._plugins.get(name)
        claim = None if plugin is None else plugin.window.finish(outcome.delivery_id, outcome.token)
        if plugin is None or claim is None:
            return None
        error = storable(outcome.error or f"The callback {outcome.status.replace('_', ' ')}.")
        if outcome.status == "raised" and not outcome.transient:
            plugin.brake.succeeded()
            return self._parked(plugin, claim, error, outcome.error_id)
        if outcome.status == "died" and self.draining:
            return self._interrupted(claim)
        verdicts = self._failed(plugin, claim, error, outcome.error_id, now)
        if outcome.transient:
            return Verdicts(verdicts.settlement, plugin.brake.failed(now))
        return verdicts

    def _failed(
        self, plugin: _Plugin, claim: Claim, error: str, error_id: str | None, now: float
    ) -> Verdicts:
        """Try again later, or park when no attempt is left."""
        if claim.attempt >= self.settings.max_attempts:
            return self._parked(plugin, claim, error, error_id)
        delay_s = full_jitter(
            claim.attempt, self.settings.retry_delay_s, self.settings.retry_delay_cap_s, self.uniform
        )
        # What was claimed behind it may share its entities and must not overtake it: back to the journal,
        # which knows.
        self._give_back(plugin)
        settlement = Settlement(claim, Verdict.RETRY, delay_s=delay_s, error=error, error_id=error_id)
        self.settlements.others.append(settlement)
        plugin.wait_until(now + delay_s)
        return Verdicts(settlement)

    def _parked(self, plugin: _Plugin, claim: Claim, error: str, error_id: str | None) -> Verdicts:
        hold = self.settings.on_park == "hold"
        if hold:
            self._give_back(plugin)
        plugin.more = True
        settlement = Settlement(claim, Verdict.PARK, error=error, error_id=error_id, hold=hold)
        self.settlements.others.append(settlement)
        return Verdicts(settlement)

    def drain(self) -> None:
        """Start nothing more; give back what has not begun."""
        self.draining = True
        for plugin in self._plugins.values():
            self._give_back(plugin)

    def interrupt(self) -> int:
        """Give back what still runs, uncounted, because the daemon ends and not the plugin; returns how
        many.
        """
        count = 0
        for plugin in self._plugins.values():
            begun, unbegun = plugin.window.interrupt()
            self._release((*begun, *unbegun))
            count += len(begun)
        return count
