"""The hub and a server on real sockets: subscribe, publish, reply, disconnect."""

import threading

from ftrackd.api.event.base import Event
from ftrackd.api.event.hub import EventHub

from .hub_server import DEADLINE_S, HubServer, eventually


def test_when_an_event_is_published_then_the_subscriber_replies_to_the_publisher():
    with HubServer() as server:
        hub = EventHub(server.url, "anna", "key")
        received, replies = [], []
        hub.subscribe("topic=test.a", lambda event: received.append(event) or {"n": 1})
        hub.connect()
        hub.publish(Event("test.a", data={"x": 1}), on_reply=replies.append)
        while not replies:
            hub.wait(0.05)
        hub.disconnect()
    assert received[0]["data"] == {"x": 1}
    assert received[0]["source"]["user"] == {"username": "anna"}
    assert replies[0]["data"] == {"n": 1}
    assert replies[0]["in_reply_to_event"] == received[0]["id"]


def test_when_another_thread_disconnects_then_wait_ends_at_once():
    with HubServer() as server:
        hub = EventHub(server.url, "anna", "key")
        hub.connect()
        waiting = threading.Thread(target=hub.wait)
        waiting.start()
        eventually(lambda: server.peer.subscriptions.match({"topic": "ftrack.meta.reply", "target": ""}))
        hub.disconnect()
        waiting.join(DEADLINE_S)
        assert not waiting.is_alive()
        assert hub.state == "closed"
