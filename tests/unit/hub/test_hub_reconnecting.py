"""The hub connects in the background, reconnects, and gives up when it is told to."""

from __future__ import annotations

import logging
import os
import threading
import time

import pytest

from ftrackd.api.event.base import Event
from ftrackd.api.event.hub import EventHub, ReconnectPolicy
from ftrackd.api.exception import EventHubConnectionError

from .hub_server import DEADLINE_S, HubServer, eventually
from .hubs import closed_port, hub_threads, quick_hub


def test_when_the_server_comes_later_then_a_background_connection_finds_it():
    port = closed_port()
    hub = quick_hub(f"http://127.0.0.1:{port}")
    thread = hub.connect_in_background()
    assert thread.is_alive()
    assert hub.state == "connecting"
    assert hub.publish(Event("a")) is True
    assert not hub.wait_until_connected(0.05)
    with HubServer(port=port) as server:
        assert hub.wait_until_connected(DEADLINE_S)
        eventually(lambda: server.peer.published("a"))
        assert hub.state_reason == "Connected."
        hub.disconnect()


def test_when_attempts_are_limited_and_used_up_then_wait_ends_and_publishing_is_refused(caplog):
    hub = EventHub(
        f"http://127.0.0.1:{closed_port()}",
        "anna",
        "key",
        reconnect=ReconnectPolicy(attempts=3, first_delay_s=0.01),
    )
    topics = []
    hub.subscribe("topic=ftrack.meta.disconnected", lambda event: topics.append(event["data"]["reason"]))
    hub.connect_in_background()
    hub.wait(DEADLINE_S)
    assert len(topics) == 1
    assert "Gave up after 3 attempts" in topics[0]
    assert hub.state == "closed"
    with pytest.raises(EventHubConnectionError):
        hub.publish(Event("a"))
    assert [record.levelno for record in caplog.records].count(logging.CRITICAL) == 1


def test_when_disconnected_during_the_back_off_then_that_ends_at_once():
    policy = ReconnectPolicy(first_delay_s=60, shortest_delay_s=60)
    hub = EventHub(f"http://127.0.0.1:{closed_port()}", "anna", "key", reconnect=policy)
    thread = hub.connect_in_background()
    eventually(lambda: "refused" in str(hub._connection.last_error))
    hub.disconnect()
    thread.join(DEADLINE_S)
    assert not thread.is_alive(), "it does not wait for the minute to pass"
    assert hub.state == "closed"


def test_when_disconnected_during_a_handshake_then_that_ends_at_once_and_no_socket_opens_later():
    with HubServer() as server:
        answering = threading.Event()

        def stall(headers):
            answering.wait(DEADLINE_S)

        server.handshake_answer = stall
        hub = quick_hub(server.url)
        thread = hub.connect_in_background()
        eventually(lambda: server.handshakes)
        hub.disconnect()
        assert hub.state == "closed"
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
        assert not answering.is_set(), "the end waited for nobody"
        answering.set()
        assert all(peer.gone.wait(DEADLINE_S) for peer in server.peers)
        assert hub.state == "closed"


def test_when_a_handshake_takes_long_then_callbacks_still_expire_meanwhile():
    with HubServer() as server:
        answering = threading.Event()

        def stall(headers):
            answering.wait(DEADLINE_S)

        server.handshake_answer = stall
        hub = quick_hub(server.url, reply_timeout_s=0.01)
        hub.connect_in_background()
        hub.publish(Event("a"), on_reply=print)
        eventually(lambda: hub.statistics.expired_replies == 1)
        assert hub.state == "connecting"
        answering.set()
        assert hub.wait_until_connected(DEADLINE_S)
        hub.disconnect()


def test_when_reconnect_is_called_then_a_new_connection_replaces_the_old_one():
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.connect()
        hub.reconnect()
        assert hub.state == "live"
        server.wait_for_peer(2)  # the server's thread notes a client after it has let it in
        assert len(server.peers) == 2
        assert server.peers[0].gone.wait(DEADLINE_S)
        assert hub.reconnect_count == 1
        hub.disconnect()
        hub.reconnect()
        assert hub.state == "live"
        hub.disconnect()


def test_when_a_reconnect_fails_then_it_says_so_after_its_attempts_and_the_hub_goes_on():
    server = HubServer()
    hub = quick_hub(server.url)
    hub.connect()
    server.stop()
    with pytest.raises(EventHubConnectionError, match="Failed to reconnect"):
        hub.reconnect(attempts=2, delay=0.01)
    with HubServer(port=server.port):
        eventually(lambda: hub.state == "live")
        hub.disconnect()


def test_when_the_hub_reconnects_then_nobodys_logging_is_muted():
    with HubServer() as server:
        hub = quick_hub(server.url)
        hub.connect()
        logging.disable(logging.DEBUG)
        try:
            levels = []
            hub.on_state_change(lambda change: levels.append(logging.root.manager.disable))
            server.peer.reset()
            server.wait_for_peer(2)
            eventually(lambda: hub.state == "live")
            assert set(levels) == {logging.DEBUG}
            assert logging.root.manager.disable == logging.DEBUG
        finally:
            logging.disable(logging.NOTSET)
        hub.disconnect()


def test_when_hooks_are_removed_then_they_are_not_called_any_more():
    with HubServer() as server:
        hub = quick_hub(server.url)
        changes = []
        remove = hub.on_state_change(changes.append)
        hub.connect()
        assert [(change.previous, change.current) for change in changes] == [
            ("closed", "connecting"),
            ("connecting", "live"),
        ]
        remove()
        hub.disconnect()
        assert len(changes) == 2


def test_when_a_hub_comes_and_goes_then_no_thread_and_no_socket_stays():
    with HubServer() as server:
        eventually(lambda: not hub_threads())
        files = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            hub = quick_hub(server.url)
            hub.connect()
            hub.reconnect()
            hub.disconnect()
        assert not hub_threads()
        eventually(lambda: len(os.listdir("/proc/self/fd")) <= files)


def test_when_connecting_and_disconnecting_race_then_nothing_is_left_running():
    with HubServer() as server:
        for step in range(30):
            hub = quick_hub(server.url)
            failures = []

            def connect(hub=hub, failures=failures):
                try:
                    hub.connect()
                except EventHubConnectionError as error:
                    failures.append(error)

            connecting = threading.Thread(target=connect)
            connecting.start()
            time.sleep(step * 0.0002)  # meets another moment of the handshake each time
            hub.close()
            connecting.join(DEADLINE_S)
            hub.close()
            assert hub.state == "closed"
        eventually(lambda: not hub_threads())
        eventually(lambda: all(peer.gone.is_set() for peer in server.peers))
