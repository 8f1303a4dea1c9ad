"""What the service manager hears."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftrackd.daemon.notify import ServiceNotifier, Watchdog


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "n"))
        channel.settimeout(5)
        yield channel


def test_the_messages_are_those_of_sd_notify(manager: socket.socket) -> None:
    notifier = ServiceNotifier(manager.getsockname())
    notifier.ready("live, 3 plugins")
    assert manager.recv(1000) == b"READY=1\nSTATUS=live, 3 plugins"
    notifier.reloading()
    assert manager.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    notifier.stopping("draining")
    assert manager.recv(1000) == b"STOPPING=1\nSTATUS=draining"


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    ServiceNotifier("").ready("live")
    ServiceNotifier(str(tmp_path / "gone")).ready("live")


def test_the_watchdog_is_fed_only_while_work_moves(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    progress = threading.Event()
    progress.set()
    watchdog = Watchdog(ServiceNotifier(manager.getsockname()), progress.is_set)
    watchdog.start()
    assert manager.recv(100) == b"WATCHDOG=1"
    progress.clear()
    manager.settimeout(0.3)
    with pytest.raises(TimeoutError):
        while True:  # what was already under way may still arrive, then there is silence
            manager.recv(100)
    watchdog.stop()
