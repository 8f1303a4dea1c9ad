"""The connection's life: connecting, losing, finding again, ending; and what was published meanwhile."""

from __future__ import annotations

import threading
import time

import pytest

from ftrackd.api.event.base import Event
from ftrackd.api.event.hub import ConnectionState, EventHub, OutgoingQueueFull
from ftrackd.api.exception import EventHubConnectionError

from .hub_server import DEADLINE_S, HubServer, eventually
from .hubs import quick_hub
from .tcp_proxy import TcpProxy


def test_when_connecting_then_credentials_go_to_the_handshake_and_nowhere_else():
    with HubServer() as server:
        hub = EventHub(
            f"{server.url}/path",
            "anna",
            "the-key",
            headers={"ftrack-strict-api": "true"},
            cookies={"a": "1", "b": "2"},
        )
        hub.connect()
        (handshake,) = server.handshakes
        assert handshake["ftrack-user"] == "anna"
        assert handshake["ftrack-api-key"] == "the-key"
        assert handshake["ftrack-strict-api"] == "true"
        assert handshake["cookie"] == "a=1; b=2"
        assert server.peer.headers["ftrack-strict-api"] == "true"
        assert server.peer.headers["cookie"] == "a=1;b=2"
        assert "the-key" not in str(server.peer.headers)
        hub.disconnect()


def test_when_connected_then_everybody_is_announced_once_and_replies_first():
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.subscribe("topic=before", print, subscriber={"id": "before", "note": "é"})
        hub.connect()
        assert hub.connected
        hub.subscribe("topic=after", print, subscriber={"id": "after"})
        hub.unsubscribe("before")
        eventually(lambda: server.peer.published("ftrack.meta.unsubscribe"))
        subscribed = [event["data"] for event in server.peer.published("ftrack.meta.subscribe")]
        assert subscribed == [
            {"subscriber": {"id": hub.id}, "subscription": "topic=ftrack.meta.reply"},
            {"subscriber": {"id": "before", "note": "é"}, "subscription": "topic=before"},
            {"subscriber": {"id": "after"}, "subscription": "topic=after"},
        ]
        (unsubscribed,) = server.peer.published("ftrack.meta.unsubscribe")
        assert unsubscribed["data"] == {"subscriber": {"id": "before", "note": "é"}}
        assert unsubscribed["source"]["id"] == hub.id
        hub.disconnect()
        eventually(lambda: not server.peer.subscriptions)
        eventually(lambda: server.peer.control_opcodes == [8])
        assert hub._subscribers == []


def test_when_many_threads_subscribe_while_it_connects_then_each_is_announced_exactly_once():
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.connect()

        def subscribe(number):
            for step in range(20):
                hub.subscribe("topic=a", print, subscriber={"id": f"{number}-{step}"})
                if number == 0 and step % 5 == 0:
                    server.peers[-1].reset()

        threads = [threading.Thread(target=subscribe, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        eventually(lambda: hub.state == "live" and len(server.peers[-1].subscriptions) == 81)
        identifiers = [
            event["data"]["subscriber"]["id"] for event in server.peers[-1].published("ftrack.meta.subscribe")
        ]
        assert sorted(identifiers) == sorted(set(identifiers))
        hub.disconnect()


def test_when_metadata_is_no_json_then_it_works_here_and_the_log_says_that_the_server_is_not_told(caplog):
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.subscribe("topic=a", lambda event: 5, subscriber={"widget": object()})
        hub.connect()
        hub.subscribe("topic=a", lambda event: 6, subscriber={"widget": object()})
        assert hub.publish(Event("a"), synchronous=True) == [5, 6]
        assert "server cannot be told" in caplog.text
        hub.disconnect()


def test_when_disconnected_then_everything_published_before_has_arrived():
    with HubServer() as server:
        server.routes_events = False
        hub = quick_hub(server.url, flush_timeout_s=DEADLINE_S)
        hub.connect()
        for number in range(1000):
            hub.publish(Event("a", data={"n": number}))
        hub.disconnect()
        assert [event["data"]["n"] for event in server.peer.published("a")] == list(range(1000))


def test_when_the_server_is_behind_then_disconnect_waits_for_it():
    with HubServer() as server:
        hub = quick_hub(server.url, flush_timeout_s=DEADLINE_S)
        hub.connect()
        server.peer.next_frame("ftrack.meta.subscribe")
        server.reading.clear()
        for number in range(100):
            hub.publish(Event("a", data={"n": number}))
        disconnecting = threading.Thread(target=hub.disconnect)
        disconnecting.start()
        # Longer than closing a socket would wait for the other side's end.
        disconnecting.join(0.7)
        server.reading.set()
        disconnecting.join(DEADLINE_S)
        assert [event["data"]["n"] for event in server.peer.published("a")] == list(range(100))


def test_when_the_server_acknowledges_nothing_then_disconnect_ends_in_the_time_allowed():
    with HubServer() as server:
        server.acknowledgement = None
        hub = quick_hub(server.url, flush_timeout_s=0.1)
        hub.connect()
        hub.publish(Event("a"))
        hub.disconnect()
        assert hub.state is ConnectionState.CLOSED
        eventually(lambda: server.peer.published("a"))


def test_when_published_before_connecting_then_it_is_sent_in_order_after_the_announcements():
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.init_connection()
        hub.init_connection()
        for number in range(3):
            assert hub.publish(Event("a", data={"n": number})) is True
        hub.connect()
        assert hub.publish(Event("a", data={"n": 3})) is None
        eventually(lambda: len(server.peer.published("a")) == 4)
        assert [event["data"]["n"] for event in server.peer.published("a")] == [0, 1, 2, 3]
        assert "ftrack.meta.subscribe" in server.peer.all_frames[0]
        hub.disconnect()


def test_when_too_much_waits_for_the_connection_then_publishing_is_refused_and_counted():
    hub = quick_hub("http://127.0.0.1:9", outgoing_packets=2)
    hub.init_connection()
    hub.publish(Event("a"))
    hub.publish(Event("a"))
    with pytest.raises(OutgoingQueueFull, match="2 packets wait"):
        hub.publish(Event("a"), on_reply=print)
    hub.publish(Event("a"), on_error="ignore")
    assert hub.statistics.refused_packets == 2
    assert len(hub._reply_callbacks) == 0
    hub.disconnect()


def test_when_the_server_had_not_acknowledged_an_event_then_it_is_sent_again_with_the_same_id(caplog):
    with HubServer() as server, TcpProxy(server.port) as proxy:
        hub = quick_hub(proxy.url, heartbeat_timeout_s=0.4)
        acknowledged = threading.Event()
        hub.connect()
        hub.send_raw(b'{"topic":"first"}', on_ack=lambda arguments: acknowledged.set())
        assert acknowledged.wait(DEADLINE_S)
        proxy.forwarding.clear()
        events = [Event("a", data={"n": number}) for number in range(3)]
        for event in events:
            hub.publish(event)
        eventually(lambda: hub.state == "connecting")
        proxy.forwarding.set()
        eventually(lambda: hub.state == "live")
        eventually(lambda: len(server.peers[-1].published("a")) == 3)
        assert [event["id"] for event in server.peers[-1].published("a")] == [event["id"] for event in events]
        assert not server.peers[-1].published("first")
        assert hub.statistics.resent_packets == 3
        assert "sent again with the same id" in caplog.text
        eventually(lambda: len(hub._unacknowledged) == 0)
        hub.disconnect()


def test_when_the_server_never_acknowledges_then_nothing_is_sent_twice():
    with HubServer() as server:
        server.acknowledgement = None
        hub = quick_hub(server.url)
        hub.connect()
        hub.publish(Event("a"))
        eventually(lambda: server.peer.published("a"))
        server.peer.reset()
        server.wait_for_peer(2)
        eventually(lambda: hub.state == "live")
        hub.publish(Event("b"))
        eventually(lambda: server.peers[1].published("b"))
        assert not server.peers[1].published("a")
        hub.disconnect()


def test_when_raw_events_are_relayed_then_they_travel_unchanged_and_the_acknowledgement_comes_back():
    with HubServer() as server:
        hub = quick_hub(server.url)
        answers = []
        hub.connect()
        raw = '{"topic":"a","id":"1","data":{"x": 1.50, "é":null},"source":{"id":"other"}}'.encode()
        hub.send_raw(raw, on_ack=answers.append)
        hub.send_raw({"topic": "b", "inReplyToEvent": "1"}, on_ack=answers.append)
        eventually(lambda: len(answers) == 2)
        assert answers == [[{"success": True}], [{"success": True}]]
        assert raw.decode() in server.peer.next_frame('"topic":"a"')
        assert '{"topic":"b","inReplyToEvent":"1"}' in server.peer.next_frame('"topic":"b"')
        hub.disconnect()


def test_when_no_acknowledgement_comes_then_the_relay_is_told_within_the_time():
    with HubServer() as server:
        server.acknowledgement = None
        hub = quick_hub(server.url, acknowledgement_timeout_s=0.05)
        answers = []
        hub.connect()
        hub.send_raw(b'{"topic":"a"}', on_ack=answers.append)
        eventually(lambda: answers)
        assert answers == [
            [{"success": False, "message": "The server did not acknowledge a packet in time."}]
        ]
        assert hub.statistics.expired_acknowledgements == 2, "the subscription to replies is the other one"
        hub.send_raw(b'{"topic":"b"}', on_ack=answers.append)
        hub.disconnect()
        assert answers[1][0]["success"] is False


def test_when_too_many_acknowledgements_are_awaited_then_the_oldest_is_given_up():
    with HubServer() as server:
        server.acknowledgement = None
        hub = quick_hub(server.url, pending_acknowledgements=3)
        hub.connect()
        answers = []
        for number in range(5):
            hub.send_raw(b'{"topic":"a"}', on_ack=lambda arguments, number=number: answers.append(number))
        assert answers == [0, 1]
        hub.disconnect()


def test_when_replies_do_not_come_in_time_then_their_callback_is_forgotten_and_counted():
    with HubServer() as server:
        hub = quick_hub(server.url, reply_timeout_s=0.05, pending_replies=2)
        hub.connect()
        replies = []
        asked = Event("nobody.listens")
        hub.publish(asked, on_reply=replies.append)
        eventually(lambda: hub.statistics.expired_replies == 1)
        assert len(hub._reply_callbacks) == 0
        hub.dispatch(Event("ftrack.meta.reply", target=f"id={hub.id}", in_reply_to_event=asked["id"]))
        assert replies == []
        for _ in range(3):
            hub.publish(Event("nobody.listens"), on_reply=replies.append)
        assert hub.statistics.expired_replies == 2
        hub.disconnect()


def test_when_several_subscribers_reply_then_each_reply_comes_once():
    with HubServer() as server:
        asker, answerer = quick_hub(server.url), quick_hub(server.url)
        for number in range(3):
            answerer.subscribe("topic=question", lambda event, number=number: {"n": number}, priority=number)
        answerer.subscribe("topic=question", lambda event: None)
        asker.connect()
        answerer.connect()
        eventually(lambda: len(server.peers[-1].subscriptions) == 5)
        replies = []
        question = Event("question")
        asker.publish(question, on_reply=replies.append)
        while answerer.statistics.received_events < 1:
            answerer.wait(0.02)
        answerer.wait(0.05)
        while len(replies) < 3:
            asker.wait(0.02)
        asker.wait(0.1)
        assert [reply["data"]["n"] for reply in replies] == [0, 1, 2]
        assert {reply["in_reply_to_event"] for reply in replies} == {question["id"]}
        asker.disconnect()
        answerer.disconnect()


def test_when_nobody_waits_then_the_oldest_events_are_discarded_counted_and_reported(caplog):
    with HubServer() as server:
        hub = quick_hub(server.url, incoming_events=5)
        received = []
        hub.subscribe("topic=a", lambda event: received.append(event["data"]["n"]))
        hub.connect()
        for number in range(20):
            server.peer.send_event({"topic": "a", "data": {"n": number}})
        eventually(lambda: hub.statistics.received_events == 20)
        hub.wait(0.05)
        assert received == [15, 16, 17, 18, 19]
        assert hub.statistics.discarded_events == 16, "the local event about the connection was the first"
        assert "call wait(), or handle events faster" in caplog.text
        hub.disconnect()


def test_when_tapped_then_events_come_as_sent_and_are_not_queued():
    with HubServer() as server:
        hub = quick_hub(server.url)
        called, tapped = [], []
        hub.subscribe("topic=a", called.append)
        untap = hub.tap(tapped.append)
        hub.connect()
        text = '{"topic":"a",  "inReplyToEvent":null, "data":{"x":1.50}}'
        server.peer.send_event(text)
        eventually(lambda: tapped)
        assert tapped[0].raw == text.encode()
        assert tapped[0].event == {"topic": "a", "in_reply_to_event": None, "data": {"x": 1.5}}
        assert tapped[0].to_event()["data"] == {"x": 1.5}
        hub.wait(0.05)
        assert called == []
        assert hub.dispatch(tapped[0].to_event()).values == [None]
        untap()
        server.peer.send_event(text)
        while len(called) < 2:
            hub.wait(0.02)
        assert len(tapped) == 1
        hub.disconnect()


def test_when_connected_and_disconnected_then_local_events_say_so():
    with HubServer() as server:
        hub = quick_hub(server.url)
        topics = []
        hub.subscribe("topic=ftrack.meta.*", lambda event: topics.append(event["topic"]))
        hub.connect()
        while not topics:
            hub.wait(0.02)
        waiting = threading.Thread(target=hub.wait)
        waiting.start()
        hub.disconnect(unsubscribe=False)
        waiting.join(DEADLINE_S)
        assert topics == ["ftrack.meta.connected", "ftrack.meta.disconnected"]


def test_when_somebody_publishes_that_the_hub_was_disconnected_then_waiting_goes_on():
    with HubServer() as server:
        hub = quick_hub(server.url)
        topics = []
        hub.subscribe("topic=*", lambda event: topics.append(event["topic"]))
        hub.connect()
        server.peer.send_event({"topic": "ftrack.meta.disconnected"})
        server.peer.send_event({"topic": "after"})
        eventually(lambda: hub.statistics.received_events == 2)
        hub.wait(0.2)
        assert topics[-2:] == ["ftrack.meta.disconnected", "after"]
        hub.disconnect()


def test_when_several_threads_wait_then_a_disconnect_ends_them_all():
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.connect()
        threads = [threading.Thread(target=hub.wait) for _ in range(4)]
        for thread in threads:
            thread.start()
        hub.disconnect()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in threads)
        with pytest.raises(EventHubConnectionError):
            hub.wait(1)


def test_when_events_wait_at_the_disconnect_then_the_log_counts_them(caplog):
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.subscribe("topic=a", lambda event: hub.disconnect())
        hub.connect()
        for _ in range(5):
            server.peer.send_event({"topic": "a"})
        eventually(lambda: hub.statistics.received_events == 5)
        hub.wait(DEADLINE_S)
        assert hub.state == "closed"
        assert "4 received events that were not handled" in caplog.text


def test_when_a_duration_is_given_then_wait_returns_after_it():
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.connect()
        begun = time.monotonic()
        hub.wait(0.2)
        assert time.monotonic() - begun > 0.19
        hub.disconnect()


def test_when_disconnected_and_connected_again_then_everything_works_again():
    with HubServer() as server:
        hub = quick_hub(server.url)
        received = []
        hub.subscribe("topic=a", lambda event: received.append(1))
        for round_number in (1, 2, 3):
            hub.connect()
            with pytest.raises(EventHubConnectionError, match="Already"):
                hub.connect()
            eventually(lambda: server.peers[-1].subscriptions.match({"topic": "a"}))
            hub.publish(Event("a"))
            while len(received) < round_number:
                hub.wait(0.02)
            hub.disconnect(unsubscribe=False)
            assert hub.state == "closed"
        assert len(server.peers) == 3
        assert hub.reconnect_count == 0


def test_when_disconnected_for_a_reconnect_then_publishes_are_kept_for_it():
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.connect()
        hub.disconnect(unsubscribe=False, reconnect=True)
        assert not hub.connected
        assert hub.publish(Event("a")) is True
        hub.connect()
        eventually(lambda: server.peers[-1].published("a"))
        hub.disconnect()
