"""The watchdog's truth: a loop that hangs is named, one that moves is not."""

import threading
import time

import pytest

from ftrackd.daemon import progress
from ftrackd.daemon.progress import Progress


def wait_until(condition: object, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_loop_that_hangs_is_named_and_forgiven_when_it_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "ASK_EVERY_S", 0.01)
    hanging = threading.Event()
    freed = threading.Event()

    def question() -> None:
        if hanging.is_set():
            freed.wait()

    watched = Progress({"moving": lambda: None, "hanging": question})
    watched.start()
    wait_until(lambda: watched.stuck(0.2) == [])
    hanging.set()
    wait_until(lambda: watched.stuck(0.2) == ["hanging"])
    hanging.clear()
    freed.set()
    wait_until(lambda: watched.stuck(0.2) == [])
    watched.stop()


def test_no_answer_in_time_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "ASK_EVERY_S", 0.01)

    def question() -> None:
        raise TimeoutError

    watched = Progress({"silent": question})
    watched.start()
    wait_until(lambda: watched.stuck(0.1) == ["silent"])
    watched.stop()
