"""Transports of ones own, and hosts that override parts of the hub."""

from __future__ import annotations

import queue
import time

from ftrackd.api.event.base import Event
from ftrackd.api.event.hub import EventHub
from ftrackd.api.event.transport import TransportClosed, TransportError

from .hub_server import DEADLINE_S, HubServer, eventually
from .hubs import QUICK


class QueueTransport:
    """A transport within this process."""

    def __init__(self):
        self.sent = queue.Queue()
        self.to_receive = queue.Queue()
        self.opened = 0

    def open(self):
        self.opened += 1
        if self.opened == 1:
            raise TransportError("not yet")

    def send(self, frame):
        self.sent.put(frame)

    def receive(self, timeout_s):
        try:
            frame = self.to_receive.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if frame is None:
            raise TransportClosed("closed")
        return frame

    def close(self):
        self.to_receive.put(None)


def test_when_a_transport_of_ones_own_is_given_then_the_hub_works_over_it():
    transports = []

    def make():
        transports.append(QueueTransport())
        transports[-1].opened = len(transports) - 1
        return transports[-1]

    hub = EventHub("http://nowhere.invalid", "anna", "key", transport_factory=make, reconnect=QUICK)
    received = []
    hub.subscribe("topic=a", lambda event: received.append(event["data"]))
    hub.connect_in_background()
    assert hub.wait_until_connected(DEADLINE_S)
    assert "ftrack.meta.reply" in transports[1].sent.get(timeout=DEADLINE_S)
    transports[1].to_receive.put('5:::{"name":"ftrack.event","args":[{"topic":"a","data":{"n":1}}]}')
    while not received:
        hub.wait(0.02)
    transports[1].to_receive.put(None)
    eventually(lambda: len(transports) == 3 and hub.state == "live")
    hub.disconnect()
    assert received == [{"n": 1}]


def test_when_a_transport_breaks_its_promise_then_the_hub_connects_anew(caplog):
    transports = []

    class Broken(QueueTransport):
        def receive(self, timeout_s):
            raise ZeroDivisionError

    def make():
        transports.append(Broken() if not transports else QueueTransport())
        transports[-1].opened = 1
        return transports[-1]

    hub = EventHub("http://nowhere.invalid", "anna", "key", transport_factory=make, reconnect=QUICK)
    hub.connect_in_background()
    eventually(lambda: len(transports) == 2 and hub.state == "live")
    assert "ended by a mistake" in caplog.text
    hub.disconnect()


def test_when_a_host_overrides_packet_handling_and_waiting_then_its_ways_work():
    """A known host subclasses the hub like this to feed it from its own queue."""

    class HostHub(EventHub):
        def _handle_packet(self, code, packet_identifier, path, data):
            name = self._code_name_mapping[code]
            if name == "event":
                seen.append(data)
                return None
            if name == "heartbeat":
                self._send_packet(self._code_name_mapping["heartbeat"])
                return None
            return super()._handle_packet(code, packet_identifier, path, data)

        def wait(self, duration=None):
            end = time.monotonic() + duration
            while time.monotonic() < end:
                try:
                    event = self._event_queue.get(timeout=0.02)
                except queue.Empty:
                    continue
                self._handle(event)

    seen, handled, acknowledged = [], [], []
    with HubServer() as server:
        hub = HostHub(server.url, "anna", "key", reconnect=QUICK)
        hub.subscribe("topic=own", handled.append)
        hub.connect()
        server.peer.send_event({"topic": "a"})
        server.peer.send("2::")
        assert server.peer.next_frame("2:").startswith("2::")
        eventually(lambda: seen)
        hub._event_queue.put(Event("own"))
        while not handled:
            hub.wait(0.05)
        hub._send_packet("5", '{"name":"ftrack.event","args":[{"topic":"x"}]}', callback=acknowledged.append)
        eventually(lambda: acknowledged == [{"success": True}])
        hub._acknowledge_packet("7+", {"success": True})
        assert server.peer.next_frame("6:") == '6:::7+[{"success":true}]'
        hub.disconnect()
