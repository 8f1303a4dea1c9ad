"""What goes wrong on the wire, and what it leads to: the promise that ``docs/event-hub.md`` makes.

After every fault the hub receives events again, and somebody who reads warnings knows what happened.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ftrackd.api.event.base import Event
from ftrackd.api.event.hub import EventHub, HubLimits, ReconnectPolicy
from ftrackd.api.exception import EventHubConnectionError, EventHubPacketError

from .hub_server import DEADLINE_S, HubServer, Peer, eventually, frame
from .hubs import QUICK, hub_threads, quick_hub
from .tcp_proxy import TcpProxy


@dataclass
class Fault:
    name: str
    cause: Callable[[Peer], None]
    #: Whether the hub connects anew; otherwise the connection at hand goes on.
    reconnects: bool
    #: What somebody reads in the log, at WARNING or above; None where nothing is lost.
    log: str | None
    rejected: int = 0


def _pending_acknowledgement(arguments: str) -> Callable[[Peer], None]:
    def cause(peer: Peer) -> None:
        # The first packet of a hub, its subscription to replies, has the number 1 and waits for this.
        peer.send(f"6:::1{arguments}")

    return cause


FAULTS = [
    # The connection ends.
    Fault(
        "clean close frame", lambda peer: peer.close_politely(), True, r"server closed the connection \(1001"
    ),
    Fault(
        "close frame without a code",
        lambda peer: peer.send(b"", opcode=8),
        True,
        "server closed the connection",
    ),
    Fault("connection reset", lambda peer: peer.reset(), True, "connection broke"),
    Fault("end without a close frame", lambda peer: peer.end(), True, "without a close frame"),
    Fault("socket.io disconnect", lambda peer: peer.send("0::"), True, "server asked to disconnect"),
    Fault("error packet", lambda peer: peer.send("7:::1+0"), True, "reports an error: 1 0"),
    Fault(
        "no WebSocket any more",
        lambda peer: peer.send_bytes(b"HTTP/1.1 502 X\r\n"),
        True,
        "no WebSocket frame",
    ),
    Fault("masked frame", lambda peer: peer.send_bytes(b"\x81\x80\0\0\0\0"), True, "no WebSocket frame"),
    # The connection goes on.
    Fault("unknown packet code", lambda peer: peer.send("9::"), False, "Packet code '9' is unknown", 1),
    Fault("noop packet", lambda peer: peer.send("8::"), False, None),
    Fault("empty frame", lambda peer: peer.send(""), False, "Packet ignored", 1),
    Fault("packet of two parts", lambda peer: peer.send("5:1"), False, "one, three or four parts", 1),
    Fault("malformed JSON", lambda peer: peer.send('5:::{"name":'), False, "Malformed JSON", 1),
    Fault(
        "JSON nested without end", lambda peer: peer.send("5:::" + "[" * 90_000), False, "Malformed JSON", 1
    ),
    Fault("invalid UTF-8", lambda peer: peer.send(b'5:::{"name":"\xff"}'), False, "Malformed JSON", 1),
    Fault("binary frame", lambda peer: peer.send(b"\x00\x01", opcode=2), False, "Packet ignored", 1),
    Fault("event without topic", lambda peer: peer.send_event({"id": "x"}), False, "needs a topic", 1),
    Fault(
        "two events in a packet",
        lambda peer: peer.send('5:::{"name":"ftrack.event","args":[{},{}]}'),
        False,
        "carries one event",
        1,
    ),
    Fault(
        "event of another name",
        lambda peer: peer.send('5:::{"name":"x","args":[{}]}'),
        False,
        "event packet is",
        1,
    ),
    Fault(
        "further keys in an event",
        lambda peer: peer.send_event({"topic": "test.extra", "newServerField": {"a": 1}}),
        False,
        "unknown key 'newServerField'",
    ),
    Fault("acknowledgement without arguments", _pending_acknowledgement(""), False, "without saying whether"),
    Fault("acknowledgement of nothing", lambda peer: peer.send("6:::99999+[1]"), False, None),
    Fault(
        "acknowledgement of odd arguments", _pending_acknowledgement('+["x",null]'), False, "without saying"
    ),
    Fault(
        "refused subscription",
        _pending_acknowledgement('+[{"success":false,"message":"no"}]'),
        False,
        "subscribe",
    ),
    Fault("malformed acknowledgement", lambda peer: peer.send("6:::1+{"), False, "Malformed JSON", 1),
    Fault("acknowledgement without a number", lambda peer: peer.send("6:::x+[]"), False, "packet number", 1),
    Fault("message packet", lambda peer: peer.send("3:::hello"), False, "message packet has no meaning"),
    Fault("json packet", lambda peer: peer.send('4:::{"a":1}'), False, "json packet has no meaning"),
    Fault("ping", lambda peer: peer.send(b"are you there", opcode=9), False, None),
    Fault(
        "event above the size limit",
        lambda peer: peer.send_event({"topic": "test.extra", "id": "big", "data": {"x": "y" * 200_000}}),
        False,
        "above the limit",
        1,
    ),
    Fault(
        "fragmented event",
        lambda peer: peer.send_bytes(
            frame(b'5:::{"name":"ftrack.event","args":[{"topic":', final=False) + frame(b'"test.extra"}]}', 0)
        ),
        False,
        None,
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "_"))
def test_when_a_fault_happens_then_it_is_seen_and_events_come_again(fault, caplog):
    caplog.set_level(logging.WARNING)
    with HubServer() as server:
        server.acknowledgement = None
        hub = EventHub(
            server.url, "anna", "key", reconnect=QUICK, limits=HubLimits(frame_limit_bytes=100_000)
        )
        received = []
        hub.subscribe("topic=test.after", lambda event: received.append(event["topic"]))
        hub.connect()
        peer = server.peer
        eventually(lambda: peer.subscriptions.match({"topic": "test.after"}))
        fault.cause(peer)
        if fault.reconnects:
            peer = server.wait_for_peer(2)
            eventually(lambda: peer.subscriptions.match({"topic": "test.after"}))
        peer.send_event({"topic": "test.after"})
        while not received:
            hub.wait(0.02)
        assert hub.state == "live"
        assert hub.reconnect_count == (1 if fault.reconnects else 0)
        assert hub.statistics.rejected_packets == fault.rejected
        hub.disconnect()
        assert len(server.peers) == (2 if fault.reconnects else 1)
    seen = [record for record in caplog.records if record.levelno >= logging.WARNING]
    if fault.log is None:
        assert not seen
    else:
        assert re.search(fault.log, "\n".join(record.getMessage() for record in seen))


def test_when_a_ping_comes_then_it_is_answered():
    with HubServer() as server:
        hub = EventHub(server.url, "anna", "key")
        hub.connect()
        server.peer.send(b"x", opcode=9)
        eventually(lambda: 10 in server.peer.control_opcodes, "a pong")
        hub.disconnect()


def test_when_a_heartbeat_comes_then_it_is_answered_even_while_a_callback_runs():
    with HubServer() as server:
        hub = EventHub(server.url, "anna", "key")
        running, done = threading.Event(), threading.Event()

        def run(event):
            running.set()
            done.wait(DEADLINE_S)

        hub.subscribe("topic=a", run)
        hub.connect()
        waiting = threading.Thread(target=hub.wait)
        waiting.start()
        server.peer.send_event({"topic": "a"})
        assert running.wait(DEADLINE_S)
        server.peer.send("2::")
        assert server.peer.next_frame("2:") == "2:::"
        done.set()
        hub.disconnect()
        waiting.join(DEADLINE_S)


def test_when_a_tap_takes_long_then_the_server_is_told_that_we_are_there(monkeypatch):
    monkeypatch.setattr("ftrackd.api.event.websocket_transport._SHORTEST_HEARTBEAT_TIMEOUT_S", 0.1)
    with HubServer(heartbeat_timeout="0.4") as server:
        limits = HubLimits(heartbeat_timeout_s=60, housekeeping_s=0.02)
        hub = EventHub(server.url, "anna", "key", limits=limits)
        tapped, go_on = [], threading.Event()

        def tap(incoming):
            tapped.append(incoming.event["data"])
            assert go_on.wait(DEADLINE_S)

        hub.tap(tap)
        hub.connect()
        server.peer.send_event({"topic": "a", "data": 1})
        server.peer.send("2::")  # the server's question lies unread behind the next event
        server.peer.send_event({"topic": "a", "data": 2})
        eventually(lambda: tapped == [1])
        for _ in range(3):
            assert server.peer.next_frame("2:") == "2:::"
        assert hub.behind_s > 0.5
        go_on.set()
        eventually(lambda: tapped == [1, 2])
        eventually(lambda: hub.behind_s < 0.1, "all is read again")
        assert hub.reconnect_count == 0
        hub.disconnect()
        assert hub.behind_s == 0


def test_when_the_peer_vanishes_then_the_hub_turns_stale_and_connects_anew():
    """A half-open connection: nothing arrives any more, and nobody says so."""
    with HubServer() as server, TcpProxy(server.port) as proxy:
        hub = EventHub(proxy.url, "anna", "key", reconnect=QUICK, limits=HubLimits(heartbeat_timeout_s=0.4))
        received = []
        states = []
        hub.on_state_change(lambda change: states.append(change.current))
        hub.subscribe("topic=a", lambda event: received.append(event["data"]["n"]))
        hub.connect()
        eventually(lambda: server.peer.subscriptions.match({"topic": "a"}))
        proxy.forwarding.clear()
        hub.publish(Event("a", data={"n": 1}))
        eventually(lambda: hub.state == "stale")
        eventually(lambda: hub.state == "connecting")
        proxy.forwarding.set()
        eventually(lambda: hub.reconnect_count >= 1)
        while not received:
            hub.wait(0.02)
        assert states[:4] == ["connecting", "live", "stale", "connecting"]
        hub.disconnect()


def test_when_the_server_is_heard_again_then_the_hub_is_live_again_on_the_same_connection():
    with HubServer() as server:
        hub = EventHub(server.url, "anna", "key", limits=HubLimits(heartbeat_timeout_s=2.0))
        hub.connect()
        eventually(lambda: hub.state == "stale")
        assert hub.connected
        before = hub.last_packet_at
        server.peer.send("2::")
        eventually(lambda: hub.state == "live")
        assert hub.last_packet_at > before
        assert hub.reconnect_count == 0
        hub.disconnect()


def test_when_the_handshake_names_a_heartbeat_timeout_then_that_is_used():
    with HubServer(heartbeat_timeout="1") as server:
        hub = quick_hub(server.url)
        hub.connect()
        server.wait_for_peer(2)
        hub.disconnect()


@pytest.mark.parametrize("timeout", ["", "x", "0", "-1", "inf", "nan", "0.001", "60000", "1e300"])
def test_when_the_handshake_names_no_sensible_heartbeat_timeout_then_the_default_is_used(timeout):
    with HubServer(heartbeat_timeout=timeout) as server:
        limits = HubLimits(default_heartbeat_timeout_s=0.3)
        hub = EventHub(server.url, "anna", "key", reconnect=QUICK, limits=limits)
        hub.connect()
        server.wait_for_peer(2)
        hub.disconnect()


def test_when_the_link_is_slow_then_packets_arrive_whole():
    with HubServer() as server, TcpProxy(server.port) as proxy:
        hub = EventHub(proxy.url, "anna", "key", limits=HubLimits(heartbeat_timeout_s=5))
        received = []
        hub.subscribe("topic=a", lambda event: received.append(event["data"]))
        hub.connect()
        eventually(lambda: server.peer.subscriptions.match({"topic": "a"}))
        proxy.piece_size, proxy.pause_s = 1, 0.0005
        hub.publish(Event("a", data={"text": "é" * 100}))
        while not received:
            hub.wait(0.05)
        assert received == [{"text": "é" * 100}]
        proxy.piece_size = None
        hub.disconnect()


def test_when_the_server_restarts_then_the_hub_comes_back_with_all_subscriptions():
    server = HubServer()
    hub = quick_hub(server.url)
    received = []
    hub.subscribe("topic=a", lambda event: received.append(event["data"]["n"]), subscriber={"id": "one"})
    hub.subscribe("topic=b", lambda event: None, subscriber={"id": "two"})
    hub.connect()
    server.peer
    server.stop()
    eventually(lambda: hub.state == "connecting")
    hub.publish(Event("a", data={"n": 1}))
    with HubServer(port=server.port) as again:
        eventually(lambda: len(again.peer.subscriptions) == 3)
        assert "one" in again.peer.subscriptions and "two" in again.peer.subscriptions
        assert hub.id in again.peer.subscriptions
        while not received:
            hub.wait(0.02)
        assert received == [1]
        hub.disconnect()


def test_when_the_session_has_expired_before_the_socket_opens_then_a_new_handshake_is_made():
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.connect()
        first = server.peer.session_id
        server.socket_status = 400
        server.peer.reset()
        eventually(lambda: len(server.handshakes) >= 3)
        server.socket_status = 101
        eventually(lambda: len(server.peers) == 2 and hub.state == "live")
        assert server.peers[1].session_id != first
        hub.disconnect()


def test_when_the_server_refuses_the_key_meanwhile_then_the_hub_keeps_asking_slowly_and_says_why(caplog):
    with HubServer() as server:
        hub = EventHub(server.url, "anna", "canary-key", reconnect=QUICK)
        hub.connect()
        server.handshake_answer = lambda headers: (401, "no")
        server.peer.close_politely()
        eventually(lambda: len(server.handshakes) >= 3)
        assert hub.state == "connecting"
        server.handshake_answer = lambda headers: None
        eventually(lambda: hub.state == "live")
        hub.disconnect()
    refused = [
        record for record in caplog.records if "refuses the credentials of 'anna'" in record.getMessage()
    ]
    assert refused and all(record.levelno == logging.ERROR for record in refused)
    assert "canary-key" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, "no"), "check the API user and API key"),
        ((403, "no"), "check the API user and API key"),
        ((500, "no"), "HTTP 500"),
        ((302, ""), "redirects to 'http://elsewhere.invalid/'"),
        ((429, "slow down"), "HTTP 429"),
        ((200, "no hub here"), "does not answer as an event hub does"),
        ((200, ""), "does not answer as an event hub does"),
        ((200, "<p style='a:b'>x:y:z</p>"), "does not answer as an event hub does"),
        ((200, '{"exception":"Bad","content":"x","error_code":"y"}'), "does not answer as an event hub does"),
        ((200, "sid:60:60:xhr-polling"), "does not support websocket"),
    ],
)
def test_when_the_first_connection_fails_then_connect_says_why_and_leaves_nothing_running(answer, message):
    with HubServer() as server:
        server.handshake_answer = lambda headers: answer
        hub = EventHub(server.url, "anna", "canary-key")
        with pytest.raises(EventHubConnectionError, match=message) as caught:
            hub.connect()
        assert "canary-key" not in str(caught.value)
        assert hub.state == "closed"
        assert not hub.connected
        eventually(lambda: not hub_threads())
        server.handshake_answer = lambda headers: None
        hub.connect()
        assert hub.state == "live"
        hub.disconnect()


def test_when_a_server_accepts_and_drops_everybody_then_the_hub_does_not_spin():
    with HubServer() as server:
        server.on_socket = lambda peer: peer.send("0::")
        policy = ReconnectPolicy(first_delay_s=0.2, shortest_delay_s=0.1)
        hub = EventHub(server.url, "anna", "key", reconnect=policy)
        hub.connect_in_background()
        server.wait_for_peer(3)
        hub.disconnect()
        assert len(server.peers) <= 4


def test_when_no_one_reads_what_is_published_then_the_connection_is_given_up_for_a_new_one():
    with HubServer() as server, TcpProxy(server.port) as proxy:
        limits = HubLimits(send_timeout_s=0.3, heartbeat_timeout_s=60)
        hub = EventHub(proxy.url, "anna", "key", reconnect=QUICK, limits=limits)
        hub.connect()
        eventually(lambda: hub.id in server.peer.subscriptions)
        proxy.forwarding.clear()
        for number in range(20):
            hub.publish(Event("a", data={"n": number, "ballast": "x" * 1_000_000}))
        eventually(lambda: hub.state != "live", "the connection to be given up")
        proxy.forwarding.set()
        eventually(lambda: hub.state == "live")
        last = server.wait_for_peer(len(server.peers))
        eventually(lambda: sum('"n":19' in text for text in last.all_frames) >= 1)
        hub.disconnect()


def _fail():
    raise RuntimeError("by my own fault")


@pytest.mark.parametrize("error", [_fail, lambda: sys.exit("by my own fault")], ids=["raises", "exits"])
def test_when_callbacks_of_the_hub_fail_then_the_reader_goes_on(error, caplog):
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.on_state_change(lambda change: error())
        hub.connect()
        tapped = []

        def tap(incoming):
            tapped.append(incoming)
            error()

        untap = hub.tap(tap)
        hub.send_raw(b'{"topic":"x"}', on_ack=lambda arguments: error())
        eventually(lambda: "callback for an acknowledgement failed" in caplog.text)
        server.peer.send_event({"topic": "a"})
        server.peer.send_event({"topic": "b"})
        eventually(lambda: len(tapped) == 2)
        untap()
        assert hub.state == "live"
        assert hub.reconnect_count == 0
        assert "A hook for the event hub's state failed" in caplog.text
        assert "Handling a packet failed" in caplog.text
        assert "by my own fault" in caplog.text
        hub.disconnect()


def test_when_an_event_is_too_large_to_be_published_then_the_publisher_is_told(caplog):
    with HubServer() as server:
        hub = EventHub(server.url, "anna", "key", limits=HubLimits(frame_limit_bytes=1000))
        hub.connect()
        with pytest.raises(EventHubPacketError, match=r"an event about 'big' .* over the limit of 1000"):
            hub.publish(Event("big", data={"ballast": "x" * 1000}), on_reply=print)
        hub.publish(Event("small"))
        server.peer.next_frame('"small"')
        assert len(hub._reply_callbacks) == 0
        hub.disconnect()


def test_when_the_server_refuses_the_size_of_an_event_then_that_is_given_up_and_others_arrive(caplog):
    with HubServer() as server:
        server.acknowledgement = None
        refuse = server.packet

        def packet(peer, text):
            if '"big"' in text:
                peer.close_politely(1009)
            else:
                refuse(peer, text)

        server.packet = packet
        hub = quick_hub(server.url)
        hub.connect()
        server.peer.send('6:::1+[{"success":true}]')
        eventually(lambda: hub._server_acknowledges)
        outcomes = []
        hub.publish(Event("first"))
        hub.send_raw(b'{"topic":"big","data":"' + b"x" * 10_000 + b'"}', outcomes.append)
        hub.publish(Event("last"))
        eventually(lambda: any(peer.published("last") for peer in server.peers[1:]))
        assert [outcome[0]["success"] for outcome in outcomes] == [False]
        assert "Given up: a relayed event" in caplog.text
        assert sum(len(peer.published("big")) for peer in server.peers) == 1
        assert hub.reconnect_count == 1
        hub.close()
