"""More events than the journal takes: whoever brings them waits, and nothing is dropped while it works."""

import contextlib
import threading

from ftrackd.delivery import Lane
from ftrackd.delivery.memory_journal import MemoryTransaction
from tests.unit.delivery.running import BreakableJournal, RunningDelivery, eventually


@contextlib.contextmanager
def receiving(running, count):
    """Receive e0, e1 ... in a thread of its own, as the hub's reader does; gives the lanes they took.

    When the block begins, the reader waits for room, if there is not enough.
    """
    lanes = []

    def read():
        lanes.extend(running.receive(number) for number in range(count))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    eventually(lambda: waits(running) or not reader.is_alive(), "the reader waits, or is through")
    yield lanes
    reader.join(30)
    assert not reader.is_alive()


def waits(running):
    return running.delivery._writer._receivers == 1


@contextlib.contextmanager
def slow_disk(running):
    """Nothing is written during the block."""
    with running.journal.transaction():
        running.delivery._writer.wake()
        eventually(lambda: running.delivery._writer._busy)
        yield


def test_when_events_come_faster_than_they_are_written_then_receiving_waits_and_none_is_dropped():
    with RunningDelivery(intake_limit=10, automatic=True) as running:
        running.delivery.plugin_ready("p", 1)
        with contextlib.ExitStack() as disk:
            disk.enter_context(slow_disk(running))
            with receiving(running, 100) as lanes:
                assert running.delivery.health.waiting == 10
                disk.close()
        assert lanes == [Lane.DURABLE] * 100
        eventually(lambda: len(running.runner.events()) == 100)
        assert running.runner.events() == [f"e{number}" for number in range(100)]
        assert running.delivery.health.lost == 0


def test_when_events_are_being_written_then_they_still_count_as_waiting():
    with RunningDelivery(intake_limit=10) as running, running.journal.transaction():
        running.receive(100)
        eventually(lambda: running.delivery._writer._in_hand == 1, "the writer waits for the journal with it")
        with receiving(running, 10):
            assert running.delivery.health.waiting == 10
            running.delivery.stop(0.01)


def test_when_the_journal_fails_while_the_reader_waits_then_it_goes_on_and_what_has_no_room_is_counted():
    journal = BreakableJournal()
    with RunningDelivery(journal, intake_limit=10, automatic=True) as running:
        running.delivery.plugin_ready("p", 1)
        with contextlib.ExitStack() as disk:
            disk.enter_context(slow_disk(running))
            with receiving(running, 50) as lanes:
                journal.is_broken = True
                disk.close()
        assert running.delivery.health.lost == lanes.count(Lane.NONE) > 0
        assert running.delivery.health.degraded == "the disk is full"
        journal.is_broken = False
        kept = lanes.count(Lane.DURABLE)
        eventually(lambda: len(running.runner.events()) == kept)
        assert running.runner.events() == [f"e{number}" for number in range(kept)]


def test_when_stopped_while_the_reader_waits_then_it_goes_on_and_what_it_brought_is_not_taken():
    with RunningDelivery(intake_limit=10) as running, slow_disk(running):
        with receiving(running, 11) as lanes:
            assert not running.delivery._writer.idle()
            running.delivery.stop(0.01)
        assert lanes == [Lane.DURABLE] * 10 + [Lane.NONE]


def test_when_events_never_cease_then_operators_are_served_all_the_same(monkeypatch):
    monkeypatch.setattr("ftrackd.delivery.writer._INTAKES_AT_ONCE", 5)
    with RunningDelivery(intake_limit=10) as running, receiving(running, 0):
        stored, stop = [], threading.Event()

        def flood():
            number = 0
            while not stop.is_set():
                running.receive(number := number + 1, plugins=("nobody",))

        reader = threading.Thread(target=flood, daemon=True)
        reader.start()
        try:
            for _ in range(3):
                eventually(lambda: waits(running))
                running.delivery.prove_progress()
                running.delivery.flush()
                stored.append(running.delivery.stats().events)
        finally:
            stop.set()
            reader.join(30)
        assert stored == sorted(stored)
        assert stored[0] >= 10, "what was received before the flush"


def test_when_a_topic_is_held_while_the_reader_waits_with_it_then_that_is_kept_back_too():
    with RunningDelivery(intake_limit=10, automatic=True) as running:
        running.delivery.plugin_ready("p", 1)
        with slow_disk(running), receiving(running, 11) as lanes:
            running.delivery.hold("ftrack.update")
        assert lanes == [Lane.DURABLE] * 11
        assert len(running.delivery.held()) == 1
        running.delivery.release()
        eventually(lambda: running.runner.events() == [f"e{number}" for number in range(11)])


def test_when_one_of_many_cannot_be_stored_then_those_behind_it_are_written_together_again(monkeypatch):
    append, sizes = MemoryTransaction.append, []

    def fail_at_three(transaction, event, deliveries):
        if event.id == "e3":
            raise ValueError("a fault of our own")
        sizes.append(transaction)
        return append(transaction, event, deliveries)

    monkeypatch.setattr("ftrackd.delivery.writer._INTAKES_AT_ONCE", 8)
    monkeypatch.setattr(MemoryTransaction, "append", fail_at_three)
    with RunningDelivery(intake_limit=100, automatic=True) as running:
        running.delivery.plugin_ready("p", 1)
        with slow_disk(running):
            for number in range(100):
                running.receive(number)
        eventually(lambda: len(running.runner.events()) == 99)
        assert running.delivery.health.lost == 1
        assert len({id(transaction) for transaction in sizes}) < 30


def test_when_much_waits_for_a_slow_journal_then_its_progress_is_seen_before_the_end(monkeypatch):
    monkeypatch.setattr("ftrackd.delivery.writer._INTAKES_AT_ONCE", 1)
    with RunningDelivery(intake_limit=1000) as running:
        with slow_disk(running):
            for number in range(500):
                running.receive(number, plugins=("nobody",))
            asking = threading.Thread(target=running.delivery.prove_progress, daemon=True)
            asking.start()
            eventually(lambda: running.delivery._writer._requests)
        asking.join(30)
        assert not asking.is_alive()
        assert running.delivery.health.waiting > 100
