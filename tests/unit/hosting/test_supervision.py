"""When supervision asks a process whether it is there: a real link, and a clock that is set by hand."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from ftrackd.hosting import supervision
from ftrackd.hosting.capture import OutputLines
from ftrackd.hosting.group import PluginGroup
from ftrackd.hosting.link import Frame, FrameDecoder
from ftrackd.hosting.loop import HostLoop
from ftrackd.hosting.process import HostedProcess, StartReport
from ftrackd.hosting.restart import RestartPolicy
from ftrackd.hosting.supervision import Supervision
from ftrackd.settings import HostingSettings
from tests.unit.hosting.delivered import Delivered


class Control:
    """Notes what supervision does."""

    def __init__(self) -> None:
        self.signals: list[signal.Signals] = []

    def kill(self, process: HostedProcess) -> None:
        raise AssertionError("nothing is to be ended")

    def signal(self, process: HostedProcess, number: signal.Signals) -> None:
        self.signals.append(number)

    def replace(self, group: PluginGroup, reason: str) -> None:
        raise AssertionError("nothing is to be replaced")

    def give_up_guest(self, process: HostedProcess, guest: str, reason: str) -> None:
        raise AssertionError("there is no guest")

    def changed(self, group: PluginGroup) -> None:
        """Whoever looks is told by the process itself."""


class Watched:
    """A process that runs, and supervision of it at times of our choice."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.control = Control()
        self.group = PluginGroup("plugin", RestartPolicy(1.0, 60.0, 5))
        ignored = {"on_frame": _ignore, "on_done": _ignore, "on_returned": _ignore, "on_end": _ignore}
        self.loop = HostLoop()
        self.loop.start()
        self.process = HostedProcess(
            self.loop, self.group, 1, {"plugin": 1}, **ignored, output=OutputLines(["plugin"], 100)
        )
        self.link: socket.socket
        self.link, self.tally = self.process.take_child_ends()
        self.link.setblocking(False)
        self.group.current = self.process
        self.process.report = StartReport(modules={"plugin": ({"stage": "registered"},)})
        self.process.run()
        self.supervision = Supervision(HostingSettings(), {}, self.control, lambda: self.now)
        self._decoder = FrameDecoder()

    def frames(self) -> list[Frame]:
        try:
            return self._decoder.feed(self.link.recv(1 << 16))
        except BlockingIOError:
            return []

    def asked_after(self, seconds: float) -> bool:
        """Let time pass, tick and answer; return whether the process was asked."""
        self.now += seconds
        self.supervision.tick([self.group])
        self.process.unanswered_since = None
        return [frame.kind for frame in self.frames()] == ["ping"]


def _ignore(*_: object) -> None:
    """Nothing is heard from the other end."""


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    one = Watched()
    monkeypatch.setattr("ftrackd.hosting.process.time", SimpleNamespace(monotonic=lambda: one.now))
    yield one
    one.process.close()
    one.loop.stop()
    one.link.close()
    one.tally.close()


def test_when_a_process_has_no_deliveries_then_it_is_asked_rarely(watched: Watched) -> None:
    assert watched.asked_after(0)
    asked = [watched.asked_after(supervision.HEARTBEAT_S) for _ in range(8)]
    assert asked == [False, False, False, True] * 2


def test_when_a_process_runs_something_or_did_since_then_it_is_asked_each_time(watched: Watched) -> None:
    assert watched.asked_after(0)
    watched.process.deliver("plugin", [Delivered(7)])
    assert [frame.kind for frame in watched.frames()] == ["deliver"]
    assert watched.asked_after(supervision.HEARTBEAT_S)
    assert watched.asked_after(supervision.HEARTBEAT_S)
    watched.process.deliver("plugin", [Delivered(8)])
    watched.process.landed([7, 8])
    watched.frames()
    assert watched.asked_after(supervision.HEARTBEAT_S)
    assert not watched.asked_after(supervision.HEARTBEAT_S)


def test_when_an_idle_process_does_not_answer_then_that_is_said_once_and_it_is_asked_no_more(
    watched: Watched,
) -> None:
    watched.supervision.tick([watched.group])
    assert [frame.kind for frame in watched.frames()] == ["ping"]
    for _ in range(6):
        watched.now += supervision.HEARTBEAT_S
        watched.supervision.tick([watched.group])
    assert not watched.process.is_responsive
    assert watched.control.signals == [signal.SIGUSR1]
    assert watched.frames() == []
