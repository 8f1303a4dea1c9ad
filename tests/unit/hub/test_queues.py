"""The bounded queues and tables of the hub."""

import queue
import threading

import pytest

from ftrackd.api.event._pending import ExpiringTable, LogLimit
from ftrackd.api.event._queues import EventQueue, Outbox, Outgoing, OutgoingQueueFull, PacketFate
from ftrackd.api.event.base import Event


def _packets(*names, **options):
    return [Outgoing(name, name, **options) for name in names]


class NoTransport:
    """Only its identity counts here."""


def _names(outbox, turn):
    names = []
    while len(outbox):
        packet, transport = outbox.take(turn)
        outbox.taken(packet, transport, PacketFate.SENT)
        names.append(packet.frame)
    return names


def test_when_the_event_queue_is_full_then_the_oldest_is_discarded_and_counted():
    events = EventQueue(2)
    assert [events.put(Event(topic)) for topic in "abc"] == [True, True, False]
    assert events.discarded_count == 1
    assert [events.get()["topic"], events.get()["topic"]] == ["b", "c"]
    with pytest.raises(queue.Empty):
        events.get(block=False)
    with pytest.raises(queue.Empty):
        events.get(timeout=0.001)


def test_when_the_event_queue_ends_then_everybody_who_waits_wakes_and_one_gets_the_last_event():
    events = EventQueue(10)
    outcomes = []

    def wait():
        try:
            outcomes.append(events.get()["topic"])
        except queue.Empty:
            outcomes.append(None)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    events.end(Event("end"))
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes, key=str) == [None, None, "end"]
    events.put(Event("left"))
    with pytest.raises(queue.Empty):
        events.get()
    events.restart()
    assert events.get()["topic"] == "left"


def test_when_events_wait_and_the_queue_ends_then_the_end_comes_first():
    events = EventQueue(10)
    events.put(Event("a"))
    events.end(Event("end"))
    assert events.qsize() == 2
    assert not events.empty()
    assert events.get()["topic"] == "end"
    assert events.qsize() == 1


def test_when_the_outbox_is_full_then_a_packet_is_refused_and_counted():
    outbox = Outbox(1)
    outbox.put(*_packets("a"))
    with pytest.raises(OutgoingQueueFull, match="b was refused"):
        outbox.put(*_packets("b"))
    assert outbox.refused_count == 1
    for packet in _packets("first", "first"):
        outbox.put_first(packet)
    turn = outbox.restart()
    outbox.attach(NoTransport(), _packets("announcement"))
    assert _names(outbox, turn) == ["announcement", "first", "a"]


def test_when_a_packet_was_not_sent_then_it_is_the_first_on_the_next_connection():
    outbox = Outbox(10)
    turn = outbox.restart()
    for packet in _packets("a", "b"):
        outbox.put(packet)
    outbox.put(*_packets("old announcement", is_announcement=True))
    broken, working = NoTransport(), NoTransport()
    outbox.attach(broken, _packets("hello", is_announcement=True))
    packet, transport = outbox.take(turn)
    assert packet.frame == "hello"
    outbox.taken(packet, transport, PacketFate.SENT)
    packet, transport = outbox.take(turn)
    outbox.taken(packet, transport, PacketFate.WAITS)
    assert not outbox.flush(5), "without a transport there is nothing to wait for"
    outbox.detach(broken)
    outbox.attach(working, _packets("hello again", is_announcement=True))
    assert _names(outbox, turn) == ["hello again", "a", "b"]
    assert outbox.flush(0.0)


def test_when_a_writers_turn_is_over_then_it_gets_nothing_even_if_it_comes_late():
    outbox = Outbox(10)
    first = outbox.restart()
    outbox.stop()
    second = outbox.restart()
    outbox.put(*_packets("a"))
    outbox.attach(NoTransport(), [])
    assert outbox.take(first) is None
    assert outbox.take(second)[0].frame == "a"


def test_when_the_outbox_is_cleared_then_what_somebody_meant_to_arrive_is_named():
    outbox = Outbox(10)
    outbox.put(*_packets("a"))
    outbox.put(*_packets("b", is_announcement=True))
    assert [packet.frame for packet in outbox.clear()] == ["a"]
    assert len(outbox) == 0


def test_when_values_grow_old_or_too_many_then_the_table_forgets_them_oldest_first():
    now = [0.0]
    table = ExpiringTable(2, 10.0, lambda: now[0])
    assert table.add("a", 1) == []
    now[0] = 5.0
    assert table.add("b", 2) == []
    assert table.add("c", 3) == [1]
    assert table.get("b") == 2
    assert table.pop("b") == 2
    assert table.pop("b") is None
    now[0] = 14.9
    assert table.expired() == []
    table.renew()
    now[0] = 20.0
    assert table.expired() == []
    now[0] = 24.9
    assert table.expired() == [3]
    assert len(table) == 0
    table.add("d", 4)
    assert table.values() == [4]
    assert table.clear() == [4]
    assert table.values() == []


def test_when_the_same_line_is_logged_too_often_then_it_is_counted_instead():
    now = [0.0]
    limit = LogLimit(10.0, lambda: now[0])
    assert limit.admits("x") == (True, 0)
    assert limit.admits("x") == (False, 1)
    assert limit.admits("x") == (False, 2)
    assert limit.admits("y") == (True, 0)
    now[0] = 10.0
    assert limit.admits("x") == (True, 2)
    assert limit.admits("x") == (False, 1)
