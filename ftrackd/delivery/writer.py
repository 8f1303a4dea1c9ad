"""The one thread that writes to the journal: many changes with one sync of the disk."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from ftrackd.delivery.dispatcher import Dispatcher
from ftrackd.delivery.errors import DeliveryError, JournalCorruptError, JournalError
from ftrackd.delivery.event_lane import Outlook, Wanted
from ftrackd.delivery.failpoints import failpoint
from ftrackd.delivery.intake import Intake
from ftrackd.delivery.journal import Appended, Claim, Journal, JournalTransaction, Reclaimed
from ftrackd.delivery.maintenance import Maintenance
from ftrackd.delivery.notification import notify
from ftrackd.delivery.ports import DeliveryListener, Health
from ftrackd.delivery.settlement import Settlements, Verdict

if TYPE_CHECKING:
    from ftrackd.settings import DeliverySettings

_log = structlog.stdlib.get_logger("ftrackd.delivery")
_T = TypeVar("_T")
_INTAKES_AT_ONCE: Final = 256
_MOMENT_S: Final = 0.005
_LONGEST_WAIT_S: Final = 1.0  # also the pace at which another owner's changes are noticed
_FIRST_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Request:
    """Something that an operator wants done in a transaction, once so many events were written."""

    work: Callable[[JournalTransaction], Any]
    after: int
    answer: Future[Any]


@dataclass(slots=True)
class _Batch:
    """What one transaction does, and what came of it; ``alone``: one thing, and nothing else may fail."""

    settlements: Settlements
    intakes: list[Intake]
    requests: list[_Request]
    alone: bool = False
    lost_leases: list[Claim] = field(default_factory=list)
    appended: list[tuple[Intake, Appended]] = field(default_factory=list)
    answers: list[tuple[_Request, Any]] = field(default_factory=list)
    reclaimed: list[Reclaimed] = field(default_factory=list)
    claimed: list[tuple[Wanted, list[Claim], Outlook]] = field(default_factory=list)


class Writer:
    """Writes what was received, what came of it and what operators want; claims, and starts what was claimed.

    Whoever brings events faster than the journal takes them waits. When the journal fails, nothing is given
    up: events and outcomes stay in memory and are written when it works again. Only when it does not work
    and more events wait than the settings allow are further ones dropped, and counted.

    Args:
        journal: where it writes.
        dispatcher: starts deliveries.
        settings: limits of this room.
        listener: hears what happens.
    """

    def __init__(
        self, journal: Journal, dispatcher: Dispatcher, settings: DeliverySettings, listener: DeliveryListener
    ) -> None:
        self._journal = journal
        self._dispatcher = dispatcher
        self._settings = settings
        self._listener = listener
        self._owner = uuid.uuid4().hex[:12]  # stands in each row that is claimed
        lock = threading.Lock()  # guards everything down to _health
        self._condition = threading.Condition(lock)  # the writer waits for work
        self._room = threading.Condition(lock)  # whoever receives waits for room among the intakes
        self._receivers = 0  # how many do
        self._intakes: deque[Intake] = deque()
        self._received = 0  # events that ever came to the intakes
        self._taken = 0  # those of them that a transaction took
        self._in_hand = 0  # those of them that the one under way took
        self._requests: deque[_Request] = deque()
        self._held_topic: str | None = None
        self._held: deque[Intake] = deque()
        self._held_overflowed = False
        self._soon_at: float | None = None
        self._awake = True
        self._stopping = False
        self._busy = False
        self._suspects = 0  # the first so many settlements are written one by one, then so many intakes
        self._suspect_intakes = 0
        self._health = Health()
        self._maintenance = Maintenance(settings, self._owner)
        self._retry_s = _FIRST_RETRY_S
        self._thread = threading.Thread(target=self._run, name="ftrackd-delivery-writer", daemon=True)
        dispatcher.wake, dispatcher.wake_soon = self.wake, self.wake_soon

    @property
    def health(self) -> Health:
        """Whether durable events are safe."""
        with self._condition:
            return Health(self._health.degraded, self._waiting(), self._health.lost)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to write or to claim."""
        if self._awake:
            return  # it has not begun yet, and will find what the caller brought
        with self._condition:
            self._awake = True
            self._condition.notify()

    def wake_soon(self) -> None:
        """There is something to write that can wait a moment for more, so that one sync serves many."""
        if self._awake or self._soon_at is not None:
            return
        with self._condition:
            self._soon_at = time.monotonic() + _MOMENT_S
            self._condition.notify()

    def receive(self, intake: Intake) -> bool:
        """Take an event in; waits for room while the journal works. Not for the writer's own thread.

        Returns:
            Whether it was taken. It is dropped, and counted, when there is no room and the journal does not
            work, or the end has come.
        """
        failpoint("intake.received")
        with self._condition:
            self._await_room(intake)
            if self._is_held(intake):
                self._hold(intake)
                return True
            if self._has_room():
                self._intakes.append(intake)
                self._received += 1
                self._awake = True
                self._condition.notify()
                return True
            self._health = Health(self._health.degraded, self._waiting(), self._health.lost + 1)
            health = self._health
        if (
            health.lost & (health.lost - 1) == 0
        ):  # the 1st, 2nd, 4th, 8th ...: a flood must not become one of lines
            _log.error(
                "event dropped, too many wait for the journal", event_id=intake.event.id, lost=health.lost
            )
            notify(self._listener.health_changed, health)
        return False

    def _await_room(self, intake: Intake) -> None:
        """Wait until something can be done with the event; with room, the rule, that is at once."""

        def is_decided() -> bool:
            is_writing = self._health.degraded is None and not self._stopping
            return self._has_room() or not is_writing or self._is_held(intake)

        if not is_decided():
            self._receivers += 1
            self._room.wait_for(is_decided)
            self._receivers -= 1

    def _has_room(self) -> bool:
        return self._waiting() < self._settings.intake_limit

    def _waiting(self) -> int:
        return len(self._intakes) + self._in_hand

    def _let_go(self) -> None:
        """Nothing is under way any more."""
        self._in_hand = 0
        if self._receivers:
            self._room.notify_all()

    def _is_held(self, intake: Intake) -> bool:
        return intake.event.topic == self._held_topic and not intake.event.replayed

    def _hold(self, intake: Intake) -> None:
        if len(self._held) >= self._settings.intake_limit:
            # They can be had from where the older ones are being read; a part of them would be out of order.
            self._held.clear()
            self._held_overflowed = True
        else:
            self._held.append(intake)

    def hold(self, topic: str) -> None:
        """Keep live events of a topic back until :meth:`release`."""
        with self._condition:
            self._held_topic = topic
            self._room.notify_all()  # one that waits for room is kept back, too

    def held(self) -> list[bytes]:
        """The live events that are kept back."""
        with self._condition:
            return [intake.event.payload for intake in self._held]

    def held_overflowed(self) -> bool:
        """Whether more came than can be kept back since this was last asked; all of them were dropped."""
        with self._condition:
            overflowed, self._held_overflowed = self._held_overflowed, False
            return overflowed

    def release(self) -> None:
        """Let the events go that were kept back, behind everything that was received before."""
        with self._condition:
            self._held_topic = None
            self._intakes.extend(self._held)
            self._received += len(self._held)
            self._held.clear()
            self._awake = True
            self._condition.notify()

    def perform(
        self, work: Callable[[JournalTransaction], _T], timeout_s: float = 30.0, *, at_once: bool = False
    ) -> _T:
        """Do something in a transaction and return what it returns once that is committed.

        It finds everything that was received before; ``at_once``: what the next transaction finds is enough.

        Raises:
            DeliveryError: what the work raised, or that the journal did not take it within the time.
        """
        answer: Future[_T] = Future()
        with self._condition:
            if self._stopping:
                raise DeliveryError("The delivery of events has been stopped.")
            if at_once:
                self._requests.appendleft(_Request(work, 0, answer))
            else:
                self._requests.append(_Request(work, self._received, answer))
            self._awake = True
            self._condition.notify()
        try:
            return answer.result(timeout_s)
        except TimeoutError as error:
            answer.cancel()
            reason = self.health.degraded or f"{self.health.waiting} events wait before it"
            raise JournalError(f"The journal did not take this within {timeout_s:g} s: {reason}") from error

    def idle(self) -> bool:
        """Whether nothing waits to be written."""
        with self._condition:
            waiting = self._receivers or self._intakes or self._requests or self._busy
            return not (waiting or self._dispatcher.unwritten)

    def stop(self, deadline_s: float) -> None:
        """Write what waits and end; gives up after the deadline when the journal does not work."""
        with self._condition:
            self._stopping = True
            self._awake = True
            self._condition.notify()
            self._room.notify_all()
        self._thread.join(deadline_s)
        waiting, outcomes = self.health.waiting, self._dispatcher.unwritten
        if waiting or outcomes:
            _log.error("journal did not take everything before the end", events=waiting, outcomes=outcomes)

    def _run(self) -> None:
        while self._wait():
            try:
                self._cycle()
            except Exception:  # noqa: BLE001 - the last net under this thread, without which nothing is delivered
                _log.exception("delivery writer failed after a commit, it goes on")

    def _wait(self) -> bool:
        """Wait for something to do; False when it is time to end."""
        now = time.monotonic()
        wake_at = min(
            self._maintenance.next_at,
            self._dispatcher.next_wake() or now + _LONGEST_WAIT_S,
            now + _LONGEST_WAIT_S,
        )
        if self.health.degraded is not None:
            # Whatever comes now cannot be written anyway; try at a calm pace.
            with self._condition:
                self._condition.wait_for(lambda: self._stopping, self._retry_s)
                return not self._stopping
        with self._condition:
            while (
                not self._awake and (left_s := min(wake_at, self._soon_at or wake_at) - time.monotonic()) > 0
            ):
                self._condition.wait(left_s)
            self._awake, self._soon_at = False, None
            if self._stopping:
                return bool(self._intakes or self._requests or self._dispatcher.unwritten)
            return True

    def _cycle(self) -> None:
        batch = self._take()
        try:
            with self._journal.transaction() as transaction:
                self._write(batch, transaction)
        except JournalError as error:
            self._put_back(batch)
            self._failed(error)
            return
        except Exception as error:  # noqa: BLE001 - a fault of our own: it may cost one event, not this thread
            _log.exception("delivery writer failed, it goes on")
            self._isolate(batch, error)
            return
        self._worked()
        self._committed(batch)

    def _take(self) -> _Batch:
        if self._suspects:
            self._suspects -= 1
            return self._taken_alone(self._dispatcher.take_settlements(1), 0)
        if self._suspect_intakes:
            self._suspect_intakes -= 1
            return self._taken_alone(Settlements(), 1)
        with self._condition:
            intakes = self._take_intakes(_INTAKES_AT_ONCE)
            requests: list[_Request] = []
            # Each finds everything that was received before it; what comes after does not keep it waiting.
            while self._requests and self._requests[0].after <= self._taken:
                requests.append(self._requests.popleft())
            self._awake |= bool(self._intakes)
        return _Batch(self._dispatcher.take_settlements(), intakes, requests)

    def _taken_alone(self, settlements: Settlements, intakes: int) -> _Batch:
        with self._condition:
            self._awake = True
            return _Batch(settlements, self._take_intakes(intakes), [], alone=True)

    def _take_intakes(self, limit: int) -> list[Intake]:
        self._busy = True
        intakes = list(islice(self._intakes, limit))
        for _ in intakes:
            self._intakes.popleft()
        self._in_hand = len(intakes)
        self._taken += len(intakes)
        return intakes

    def _put_back(self, batch: _Batch) -> None:
        self._dispatcher.put_back(batch.settlements)
        with self._condition:
            self._intakes.extendleft(reversed(batch.intakes))
            self._taken -= len(batch.intakes)
            self._let_go()
            self._requests.extendleft(reversed(batch.requests))
            self._busy = False

    def _isolate(self, batch: _Batch, error: Exception) -> None:
        """Something in a batch cannot be written at all: go on one by one, and give up what fails alone."""
        for request in batch.requests:
            _answer(request, DeliveryError("The request failed; the log tells why."))
        batch.requests.clear()
        if batch.alone:
            self._give_up(batch, error)
        else:
            self._suspects, self._suspect_intakes = len(batch.settlements), len(batch.intakes)
        self._put_back(batch)

    def _give_up(self, batch: _Batch, error: Exception) -> None:
        for settled in batch.settlements.others:
            shorter = settled.without_text(type(error).__name__)
            if shorter is not None:
                batch.settlements.others[:] = [shorter]
                self._suspects += 1
                return
        given_up = [*batch.settlements.closing, *(settled.claim for settled in batch.settlements.others)]
        for claim in given_up:
            _log.error("outcome given up, its delivery runs again at the next start", event_id=claim.event_id)
        batch.settlements = Settlements()
        for intake in batch.intakes:
            _log.error("event given up, it cannot be stored", event_id=intake.event.id)
            with self._condition:
                self._health = Health(self._health.degraded, self._waiting(), self._health.lost + 1)
        batch.intakes.clear()

    def _write(self, batch: _Batch, transaction: JournalTransaction) -> None:
        if batch.settlements:
            failpoint("settle.before")
            batch.lost_leases = batch.settlements.apply(transaction)
            failpoint("settle.after")
        if batch.intakes:
            failpoint("append.before")
            appended = transaction.append_all([(intake.event, intake.deliveries) for intake in batch.intakes])
            batch.appended = list(zip(batch.intakes, appended, strict=True))
            self._dispatcher.appended([intake for intake, appended in batch.appended if appended.stored])
            failpoint("append.after")
        if batch.alone:
            return
        for request in batch.requests:
            if request.answer.cancelled():
                continue  # whoever asked was told that it was not done
            batch.answers.append((request, _perform(request, transaction)))
            self._dispatcher.offered_everywhere()
        self._maintain(batch, transaction)
        for wanted in self._dispatcher.wanted():
            claims = transaction.claim(
                wanted.plugin, self._owner, wanted.limit, wanted.ready, self._settings.lease_s
            )
            outlook = Outlook()
            if len(claims) < wanted.limit:
                outlook = Outlook(transaction.is_ready(wanted.plugin), transaction.next_due_s(wanted.plugin))
            batch.claimed.append((wanted, claims, outlook))
        if batch.claimed:
            failpoint("claim.after")

    def _maintain(self, batch: _Batch, transaction: JournalTransaction) -> None:
        now = time.monotonic()
        if now >= self._maintenance.next_at:
            batch.reclaimed = self._maintenance.perform(transaction, now)
            # Another owner of this journal may have left something; and a wish for work that got lost, by a
            # fault in here, must not be lost for ever.
            self._dispatcher.offered_everywhere()

    def _committed(self, batch: _Batch) -> None:
        for wanted, claims, outlook in batch.claimed:
            self._dispatcher.claimed(wanted, claims, outlook)
        self._dispatcher.hand_over([wanted.plugin for wanted, claims, _ in batch.claimed if claims])
        with self._condition:
            self._busy = False
        for request, answer in batch.answers:
            _answer(request, answer)
        self._report(batch)

    def _report(self, batch: _Batch) -> None:
        listener = self._listener
        for intake, appended in batch.appended:
            if not appended.stored:
                notify(listener.duplicate, intake.event.id)
                continue
            notify(listener.stored, intake.event.id, intake.plugins)
            if appended.coalesced:
                for plugin, count in Counter(appended.coalesced).items():
                    notify(listener.coalesced, plugin, intake.event.id, count)
            for loop in intake.loops:
                notify(listener.looping, loop.plugin, loop.entity_id, loop.count, loop.delay_s)
        self._report_settlements(batch)
        for reclaimed in batch.reclaimed:
            self._report_reclaimed(reclaimed)

    def _report_settlements(self, batch: _Batch) -> None:
        for claim in batch.lost_leases:
            _log.warning(
                "lease was lost, the delivery runs again", plugin=claim.plugin, event_id=claim.event_id
            )
        lost = {claim.token for claim in batch.lost_leases}
        closed = batch.settlements.closing
        if lost:
            closed = [claim for claim in closed if claim.token not in lost]
        if closed:
            notify(self._listener.closed, closed)
        for claim, verdict, _, error, *_ in batch.settlements.others:
            if verdict is Verdict.PARK and claim.token not in lost:
                notify(self._listener.parked, claim.plugin, claim.event_id, claim.delivery_id, error)

    def _report_reclaimed(self, reclaimed: Reclaimed) -> None:
        if not reclaimed.parked:
            return
        error = "The process that ran it ended without an outcome, each time."
        notify(self._listener.parked, reclaimed.plugin, reclaimed.event_id, reclaimed.delivery_id, error)

    def _failed(self, error: JournalError) -> None:
        """The journal does not work: say so once, and calm down."""
        if isinstance(error, JournalCorruptError):
            self._repair(error)
        with self._condition:
            known = self._health.degraded
            self._health = Health(str(error), self._waiting(), self._health.lost)
            health = self._health
            self._room.notify_all()
        self._retry_s = min(_LONGEST_RETRY_S, self._retry_s * 2)
        if known != health.degraded:
            notify(self._listener.health_changed, health)

    def _repair(self, error: JournalCorruptError) -> None:
        try:
            self._journal.repair(str(error))
        except JournalError as further:
            _log.error("damaged journal could not be replaced", reason=str(further))

    def _worked(self) -> None:
        """The journal took a transaction."""
        self._retry_s = _FIRST_RETRY_S
        with self._condition:
            self._let_go()
            if self._health.degraded is None:
                return
            self._health = health = Health(None, self._waiting(), self._health.lost)
        notify(self._listener.health_changed, health)


def _answer(request: _Request, answer: Any) -> None:
    """Give the answer to whoever asked, unless that gave up waiting."""
    with contextlib.suppress(InvalidStateError):
        if isinstance(answer, DeliveryError):
            request.answer.set_exception(answer)
        else:
            request.answer.set_result(answer)


def _perform(request: _Request, transaction: JournalTransaction) -> Any:
    """What a request returns, or its error when the request itself is at fault."""
    try:
        return request.work(transaction)
    except JournalError:
        raise
    except DeliveryError as error:
        return error
