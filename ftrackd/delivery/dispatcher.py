"""The event lane's shell: its lock, its clock, and the handing over."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import structlog

from ftrackd.delivery.event_lane import EventLane, Outlook, Verdicts, Wanted
from ftrackd.delivery.failpoints import failpoint
from ftrackd.delivery.intake import Intake, IntakePlanner
from ftrackd.delivery.journal import Claim
from ftrackd.delivery.loop_guard import Loop, LoopGuard
from ftrackd.delivery.notification import notify
from ftrackd.delivery.ports import DeliveryListener, Outcome, Recipient, Runner
from ftrackd.delivery.settlement import Settlements, Verdict

if TYPE_CHECKING:
    from ftrackd.settings import DeliverySettings

_log = structlog.stdlib.get_logger("ftrackd.delivery")


class _HandingOver(threading.local):
    """The plugins that this thread has still to serve; None while it serves none."""

    pending: deque[str] | None = None


class Dispatcher:
    """Starts durable deliveries and takes their outcomes; thread-safe.

    Args:
        settings: limits of this room.
        planner: turns events into deliveries.
        guard: recognises loops.
        runner: runs deliveries in plugins.
        listener: hears what happens.
    """

    def __init__(
        self,
        settings: DeliverySettings,
        planner: IntakePlanner,
        guard: LoopGuard,
        runner: Runner,
        listener: DeliveryListener,
    ) -> None:
        self._lock = threading.Lock()  # guards _lane and _guard
        self._lane = EventLane(settings)
        self._planner = planner
        self._guard = guard
        self._runner = runner
        self._listener = listener
        self._handing_over = _HandingOver()
        self.wake: Callable[[], None] = lambda: None  # set by the writer: there is something to write
        self.wake_soon: Callable[[], None] = lambda: None  # and it can wait a moment for more

    def plugin_ready(self, plugin: str, concurrency: int) -> None:
        """A plugin takes deliveries from now on."""
        with self._lock:
            self._lane.plugin_ready(plugin, concurrency)
        self.wake()

    def plugin_gone(self, plugin: str) -> None:
        """A plugin takes nothing more."""
        with self._lock:
            self._lane.plugin_gone(plugin)
        self.wake()

    def finished(self, plugin: str, outcomes: Sequence[Outcome]) -> bool:
        """Attempts came to their end, together; False when an outcome counts for nothing."""
        failpoint("outcome.received")
        returned = [outcome for outcome in outcomes if outcome.status == "returned"]
        unbegun: list[Outcome] = []
        failed: list[Outcome] = []
        if len(returned) < len(outcomes):
            unbegun = [outcome for outcome in outcomes if outcome.status == "unbegun"]
            failed = [outcome for outcome in outcomes if outcome.status not in ("returned", "unbegun")]
        with self._lock:
            now = time.monotonic()
            # What did not begin first: a failure gives it back to the journal with all else that waits.
            if unbegun:
                self._lane.unbegun(plugin, unbegun)
            closing = self._lane.returned(plugin, returned)
            verdicts = [self._lane.finished(plugin, outcome, now) for outcome in failed]
            claims = [*closing.claims, *(found.settlement.claim for found in verdicts if found is not None)]
            handled = chain.from_iterable([claim.keys for claim in claims])
            self._guard.handling(plugin, {*handled, *self._lane.first_keys(plugin)}, now)
        self._report_late(plugin, [*closing.late, *_without_verdict(failed, verdicts)])
        for found in verdicts:
            if found is not None:
                self._tell(found)
        failpoint("outcome.after")
        self.hand_over([plugin])
        if unbegun or closing.urgent or any(verdicts):
            self.wake()
        elif claims:
            self.wake_soon()
        return len(claims) == len(returned) + len(failed)

    def _report_late(self, plugin: str, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            _log.warning(
                "outcome came too late", plugin=plugin, delivery=outcome.delivery_id, status=outcome.status
            )

    def _tell(self, verdicts: Verdicts) -> None:
        """Report an attempt that failed; success is reported when it is on disk."""
        settlement = verdicts.settlement
        claim = settlement.claim
        if settlement.verdict is Verdict.RETRY:
            notify(
                self._listener.retrying,
                claim.plugin,
                claim.event_id,
                claim.attempt,
                settlement.delay_s,
                settlement.error,
            )
        if verdicts.pause_s is not None:
            notify(self._listener.paused, claim.plugin, verdicts.pause_s)

    def plan(
        self, raw: bytes, event: Mapping[str, Any], recipients: Sequence[Recipient], *, replayed: bool
    ) -> Intake:
        """An event as the journal takes it."""
        with self._lock:
            return self._planner.plan(
                raw, event, recipients, self._guard, time.monotonic(), replayed=replayed
            )

    def loops(self) -> list[Loop]:
        """The loops that turn now."""
        with self._lock:
            return self._guard.loops(time.monotonic())

    def appended(self, intakes: Sequence[Intake]) -> None:
        """The deliveries of events are in the transaction."""
        # Once for each plugin, as a rule, and not once for each delivery.
        arrivals = {(new.plugins, new.due_in_s) for intake in intakes for new in intake.deliveries}
        now = time.monotonic()
        with self._lock:
            for plugins, due_in_s in arrivals:
                for plugin in plugins:
                    self._lane.appended(plugin, due_in_s, now)

    def offered_everywhere(self) -> None:
        """Deliveries of any plugin may be claimed again."""
        with self._lock:
            self._lane.look_again()

    def take_settlements(self, limit: int | None = None) -> Settlements:
        """What is to be written about claims; with a limit, so much of it, before nothing is claimed."""
        with self._lock:
            return self._lane.take_settlements(limit)

    def put_back(self, settlements: Settlements) -> None:
        """What could not be written, nor claimed; it stays before what came meanwhile."""
        with self._lock:
            self._lane.settlements.put_back(settlements)
            self._lane.look_again()

    def wanted(self) -> list[Wanted]:
        """The claims to make now."""
        with self._lock:
            return self._lane.wanted(time.monotonic())

    def next_wake(self) -> float | None:
        """When there may be something to claim without anything else happening; seconds of the monotonic
        clock.
        """
        with self._lock:
            return self._lane.next_wake(time.monotonic())

    def claimed(self, wanted: Wanted, claims: list[Claim], outlook: Outlook) -> None:
        """What a claim brought, once it is committed."""
        with self._lock:
            self._lane.claimed(wanted, claims, outlook, time.monotonic())

    def hand_over(self, plugins: Sequence[str]) -> None:
        """Start what these plugins may start.

        A runner that reports an outcome before it returns comes back here; that is served by the call
        already under way, so that a long backlog cannot exhaust the stack.
        """
        pending = self._handing_over.pending
        if pending is not None:
            pending.extend(plugins)
            return
        self._handing_over.pending = pending = deque(plugins)
        try:
            while pending:
                self._start(pending.popleft())
        finally:
            self._handing_over.pending = None

    def _start(self, plugin: str) -> None:
        with self._lock:
            started = self._lane.start(plugin)
            if started is None:
                return
            now = time.monotonic()
            for sequence in started.sequences:
                self._guard.handling(plugin, sequence[0].keys, now)
        for position, sequence in enumerate(started.sequences):
            failpoint("handover.before")
            if not self._run(plugin, sequence):
                rest = [claim for later in started.sequences[position:] for claim in later]
                with self._lock:
                    self._lane.unreached(plugin, rest, started.generation)
                self.wake()
                return
            failpoint("handover.after")

    def _run(self, plugin: str, sequence: list[Claim]) -> bool:
        try:
            self._runner.run(plugin, sequence)
        except Exception as error:  # noqa: BLE001 - contains the runner: whatever its fault, the delivery is kept
            _log.warning(
                "plugin could not be reached", plugin=plugin, event_id=sequence[0].event_id, error=str(error)
            )
            return False
        return True

    def drain(self) -> None:
        """Start nothing more; what was handed over and has not begun comes back."""
        with self._lock:
            self._lane.drain()
            plugins = self._lane.ahead()
        for plugin in plugins:
            self._recall(plugin)
        self.wake()

    def _recall(self, plugin: str) -> None:
        try:
            self._runner.recall(plugin)
        except Exception as error:  # noqa: BLE001 - contains the runner: what it keeps is given back at the end
            _log.warning("plugin could not be reached", plugin=plugin, error=str(error))

    def interrupt(self) -> int:
        """Give back what still runs, because the daemon ends; returns how many deliveries that are."""
        with self._lock:
            return self._lane.interrupt()

    @property
    def running(self) -> int:
        """How many deliveries run."""
        with self._lock:
            return self._lane.running

    @property
    def unwritten(self) -> int:
        """How many settlements wait to be written."""
        with self._lock:
            return len(self._lane.settlements)


def _without_verdict(outcomes: Sequence[Outcome], verdicts: Sequence[Verdicts | None]) -> list[Outcome]:
    return [outcome for outcome, found in zip(outcomes, verdicts, strict=True) if found is None]
