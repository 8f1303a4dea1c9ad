"""The hub with sockets that do what the tests say."""

import asyncio

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.events import hub as hub_module
from ftrackd.sandbox.events.hub import HubServer

ACTOR = Actor("id of jane", "jane", "Jane")


class FakeSocket:
    """A peer that reads what it is sent, or stops to after *reads* frames."""

    is_gone = False

    def __init__(self, reads=None):
        self.reads = reads
        self.received = []
        self.waiting_bytes = 0
        self.inbox = asyncio.Queue()
        self.ended = asyncio.Event()

    def start(self, receive):
        return asyncio.ensure_future(self.hear(receive))

    async def hear(self, receive):
        while (frame := await self.inbox.get()) is not None:
            receive(frame)

    def send(self, frame):
        if self.reads is not None and len(self.received) >= self.reads:
            self.waiting_bytes += len(frame)
        else:
            self.received.append(frame.partition(b"5:::")[2])

    def abort(self, unfinished=b""):
        self.ended.set()
        self.inbox.put_nowait(None)

    def say(self, topic, **data):
        text = f'{{"name":"ftrack.event","args":[{{"topic":"{topic}","data":{data}}}]}}'
        self.inbox.put_nowait("5:::" + text.replace("'", '"'))


async def connect(hub, socket):
    sid = hub.handshake(ACTOR).split(":")[0]
    serving = asyncio.ensure_future(hub.serve(sid, hub.claim(sid), socket))
    socket.say("ftrack.meta.subscribe", subscriber={"id": sid}, subscription="topic=x")
    while hub.subscription_count < len(hub.connections) or not hub.connections:
        await asyncio.sleep(0)
    return serving


def test_when_a_listener_does_not_read_then_it_alone_is_cut(monkeypatch, caplog):
    monkeypatch.setattr(hub_module, "QUEUE_LIMIT_BYTES", 10_000)

    async def play():
        hub = HubServer()
        hub.start()
        quick, slow = FakeSocket(), FakeSocket(reads=5)
        connections = [await connect(hub, socket) for socket in (quick, slow)]
        text = "y" * 100
        for number in range(200):
            hub.publish({"topic": "x", "data": {"number": number, "text": text}})
            await asyncio.sleep(0)
        await asyncio.wait_for(connections[1], 5)
        assert len(hub.connections) == 1
        assert hub.subscription_count == 1
        quick.abort()
        await asyncio.wait_for(connections[0], 5)
        return [frame for frame in quick.received if frame], slow.received

    events, few = asyncio.run(play())
    assert len(events) == 200
    assert len(few) == 5
    assert "does not read its events" in caplog.text


def test_when_a_session_id_is_old_or_used_then_it_is_not_claimed(monkeypatch):
    async def play():
        hub = HubServer()
        sid = hub.handshake(ACTOR).split(":")[0]
        assert hub.claim(sid) == ACTOR
        assert hub.claim(sid) is None
        monkeypatch.setattr(hub_module, "HANDSHAKE_LIFETIME_S", -1.0)
        assert hub.claim(hub.handshake(ACTOR).split(":")[0]) is None

    asyncio.run(play())


def test_when_a_peer_is_silent_for_too_long_then_it_is_cut(monkeypatch):
    monkeypatch.setattr(hub_module, "HEARTBEAT_TIMEOUT_S", 0.01)

    async def play():
        hub = HubServer(heartbeat_interval_s=0.01)
        socket = FakeSocket()
        await asyncio.wait_for(await connect(hub, socket), 5)
        assert socket.ended.is_set()
        assert hub.connections == []

    asyncio.run(play())
