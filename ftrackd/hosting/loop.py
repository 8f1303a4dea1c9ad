"""The host's one thread: sockets, pipes, timers and calls from other threads, one after the other."""

from __future__ import annotations

import collections
import concurrent.futures
import heapq
import itertools
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import structlog

Callback = Callable[[], object]
# So many rounds in so short a time are load, and then each is preceded by a pause.
_LOADED_ROUNDS: Final = 8
_LOADED_S: Final = 0.03
_GATHERING_S: Final = 0.002
_log = structlog.stdlib.get_logger("ftrackd.hosting.loop")
_T = TypeVar("_T")


class HostLoop:
    """Runs callbacks in one thread, so that the host's state needs no locks."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._drain_wakeups)
        self._calls: collections.deque[Callback] = collections.deque()
        self._timers: list[tuple[float, int, Callback]] = []
        self._numbers = itertools.count()
        self._rounds = collections.deque([0.0], maxlen=_LOADED_ROUNDS)
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="ftrackd-host", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what was called before; no callback runs afterwards."""
        self.call(self._end)
        if not self.is_current():
            self._thread.join()

    def is_current(self) -> bool:
        """Return whether the calling thread is the loop's."""
        return threading.current_thread() is self._thread

    def call(self, callback: Callback) -> None:
        """Run *callback* in the loop's thread soon."""
        self._calls.append(callback)
        self._wake()

    def ask(self, question: Callable[[], _T], timeout_s: float = 10.0) -> _T:
        """Run *question* in the loop's thread and return its answer; raises what it raises."""
        if self.is_current() or not self._thread.is_alive():
            return question()
        future: concurrent.futures.Future[_T] = concurrent.futures.Future()

        def answer() -> None:
            try:
                future.set_result(question())
            except Exception as error:  # noqa: BLE001 - handed to whoever asked
                future.set_exception(error)

        self.call(answer)
        return future.result(timeout_s)

    def later(self, delay_s: float, callback: Callback) -> None:
        """Run *callback* after *delay_s*; from the loop's thread only."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), callback))

    def watch(self, file: Any, callback: Callback) -> None:
        """Run *callback* whenever *file* can be read; from the loop's thread only."""
        self._selector.register(file, selectors.EVENT_READ, (callback, None))

    def watch_writing(self, file: Any, reading: Callback, writing: Callback | None) -> None:
        """Also run *writing* whenever *file* can be written, until called with ``None``."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        try:
            self._selector.modify(file, events, (reading, writing))
        except (KeyError, ValueError):
            # The file was forgotten while this call was on its way.
            return

    def forget(self, file: Any) -> None:
        """Watch *file* no longer."""
        try:
            self._selector.unregister(file)
        except (KeyError, ValueError):
            # It was never watched, or its descriptor is closed already.
            return

    def _end(self) -> None:
        self._is_stopping = True

    def _run(self) -> None:
        while not self._is_stopping:
            self._gather()
            for key, events in self._selector.select(self._timeout()):
                if callable(key.data):
                    key.data()
                    continue
                reading, writing = key.data
                if events & selectors.EVENT_READ:
                    self._guarded(reading)
                if events & selectors.EVENT_WRITE and writing is not None:
                    self._guarded(writing)
            self._run_calls()
            self._run_timers()
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    def _gather(self) -> None:
        """Under load let more come together: to look and to read costs as much for one report as for many."""
        now = time.monotonic()
        self._rounds.append(now)
        if now - self._rounds[0] < _LOADED_S:
            time.sleep(_GATHERING_S)

    def _timeout(self) -> float | None:
        if self._calls:
            return 0.0
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _run_calls(self) -> None:
        for _ in range(len(self._calls)):
            self._guarded(self._calls.popleft())

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, callback = heapq.heappop(self._timers)
            self._guarded(callback)

    def _guarded(self, callback: Callback) -> None:
        try:
            callback()
        except Exception:  # noqa: BLE001 - contains one step, the listener included: supervision goes on
            _log.exception("host step failed")

    def _wake(self) -> None:
        try:
            self._wake_write.send(b"\0")
        except (BlockingIOError, OSError):
            # Full means that it is awake already; closed means that it has ended.
            return

    def _drain_wakeups(self) -> None:
        try:
            self._wake_read.recv(4096)
        except BlockingIOError:
            return
