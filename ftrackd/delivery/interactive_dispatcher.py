"""The interactive lane's shell: its lock, its clock, its expiry and the handing over."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

import structlog

from ftrackd.delivery.interactive import InteractiveLane, Missed, Step
from ftrackd.delivery.notification import notify
from ftrackd.delivery.ports import DeliveryListener, Handover, Outcome, Recipient, Runner

_log = structlog.stdlib.get_logger("ftrackd.delivery")


class InteractiveDispatcher:
    """Runs interactive events at once, from the thread that brings them; thread-safe.

    Args:
        expiry_s: age at which an event is dropped.
        runner: runs deliveries in plugins.
        listener: hears of answers that will not come.
    """

    def __init__(self, expiry_s: float, runner: Runner, listener: DeliveryListener) -> None:
        self._condition = threading.Condition()  # guards everything below
        self._lane = InteractiveLane(expiry_s)
        self._stopping = False
        self._runner = runner
        self._listener = listener
        self._thread = threading.Thread(target=self._expire, name="ftrackd-delivery-expiry", daemon=True)

    def start(self) -> None:
        """Begin to expire events."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is on its way is forgotten."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def running(self) -> int:
        """How many deliveries run."""
        with self._condition:
            return self._lane.running

    def receive(self, event_id: str, topic: str, raw: bytes, recipients: Sequence[Recipient]) -> None:
        """Take in an event."""
        with self._condition:
            step = self._lane.receive(event_id, topic, raw, recipients, time.time())
            if self._lane.pending == 1:
                self._condition.notify()  # the expiry thread slept without a time to wake up
        self._follow(step)

    def plugin_ready(self, plugin: str) -> None:
        """A plugin takes events from now on."""
        with self._condition:
            step = self._lane.plugin_ready(plugin, time.time())
        self._follow(step)

    def plugin_gone(self, plugin: str) -> None:
        """A plugin takes nothing more."""
        with self._condition:
            self._lane.plugin_gone(plugin)

    def finished(self, plugin: str, outcome: Outcome) -> bool:
        """A plugin came to an end with an event; False when it had expired."""
        with self._condition:
            raw = self._lane.event_of(outcome.delivery_id)
            step = self._lane.finished(outcome.delivery_id, outcome.stopped)
        if raw is None:
            return False
        if outcome.status != "returned":
            notify(self._listener.interactive_ended, plugin, raw, outcome.status, outcome.error_id)
        self._follow(step)
        return True

    def _follow(self, step: Step) -> None:
        todo: deque[tuple[str, Handover]] = deque(step.run)
        for missed in step.missed:
            notify(self._listener.interactive_ended, missed.plugin, missed.raw, "expired", None)
        while todo:
            plugin, handover = todo.popleft()
            with self._condition:
                readiness = self._lane.readiness(plugin)
            try:
                self._runner.run(plugin, [handover])
            except Exception as error:  # noqa: BLE001 - contains the runner: other plugins still get the event
                _log.warning(
                    "plugin could not be reached", plugin=plugin, event_id=handover.event_id, error=str(error)
                )
                with self._condition:
                    todo += self._lane.unreached(plugin, handover, readiness).run

    def _expire(self) -> None:
        with self._condition:
            while not self._stopping:
                expiry = self._lane.next_expiry()
                self._condition.wait(None if expiry is None else max(0.0, expiry - time.time()))
                step = self._lane.expire(time.time())
                if step.missed:
                    self._condition.release()
                    try:
                        _report_expired(step.missed)
                        self._follow(step)
                    finally:
                        self._condition.acquire()


def _report_expired(missed: list[Missed]) -> None:
    for item in missed:
        _log.warning("interactive event expired unanswered", plugin=item.plugin, event_id=item.event_id)
