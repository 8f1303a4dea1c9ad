"""The event hub's wire, packet by packet."""

import json

import pytest
import websocket

from .conftest import OTHER_KEY, OTHER_USER, credentials, new_id, request, upgrade_status, wait_for


def test_when_handshake_then_four_parts_with_websocket(hub):
    sid, heartbeat, close, transports = hub.handshake.split(":")
    assert sid
    assert float(heartbeat) > 15
    assert float(close) > 0
    assert "websocket" in transports.split(",")


def test_when_credentials_are_in_the_query_then_handshake_succeeds(server):
    path = f"/socket.io/1/?api_user={server.api_user}&api_key={server.api_key}"
    assert request(server, path)[0] == 200


@pytest.mark.parametrize("headers", [{}, {"ftrack-user": "demo", "ftrack-api-key": "wrong"}])
def test_when_credentials_are_wrong_then_handshake_is_refused(server, headers):
    status, _, body = request(server, "/socket.io/1/", headers=headers)
    assert status == 401
    assert b":" in body  # JSON: a client that ignores the status must not find a session id
    assert json.loads(body)["exception"] == "InvalidCredentialsError"


def test_when_session_id_is_used_twice_or_unknown_then_socket_is_refused(server, hub):
    for sid in (hub.sid, "deadbeef"):
        assert upgrade_status(server, sid) == 401


def test_when_connected_then_connect_packet_and_heartbeats(hub):
    assert hub.receive() == "1::"
    for _ in range(2):
        assert hub.socket.recv() == "2::"
        hub.socket.send("2::")


def test_when_published_then_delivered_once_unchanged_to_publisher_too(hub, open_hub):
    other = open_hub()
    topic = new_id()
    for each in (hub, other):
        each.subscribe(f"topic={topic}")
        each.subscribe("topic=*")
    event = {
        "topic": topic,
        "id": "abc",
        "data": {"text": "ü \U0001f600", "number": 1.5, "nested": {"list": [None, True]}},
        "source": {"id": hub.identifier, "user": {"username": "demo"}, "host": "here"},
        "target": "",
        "sent": None,
        "inReplyToEvent": None,
    }
    hub.emit(event)
    for each in (hub, other):
        received = each.receive_event()
        assert received.pop("source")["host"] == "here"
        assert received == {key: value for key, value in event.items() if key != "source"}
    hub.emit({"topic": topic, "data": "second"})
    assert other.receive_event()["data"] == "second"


def test_when_published_then_the_user_is_completed(server, hub):
    hub.subscribe("topic=completed")
    user_id = server.call({"action": "query", "expression": f"User where username is {server.api_user}"})[0]
    user_id = user_id["data"][0]["id"]
    for source in (None, {}, {"user": {"username": server.api_user}}, {"user": {}, "applicationId": "x"}):
        hub.emit({"topic": "completed", "source": source})
        user = hub.receive_event()["source"]["user"]
        assert user == {"username": server.api_user, "id": user_id}


def test_when_another_user_is_named_then_its_id_is_not_ours(hub):
    hub.subscribe("topic=completed")
    hub.emit({"topic": "completed", "source": {"user": {"username": "somebody"}}})
    assert hub.receive_event()["source"]["user"] == {"username": "somebody"}


def test_when_reply_is_targeted_then_only_the_requester_receives_it(hub, open_hub):
    others = [open_hub(), open_hub(user=OTHER_USER, key=OTHER_KEY)]
    ids = [each.subscribe("topic=ftrack.meta.reply") for each in (hub, *others)]
    hub.emit({"topic": "ftrack.meta.reply", "target": f"id={ids[1]}", "data": 1, "inReplyToEvent": "e"})
    hub.emit({"topic": "ftrack.meta.reply", "data": 2})
    assert others[0].receive_event()["data"] == 1
    assert [each.receive_event()["data"] for each in (hub, *others)] == [2, 2, 2]


def test_when_many_are_published_then_each_listener_receives_them_in_order(hub, open_hub):
    listeners = [open_hub() for _ in range(3)]
    for listener in listeners:
        listener.subscribe("topic=ordered")
    for number in range(300):
        hub.emit({"topic": "ordered", "data": {"number": number}})
    for listener in listeners:
        assert [listener.receive_event()["data"]["number"] for _ in range(300)] == list(range(300))


@pytest.mark.parametrize(
    "event",
    [
        {"topic": "a", "target": "id="},
        {"topic": "ftrack.meta.subscribe", "data": {"subscriber": {"id": "x"}, "subscription": "topic"}},
        {"topic": "ftrack.meta.subscribe", "data": {"subscriber": {}, "subscription": "topic=a"}},
        {"topic": "ftrack.meta.subscribe"},
        {"topic": "ftrack.meta.unsubscribe", "data": []},
    ],
)
def test_when_event_cannot_be_used_then_acknowledged_with_the_reason(hub, event):
    answer = hub.publish(event)
    assert answer["success"] is False
    assert answer["message"]


def test_when_packet_asks_for_no_acknowledgement_then_none_is_sent(hub):
    hub.subscribe("topic=quiet")
    hub.socket.send('5:::{"name":"ftrack.event","args":[{"topic":"quiet"}]}')
    assert hub.receive_event()["topic"] == "quiet"
    hub.socket.send('5:::{"name":"ftrack.event","args":[{"topic":"quiet"}]}')
    assert hub.receive().startswith("5:::")


@pytest.mark.parametrize(
    "frame", ["", "x", "5:::", "5:::{", '5:::{"name":"ftrack.event","args":[]}', "6:::x", "9::", "0::", "8::"]
)
def test_when_packet_is_malformed_then_the_connection_goes_on(hub, frame):
    hub.socket.send(frame)
    assert hub.publish({"topic": "after"}) == {"success": True}


@pytest.mark.parametrize("data", ["{", "[]", '{"name":"other"}', '{"name":"ftrack.event","args":[{}]}'])
def test_when_there_is_no_event_in_a_packet_then_it_is_acknowledged_with_the_reason(hub, data):
    hub.socket.send(f"5:7+::{data}")
    answer = hub.receive_acknowledgement(7)
    assert answer["success"] is False
    assert answer["message"]


def test_when_binary_frame_arrives_then_the_connection_goes_on(hub):
    hub.socket.send_binary(b"\x00\xff")
    assert hub.publish({"topic": "after"}) == {"success": True}


def test_when_meta_events_are_published_then_nobody_receives_them(hub, open_hub):
    listener = open_hub()
    listener.subscribe("topic=*")
    subscriber = hub.subscribe("topic=a")
    hub.publish({"topic": "ftrack.meta.unsubscribe", "data": {"subscriber": {"id": subscriber}}})
    hub.emit({"topic": "end"})
    assert listener.receive_event()["topic"] == "end"


def test_when_unsubscribed_or_gone_then_no_longer_counted(server, open_hub):
    wait_for(lambda: server.state()["connections"] == 0, "the hubs of earlier tests to be gone")
    before = server.state()["subscriptions"]
    hub = open_hub()
    subscriber = hub.subscribe("topic=a")
    hub.subscribe("topic=b")
    assert server.state()["subscriptions"] == before + 2
    answer = hub.publish({"topic": "ftrack.meta.unsubscribe", "data": {"subscriber": {"id": subscriber}}})
    assert answer == {"success": True}
    assert server.state()["subscriptions"] == before + 1
    hub.socket.sock.close()
    wait_for(lambda: server.state()["subscriptions"] == before, "the connection to be forgotten")


def test_when_event_is_large_then_it_arrives_whole(hub):
    hub.subscribe("topic=large")
    text = "x" * 4_000_000
    hub.emit({"topic": "large", "data": {"text": text}})
    assert hub.receive_event()["data"]["text"] == text


def test_when_handshake_is_answered_then_credentials_are_not_needed_again(server):
    status, headers, _ = request(server, "/socket.io/1/", headers=credentials(server))
    assert status == 200
    assert headers["content-type"].startswith("text/plain")


def test_when_a_client_reads_late_then_nobody_waits_and_nothing_is_lost(server, hub):
    assert hub.receive() == "1::"
    sent = [f"8:::{number}{'x' * 100_000}" for number in range(100)]
    server.fault("malformed_packets", frames=sent)
    assert server.state()["connections"] == 1
    arrived = []
    while len(arrived) < len(sent):
        # Not recv(), which takes a second over ten megabytes of UTF-8.
        frame = hub.socket.recv_frame().data.decode()
        if frame != "2::":
            arrived.append(frame)
    assert arrived == sent


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (b"\x81\x81\0\0\0\0\xff", 1007),  # no UTF-8
        (b"\x81\xff\x7f\0\0\0\0\0\0\0\0\0\0\0", 1009),  # too big
        (b"\x88\x82\0\0\0\0\x03\xe9", 1001),  # closed by the client
        (b"\x88\x80\0\0\0\0", 1000),
    ],
)
def test_when_a_client_closes_or_breaks_the_protocol_then_answered_with_the_code(hub, sent, code):
    assert hub.receive() == "1::"
    hub.socket.sock.sendall(b"\x89\x82\0\0\0\0hi" + sent)
    arrived = []
    while not arrived or arrived[-1].opcode != websocket.ABNF.OPCODE_CLOSE:
        arrived.append(hub.socket.recv_frame())
    assert (websocket.ABNF.OPCODE_PONG, b"hi") in [(frame.opcode, frame.data) for frame in arrived]
    assert int.from_bytes(arrived[-1].data) == code
    assert hub.socket.sock.recv(1) == b""
