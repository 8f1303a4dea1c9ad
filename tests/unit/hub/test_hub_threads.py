"""Calling the hub from its own threads, and what must not end them."""

from __future__ import annotations

import threading

import pytest

from ftrackd.api.event.base import Event
from ftrackd.api.event.hub import EventHub, ServerDetails
from ftrackd.api.event.websocket_transport import WebSocketTransport

from .hub_server import DEADLINE_S, HubServer, eventually, frame
from .hubs import quick_hub


@pytest.fixture
def server():
    with HubServer() as server:
        yield server


@pytest.fixture
def hub(server):
    hub = quick_hub(server.url)
    hub.connect()
    yield hub
    hub.close()


def _receives(hub, server):
    received = []
    with hub.subscription("topic=probe", received.append):
        peer = server.peer
        eventually(lambda: peer.subscriptions.match({"topic": "probe"}))
        peer.send_event({"topic": "probe"})
        while not received:
            hub.wait(0.02)
    return True


def _in_tap(hub, server, call):
    hub.tap(lambda incoming: call())
    server.peer.send_event({"topic": "a"})


def _in_acknowledgement(hub, server, call):
    hub.send_raw(b'{"topic":"x"}', lambda arguments: call())


def _in_state_hook(hub, server, call):
    hub.on_state_change(lambda change: call() if change.current == "connecting" else None)
    server.peer.reset()


PLACES = pytest.mark.parametrize("place", [_in_tap, _in_acknowledgement, _in_state_hook])


def _once(called, call):
    """Return a function that calls `call` the first time; `called` is set when that has returned."""
    begun = []

    def call_once():
        if not begun:
            begun.append(True)
            call()
            called.set()

    return call_once


@PLACES
def test_when_a_thread_of_the_hub_asks_for_a_reconnect_then_it_does_not_wait_for_itself(place, hub, server):
    returned = threading.Event()
    place(hub, server, _once(returned, hub.reconnect))
    assert returned.wait(DEADLINE_S)
    server.wait_for_peer(2)
    eventually(lambda: hub.state == "live")


@PLACES
def test_when_a_thread_of_the_hub_waits_for_the_connection_then_it_gets_an_answer_at_once(place, hub, server):
    returned = threading.Event()
    answers = []
    place(hub, server, _once(returned, lambda: answers.append(hub.wait_until_connected())))
    assert returned.wait(DEADLINE_S)
    assert answers == [place is not _in_state_hook]


@PLACES
def test_when_a_thread_of_the_hub_disconnects_then_waiting_ends_and_the_hub_can_be_connected_again(
    place, hub, server
):
    waiting = threading.Thread(target=hub.wait)
    waiting.start()
    returned = threading.Event()
    place(hub, server, _once(returned, hub.disconnect))
    assert returned.wait(DEADLINE_S)
    waiting.join(DEADLINE_S)
    assert not waiting.is_alive()
    assert hub.state == "closed"
    hub.connect()
    assert hub.state == "live"


def test_when_a_hook_disconnects_or_reconnects_in_the_moment_of_connecting_then_nothing_hangs(server):
    for call in (EventHub.disconnect, EventHub.reconnect):
        hub = quick_hub(server.url)
        hub.on_state_change(
            lambda change, hub=hub, call=call: (
                call(hub) if change.current == "live" and not hub.reconnect_count else None
            )
        )
        hub.connect_in_background().join(0)
        eventually(lambda hub=hub: hub.state == "closed" or hub.reconnect_count)
        hub.close()


def test_when_a_packet_cannot_be_sent_at_all_then_it_is_lost_and_the_next_ones_are_sent(hub, server, caplog):
    hub._send_packet("3", data="\ud800")
    hub.publish(Event("after"))
    server.wait_for_peer(2).next_frame('"after"')
    assert "a message packet cannot be sent, it is lost" in caplog.text
    assert hub.reconnect_count == 1


def test_when_metadata_cannot_be_written_then_the_hub_still_connects_and_the_log_names_the_subscriber(
    hub, server, caplog
):
    class Odd:
        def __repr__(self):
            raise RuntimeError("no words")

    circle = {}
    circle["circle"] = circle
    deep = []
    for _ in range(3000):
        deep = [deep]
    for identifier, metadata in {"circle": circle, "deep": {"deep": deep}, "odd": {"odd": Odd()}}.items():
        assert hub.subscribe("topic=a", print, {**metadata, "id": identifier}) == identifier
        assert f"cannot be told of subscriber '{identifier}'" in caplog.text
    server.peer.reset()
    server.wait_for_peer(2)
    assert _receives(hub, server)
    assert hub.reconnect_count == 1


def test_when_heartbeats_come_faster_than_answers_leave_then_one_answer_waits(hub, server):
    server.peer.next_frame("ftrack.meta.subscribe")
    server.reading.clear()
    received = hub.statistics.received_packets
    for _ in range(3):
        server.peer.send_bytes(frame(b"2::") * 10_000)
        eventually(lambda: hub.statistics.received_packets - received >= 10_000)
        received += 10_000
        assert len(hub._outbox) <= 1
    server.reading.set()


@pytest.mark.parametrize(
    ("beginning", "more"),
    [(b"", frame(b"ping", 9) * 100), (bytes((0x81, 127)) + (2**62).to_bytes(8, "big"), b"x" * 1000)],
    ids=["pings", "a frame without end"],
)
def test_when_something_without_meaning_keeps_coming_then_receiving_still_ends_in_time(
    beginning, more, server
):
    transport = WebSocketTransport(ServerDetails("http", "127.0.0.1", server.port), "anna", "key")
    transport.open()
    assert transport.receive(DEADLINE_S) == b"1::"
    peer = server.peer

    def flood() -> None:
        peer.send_bytes(beginning)
        while not peer.gone.is_set():
            try:
                peer.send_bytes(more)
            except OSError:
                return

    flooding = threading.Thread(target=flood)
    flooding.start()
    assert [transport.receive(0.05) for _ in range(3)] == [None, None, None]
    transport.close()
    flooding.join(DEADLINE_S)
    assert not flooding.is_alive()
