"""The hub against the sandbox: routing by the server, and everything the sandbox can do to a connection."""

from __future__ import annotations

import time

import pytest

from ftrackd.api.event.base import Event
from ftrackd.api.event.hub import EventHub, HubLimits, ReconnectPolicy
from ftrackd.testing.sandbox import SandboxProcess

DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def server():
    """A sandbox of our own: what is done to its sockets must not meet other tests."""
    with SandboxProcess(seed="minimal") as process:
        yield process


@pytest.fixture
def connect(server):
    hubs = []

    def make(**limits):
        hub = EventHub(
            server.url,
            server.api_user,
            server.api_key,
            reconnect=ReconnectPolicy(first_delay_s=0.05, delay_cap_s=0.3),
            limits=HubLimits(**limits),
        )
        hubs.append(hub)
        hub.connect()
        return hub

    yield make
    for hub in hubs:
        hub.close()
    server.clear_faults()


def _until(hub, condition):
    """Let `hub` handle events until `condition`; fail when that takes too long."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"hub is {hub.state}: {hub.state_reason}"
        hub.wait(0.02)


def _echo(hub):
    """Return a function that publishes an event and waits for it to come back, and the list of what came."""
    received = []
    hub.subscribe("topic=test.echo", lambda event: received.append(event["data"]["n"]))

    def echo(number):
        # Published again and again: what the server loses with a connection that it breaks is its to lose.
        deadline = time.monotonic() + DEADLINE_S
        while number not in received:
            assert time.monotonic() < deadline, f"hub is {hub.state}: {hub.state_reason}"
            hub.publish(Event("test.echo", data={"n": number}))
            hub.wait(0.1)

    return echo, received


def test_when_a_subscription_compares_numbers_then_its_events_come_from_the_server(connect):
    publisher, listener = connect(), connect()
    received = []
    listener.subscribe("topic=test.number and data.n>5", lambda event: received.append(event["data"]["n"]))
    ready, _ = _echo(listener)
    ready(0)
    for number in (3, 10, "7", "4", 5.5):
        publisher.publish(Event("test.number", data={"n": number}))
    _until(listener, lambda: len(received) >= 3)
    assert received == [10, "7", 5.5]


def test_when_replies_and_targets_are_used_then_the_server_routes_them(connect):
    asker, web, other = connect(), connect(), connect()
    asked = []
    web.subscribe("topic=test.question", lambda event: {"from": "web"}, subscriber={"applicationId": "web"})
    other.subscribe("topic=test.question", asked.append, subscriber={"applicationId": "other"})
    web_ready, _ = _echo(web)
    web_ready(0)
    replies = []
    asker.publish(Event("test.question", target="applicationId=web"), on_reply=replies.append)
    _until(web, lambda: web.statistics.received_events >= 2)
    _until(asker, lambda: replies)
    other.wait(0.05)
    assert [reply["data"] for reply in replies] == [{"from": "web"}]
    assert asked == []


def test_when_an_entity_changes_then_the_update_arrives(connect, server):
    hub = connect()
    updates = []
    hub.subscribe("topic=ftrack.update", updates.append)
    echo, _ = _echo(hub)
    echo(0)
    server.call({"action": "create", "entity_type": "User", "entity_data": {"username": "new.artist"}})
    _until(hub, lambda: updates)
    (entity,) = [entity for entity in updates[0]["data"]["entities"] if entity["entityType"] == "user"]
    assert entity["action"] == "add"


@pytest.mark.parametrize(
    "fault",
    [
        "drop_sockets",
        "truncate_sockets",
        "disconnect_sockets",
        "restart_hub",
        "half_open_sockets",
        "freeze_sockets",
    ],
)
def test_when_the_server_breaks_the_connection_then_the_hub_returns_with_its_subscriptions(
    connect, server, fault
):
    hub = connect(heartbeat_timeout_s=2.0)
    echo, _ = _echo(hub)
    echo(1)
    server.fault(fault)
    _until(hub, lambda: hub.reconnect_count >= 1 and hub.state == "live")
    echo(2)


def test_when_the_server_sends_nonsense_then_events_still_arrive(connect, server):
    hub = connect()
    echo, _ = _echo(hub)
    echo(1)
    server.fault("malformed_packets")
    _until(hub, lambda: hub.statistics.rejected_packets >= 10)
    echo(2)


def test_when_the_server_is_killed_and_returns_then_events_published_meanwhile_arrive(connect, server):
    hub = connect()
    echo, received = _echo(hub)
    echo(1)
    server.restart(kill=True)
    hub.publish(Event("test.echo", data={"n": 2}))
    _until(hub, lambda: 2 in received)
    assert hub.state == "live"
    assert hub.reconnect_count == 1


def test_when_a_connection_is_dropped_ten_times_then_it_comes_back_each_time(connect, server):
    hub = connect()
    echo, received = _echo(hub)
    for number in range(10):
        echo(number)
        server.fault("drop_sockets")
        _until(hub, lambda number=number: hub.reconnect_count > number and hub.state == "live")
    echo(10)
    assert set(received) == set(range(11))
