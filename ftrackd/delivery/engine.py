"""The engine: events in, deliveries out, outcomes in."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from ftrackd.delivery.classification import Classification, Lane
from ftrackd.delivery.dispatcher import Dispatcher
from ftrackd.delivery.intake import IntakePlanner, event_id_of
from ftrackd.delivery.interactive_dispatcher import InteractiveDispatcher
from ftrackd.delivery.journal import (
    DeadLetter,
    Journal,
    JournalStats,
    JournalTransaction,
    Replay,
    Replayed,
)
from ftrackd.delivery.loop_guard import Loop, LoopGuard
from ftrackd.delivery.ports import DeliveryListener, Health, Outcome, Recipient, Runner
from ftrackd.delivery.writer import Writer

if TYPE_CHECKING:
    from ftrackd.settings import DeliverySettings, PluginSettings

_log = structlog.stdlib.get_logger("ftrackd.delivery")
_REPLAY_LIMIT = 100_000


class Delivery:
    """Carries every event that was received to every plugin that had subscribed to it.

    Thread-safe: the hub's reader calls :meth:`receive`, the threads of the hosting :meth:`finished`.
    Durable events are written before they run, by one thread, many with one sync of the disk; interactive
    ones run from the caller's thread and meet no disk. The journal stays the caller's to close, after
    :meth:`stop`.

    Args:
        settings: limits of this room.
        plugins: settings of single plugins, by name.
        journal: where durable events wait.
        runner: runs deliveries in plugins.
        listener: hears what happens.
        own_names: user name and id by which events say that the daemon's user caused them, for the loop
            guard.
    """

    def __init__(
        self,
        settings: DeliverySettings,
        plugins: Mapping[str, PluginSettings],
        journal: Journal,
        runner: Runner,
        *,
        listener: DeliveryListener | None = None,
        own_names: Sequence[str] = (),
    ) -> None:
        self.journal = journal
        listener = listener or DeliveryListener()
        self._classification = Classification(
            settings.durable_topics, settings.interactive_topics, Lane(settings.other_topics)
        )
        guard = LoopGuard(own_names, settings.loop_limit_per_minute)
        self._dispatcher = Dispatcher(settings, IntakePlanner(settings, plugins), guard, runner, listener)
        self._writer = Writer(journal, self._dispatcher, settings, listener)
        self._interactive = InteractiveDispatcher(settings.interactive_expiry_s, runner, listener)

    def start(self) -> None:
        """Begin; events may be received before, deliveries run only afterwards."""
        self._writer.start()
        self._interactive.start()

    def lane(self, topic: str) -> Lane:
        """The lane that events of this topic take."""
        return self._classification.lane(topic)

    def receive(
        self, raw: bytes, event: Mapping[str, Any], recipients: Sequence[Recipient], *, replayed: bool = False
    ) -> Lane:
        """Take in an event from the hub; waits while more durable events came than the journal takes.

        Args:
            raw: the event as JSON bytes, as plugins will get it.
            event: the same, decoded. One without a topic is forgotten.
            recipients: every plugin with a subscription that matches it now. An event without any is
                forgotten.
            replayed: it is not from the live stream; plugins are told.

        Returns:
            The lane it takes; NONE when it was forgotten or had to be dropped.
        """
        topic = event.get("topic")
        if not isinstance(topic, str) or not recipients:
            return Lane.NONE
        lane = self._classification.lane(topic)
        if lane is Lane.NONE:
            return Lane.NONE
        if lane is Lane.INTERACTIVE:
            if replayed:
                return Lane.NONE
            self._interactive.receive(event_id_of(raw, event), topic, raw, recipients)
        elif not self._writer.receive(self._dispatcher.plan(raw, event, recipients, replayed=replayed)):
            return Lane.NONE
        return lane

    def hold(self, topic: str) -> None:
        """Keep live events of a topic back, in memory, until :meth:`release`."""
        self._writer.hold(topic)

    def held(self) -> list[bytes]:
        """The live events that are kept back, as JSON bytes."""
        return self._writer.held()

    def held_overflowed(self) -> bool:
        """Whether more came than can be kept back since this was last asked; they were dropped, all of
        them.
        """
        return self._writer.held_overflowed()

    def release(self) -> None:
        """Let the events go that were kept back."""
        self._writer.release()

    def flush(self) -> None:
        """Wait until everything that was received before is on disk.

        Raises:
            JournalError: when the journal does not take it within half a minute.
        """
        self._writer.perform(lambda _: None)

    def prove_progress(self) -> None:
        """Return once the journal has taken a transaction, however much waits for it.

        Raises:
            JournalError: when it has not within half a minute.
        """
        self._writer.perform(lambda _: None, at_once=True)

    def remember(self, name: str, value: str) -> None:
        """Keep a small text in the journal, to be had from ``journal.recall``."""
        self._writer.perform(lambda transaction: transaction.remember(name, value))

    def plugin_ready(self, plugin: str, concurrency: int) -> None:
        """A plugin has registered and takes deliveries, so many events at a time; also after each reload."""
        self._interactive.plugin_ready(plugin)
        self._dispatcher.plugin_ready(plugin, concurrency)

    def plugin_gone(self, plugin: str) -> None:
        """A plugin has no process that takes deliveries, or is not there any more; they wait for it.

        What it runs is not touched by this: every delivery that was passed to the runner gets its outcome by
        :meth:`finished`, those of a process that ended before this call.
        """
        self._interactive.plugin_gone(plugin)
        self._dispatcher.plugin_gone(plugin)

    def finished(self, plugin: str, *outcomes: Outcome) -> bool:
        """Attempts came to their end, and with one that failed what did not begin because of it.

        Returns:
            False when one of those deliveries is not running any more; its outcome changes nothing.
        """
        durable = [outcome for outcome in outcomes if outcome.delivery_id >= 0]
        is_known = self._dispatcher.finished(plugin, durable) if durable else True
        if len(durable) < len(outcomes):
            for outcome in outcomes:
                if outcome.delivery_id < 0:
                    is_known &= self._interactive.finished(plugin, outcome)
        return is_known

    def drain(self, deadline_s: float) -> bool:
        """Start nothing more, and wait for what runs and for the disk.

        What is received meanwhile is still stored, for the next start.

        Returns:
            Whether everything that ran came to its end in time.
        """
        self._dispatcher.drain()
        deadline = time.monotonic() + deadline_s
        while self._dispatcher.running or self._interactive.running or not self._writer.idle():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True

    def stop(self, deadline_s: float = 5.0) -> None:
        """End at once: what still runs is given back to the journal, uncounted; what waits for the disk is
        written.
        """
        self._dispatcher.drain()
        interrupted = self._dispatcher.interrupt()
        if interrupted:
            _log.warning("deliveries interrupted by the end of the daemon, they run again", count=interrupted)
        self._interactive.stop()
        self._writer.stop(deadline_s)

    @property
    def health(self) -> Health:
        """Whether durable events are safe."""
        return self._writer.health

    @property
    def running(self) -> int:
        """How many durable deliveries run now."""
        return self._dispatcher.running

    def loops(self) -> list[Loop]:
        """Plugins that trigger themselves now, with the entities they do it with."""
        return self._dispatcher.loops()

    def stats(self) -> JournalStats:
        """Counts over the journal."""
        return self.journal.stats()

    def dead_letters(self, plugin: str | None = None, limit: int = 1000) -> list[DeadLetter]:
        """Parked deliveries, newest first."""
        return self.journal.dead_letters(plugin, limit)

    def dead_ids(self, plugin: str | None = None) -> list[int]:
        """The ids of all parked deliveries, oldest first."""
        return self.journal.dead_ids(plugin)

    def dead_letter(self, delivery_id: int) -> DeadLetter:
        """One parked delivery.

        Raises:
            UnknownDeliveryError: when no dead letter has this id.
        """
        return self.journal.dead_letter(delivery_id)

    def retry_dead(self, delivery_ids: Sequence[int]) -> int:
        """Offer dead letters again, with all their attempts; returns how many there were."""
        return self._writer.perform(lambda transaction: transaction.revive(delivery_ids))

    def drop_dead(self, delivery_ids: Sequence[int]) -> int:
        """Close dead letters for good; returns how many there were."""
        return self._writer.perform(lambda transaction: transaction.drop(delivery_ids))

    def forget(self, plugin: str) -> int:
        """Close what waits for a plugin that will not come back; returns how many deliveries that were."""
        return self._writer.perform(lambda transaction: transaction.forget(plugin))

    def replay(
        self,
        what: Replay,
        *,
        hosted: Iterable[str] | None = None,
        dry_run: bool = False,
        limit: int = _REPLAY_LIMIT,
    ) -> list[Replayed]:
        """Deliver stored events again, marked replayed, behind everything that waits; or only say which.

        Args:
            hosted: the plugins that get them when ``what`` names none; None: all that once got them.

        Returns:
            The deliveries that were, or would be, made.
        """
        if what.plugin is not None or hosted is None:
            return self._writer.perform(lambda transaction: transaction.replay(what, limit, dry_run))
        each = [replace(what, plugin=plugin) for plugin in hosted]

        def replay_each(transaction: JournalTransaction) -> list[Replayed]:
            made: list[Replayed] = []
            for what_of_one in each:
                made += transaction.replay(what_of_one, limit - len(made), dry_run)
            return sorted(made, key=lambda one: one.received_at)

        return self._writer.perform(replay_each)
