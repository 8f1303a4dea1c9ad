"""Misbehaviour on request."""

import contextlib
import json
import time

import pytest
import websocket

from ftrackd.testing.sandbox import SandboxProcess, SandboxProcessError

from .conftest import credentials, post, request, upgrade_status, wait_for

INFORMATION = [{"action": "query_server_information", "values": ["version"]}]


@pytest.fixture(autouse=True)
def clear(server):
    yield
    server.clear_faults()


def test_when_requests_fail_then_a_proxy_page_for_as_many_as_asked(server):
    server.fault("fail_requests", status=503, count=2)
    for _ in range(2):
        status, headers, body = request(
            server, "/api", method="POST", body=INFORMATION, headers=credentials(server)
        )
        assert status == 503
        assert headers["content-type"] == "text/html"
        assert b"<html>" in body
    assert post(server, INFORMATION)[0] == 200


def test_when_requests_fail_with_json_then_an_error_object(server):
    server.fault("fail_requests", status=500, body="json", count=1)
    status, answer = post(server, INFORMATION)
    assert status == 500
    assert answer["exception"] == "ServerFault"


def test_when_requests_fail_after_being_carried_out_then_only_the_answer_is_lost(server):
    """What a client must expect of a broken connection: the commit may have happened."""
    row = {"__entity_type__": "Type", "name": "made although it failed"}
    server.fault("fail_requests", after=True, count=1)
    operation = {"action": "create", "entity_type": "Type", "entity_data": row}
    assert request(server, "/api", method="POST", body=[operation], headers=credentials(server))[0] == 502
    found = server.call({"action": "query", "expression": 'Type where name is "made although it failed"'})
    assert len(found[0]["data"]) == 1
    server.call({"action": "delete", "entity_type": "Type", "entity_key": [found[0]["data"][0]["id"]]})


def test_when_requests_are_dropped_then_the_connection_breaks(server):
    server.fault("drop_requests", count=1)
    with pytest.raises((OSError, ConnectionError)):
        request(server, "/api", method="POST", body=INFORMATION, headers=credentials(server))
    assert post(server, INFORMATION)[0] == 200


def test_when_requests_are_delayed_then_they_take_longer(server):
    server.fault("delay_requests", seconds=0.3, count=1)
    started = time.monotonic()
    assert post(server, INFORMATION)[0] == 200
    assert time.monotonic() - started >= 0.3


def test_when_a_share_fails_then_some_do_and_some_do_not(server):
    server.fault("fail_requests", share=0.5)
    statuses = {
        request(server, "/api", method="POST", body=INFORMATION, headers=credentials(server))[0]
        for _ in range(60)
    }
    assert statuses == {200, 502}


def test_when_a_path_is_named_then_others_are_spared(server):
    server.fault("fail_requests", path="/socket.io")
    assert post(server, INFORMATION)[0] == 200
    assert request(server, "/socket.io/1/", headers=credentials(server))[0] == 502


def test_when_sockets_are_dropped_then_the_client_sees_the_end(server, hub):
    server.fault("drop_sockets")
    with pytest.raises((websocket.WebSocketException, OSError)):
        while True:
            hub.receive()
    wait_for(lambda: server.state()["connections"] == 0, "the hub to forget the connection")


def test_when_sockets_are_truncated_then_the_client_sees_no_whole_frame(server, hub):
    hub.subscribe("topic=*")
    server.fault("truncate_sockets")
    with pytest.raises((websocket.WebSocketException, OSError)):
        while True:
            assert "ftra" not in hub.receive()


def test_when_disconnect_is_sent_then_the_packet_arrives(server, hub):
    server.fault("disconnect_sockets")
    while hub.receive() != "0::":
        pass


def test_when_frozen_then_silence_until_thawed_and_nothing_is_lost(server, open_hub):
    frozen, publisher = open_hub(), open_hub()
    frozen.subscribe("topic=late")
    server.fault("freeze_sockets")
    server.fault("thaw_sockets", user="nobody")
    frozen.socket.settimeout(0.5)
    with pytest.raises(websocket.WebSocketTimeoutException):
        while True:
            frozen.receive()
    publisher.emit({"topic": "late"})
    server.fault("thaw_sockets")
    frozen.socket.settimeout(10)
    assert frozen.receive_event()["topic"] == "late"


def test_when_half_open_then_the_socket_stays_and_events_pass_it_by(server, open_hub):
    victim = open_hub()
    victim.subscribe("topic=*")
    server.fault("half_open_sockets")
    assert server.state()["connections"] == 0
    publisher = open_hub()
    publisher.publish({"topic": "unheard"})
    victim.socket.settimeout(0.5)
    with pytest.raises(websocket.WebSocketTimeoutException):
        while True:
            assert not victim.receive().startswith("5:::")
    victim.socket.send("2::")
    victim.close()


def test_when_the_hub_restarts_then_sessions_are_forgotten(server, hub):
    _, _, body = request(server, "/socket.io/1/", headers=credentials(server))
    sid = body.decode().split(":")[0]
    server.fault("restart_hub")
    with pytest.raises((websocket.WebSocketException, OSError)):
        while True:
            hub.receive()
    assert upgrade_status(server, sid) == 401


def test_when_malformed_packets_are_sent_then_they_arrive_and_the_connection_goes_on(server, hub):
    hub.subscribe("topic=after")
    server.fault("malformed_packets", frames=["8::", "5:::{"])
    server.fault("malformed_packets")
    hub.emit({"topic": "after"})
    seen = []
    while not (isinstance(frame := hub.receive(), str) and '"after"' in frame):
        seen.append(frame)
    assert seen[0:2] == ["8::", "5:::{"] or "8::" in seen
    assert b"\x00\xff\xfe" in seen
    assert "" in seen


@pytest.mark.parametrize(
    "description",
    [
        {"fault": "nonsense"},
        {},
        {"fault": "fail_requests", "colour": "red"},
        {"fault": "fail_requests", "share": 2},
        {"fault": "fail_requests", "seconds": -1},
        {"fault": "fail_requests", "status": 99},
        {"fault": "fail_requests", "body": "xml"},
        {"fault": "drop_sockets", "colour": "red"},
        {"fault": "freeze_sockets", "seconds": "long"},
        ["fault"],
        "fault",
    ],
)
def test_when_fault_is_described_wrongly_then_refused_and_none_is_active(server, description):
    status, _, body = request(
        server, "/sandbox/faults", method="POST", body=description, headers=credentials(server)
    )
    assert status == 400
    assert json.loads(body)["content"]
    assert server.state()["requests"] == []


@pytest.mark.parametrize("client", ["192.0.2.7", "nobody", "::ffff:192.0.2.7"])
def test_when_a_proxy_names_a_client_elsewhere_then_faults_are_refused(server, client):
    headers = {**credentials(server), "X-Forwarded-For": client}
    assert request(server, "/sandbox/faults", headers=headers)[0] == 403


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_when_a_proxy_names_a_client_on_this_machine_then_faults_are_shown(server, client):
    headers = {**credentials(server), "X-Forwarded-For": client}
    assert request(server, "/sandbox/faults", headers=headers)[0] == 200


def test_when_credentials_are_missing_then_faults_are_refused(server):
    assert request(server, "/sandbox/faults", method="POST", body={"fault": "drop_sockets"})[0] == 401


def test_when_fault_is_a_setting_then_active_from_the_start():
    options = ["--fault", '{"fault": "fail_requests", "status": 502, "count": 1}']
    with SandboxProcess(seed="none", options=options) as process:
        with pytest.raises(SandboxProcessError, match="502"):
            process.call(*INFORMATION)
        assert process.call(*INFORMATION)


def test_when_requests_hang_then_the_end_of_the_process_does_not_wait_for_them():
    process = SandboxProcess(seed="none")
    with process, contextlib.suppress(OSError):
        process.fault("hang_requests")
        asked = {**credentials(process)}
        with pytest.raises(TimeoutError):
            import urllib.request

            waiting = urllib.request.Request(process.url + "/api", data=b"[]", headers=asked)
            urllib.request.urlopen(waiting, timeout=0.5)
        started = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - started < 20
