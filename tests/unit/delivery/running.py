"""A running engine for tests: a runner that a test controls, and waiting with a deadline."""

import json
import threading
import time
from collections.abc import Callable

from ftrackd.delivery import Delivery, DeliveryListener, Handover, MemoryJournal, Recipient
from ftrackd.delivery.errors import JournalError
from ftrackd.settings import DeliverySettings
from tests.contract.outcome import Ended


def eventually(condition: Callable[[], object], what: str = "", within_s: float = 30.0) -> None:
    """Wait until the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what or condition}"
        time.sleep(0.002)


def update(number, *entities, user="artist", topic="ftrack.update", **changes):
    """An ftrack.update of these entities, raw and decoded."""
    event = {
        "id": f"e{number}",
        "topic": topic,
        "source": {"user": {"username": user}},
        "data": {
            "entities": [
                {
                    "entityId": entity,
                    "action": "update",
                    "changes": {key: {"old": None, "new": value} for key, value in changes.items()},
                }
                for entity in entities
            ]
        },
    }
    return json.dumps(event).encode(), event


class ControlledRunner:
    """Plugins as a test says they are: a delivery begins when its turn comes and ends when the test says how.

    ``given``: what began. ``ahead``: what was handed over with it and did not begin yet. ``automatic`` ends
    everything as returned, at once.
    """

    def __init__(self, *, automatic=False):
        self.given: list[tuple[str, Handover]] = []
        self.ahead: dict[int, list[Handover]] = {}
        self.delivery: Delivery | None = None
        self.automatic = automatic
        self.unreachable: set[str] = set()
        self.lock = threading.Lock()

    def run(self, plugin, deliveries):
        if plugin in self.unreachable:
            raise ConnectionError(f"{plugin} is not there")
        if self.automatic:
            with self.lock:
                self.given += [(plugin, delivery) for delivery in deliveries]
            self.delivery.finished(plugin, *(Ended(one.delivery_id, one.token) for one in deliveries))
        else:
            self._begin(plugin, list(deliveries))

    def recall(self, plugin):
        with self.lock:
            unbegun = [one for _, begun in self.given for one in self.ahead.pop(begun.delivery_id, ())]
        if unbegun:
            self.delivery.finished(plugin, *(Ended(one.delivery_id, one.token, "unbegun") for one in unbegun))

    def _begin(self, plugin, deliveries):
        with self.lock:
            self.given.append((plugin, deliveries[0]))
            self.ahead[deliveries[0].delivery_id] = deliveries[1:]

    def events(self, plugin="p"):
        with self.lock:
            return [delivery.event_id for name, delivery in self.given if name == plugin]

    def last(self, plugin="p"):
        with self.lock:
            return [delivery for name, delivery in self.given if name == plugin][-1]

    def finish(self, plugin="p", status="returned", delivery=None, **fields):
        delivery = delivery or self.last(plugin)
        with self.lock:
            rest = self.ahead.pop(delivery.delivery_id, [])
        is_known = self.delivery.finished(
            plugin,
            Ended(delivery.delivery_id, delivery.token, status, **fields),
            *(Ended(one.delivery_id, one.token, "unbegun") for one in rest if status != "returned"),
        )
        if rest and is_known and status == "returned":
            self.run(plugin, rest)
        return is_known


class BreakableJournal(MemoryJournal):
    """A journal that cannot be written while a test says so."""

    is_broken = False

    def transaction(self):
        if self.is_broken:
            raise JournalError("the disk is full")
        return super().transaction()


class RecordingListener(DeliveryListener):
    """Remembers each call as (method, arguments)."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name in ("calls", "named", "__class__") or name.startswith("__"):
            return super().__getattribute__(name)

        def record(*arguments):
            self.calls.append((name, *arguments))

        return record

    def named(self, name):
        return [call for call in list(self.calls) if call[0] == name]


class RunningDelivery:
    """A started engine with its journal, runner and listener; ends with the block."""

    def __init__(self, journal=None, *, plugins=None, automatic=False, own_names=(), **settings):
        settings = {"retry_delay_s": 0.02, "retry_delay_cap_s": 0.05, **settings}
        self.journal = journal or MemoryJournal()
        self.settings = DeliverySettings(**settings)
        self.runner = ControlledRunner(automatic=automatic)
        self.listener = RecordingListener()
        self.delivery = Delivery(
            self.settings,
            plugins or {},
            self.journal,
            self.runner,
            listener=self.listener,
            own_names=own_names,
        )
        self.runner.delivery = self.delivery

    def __enter__(self):
        self.delivery.start()
        return self

    def __exit__(self, *_):
        self.delivery.stop()
        self.journal.close()

    def receive(self, number, *entities, plugins=("p",), **fields):
        raw, event = update(number, *(entities or ("x",)), **fields)
        return self.delivery.receive(raw, event, [Recipient(plugin) for plugin in plugins])
