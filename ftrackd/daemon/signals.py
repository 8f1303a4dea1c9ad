"""Signals of the main process: each one's handler runs soon, whatever the main thread does."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

_WAKE: Final = signal.SIGURG
"""Ignored by whoever has no handler for it, and nothing here has a use for it otherwise."""

_AGAIN_S: Final = 0.05


class StoppedEarly(BaseException):
    """Asked to stop before the daemon runs. Not an Exception: nothing on the way out may handle it."""


class SignalHandlers:
    """Runs *handlers* in the main thread while the context lasts; a handler may raise.

    Python calls a handler when its main thread next runs bytecode. A signal that comes just before that
    thread goes to sleep on a lock does not wake it, and its handler waits for the next signal, maybe for
    ever. So a thread is told of each signal through ``signal.set_wakeup_fd``, and wakes the main thread until
    that has looked. Enter it in the main thread.
    """

    def __init__(self, handlers: Mapping[signal.Signals, Callable[[], None]]) -> None:
        self._handlers = handlers
        self._thread = threading.Thread(target=self._watch, name="ftrackd-signals", daemon=True)
        self._main = threading.get_ident()
        self._reader, self._writer = socket.socketpair()
        # A handler that runs in the main thread may not take a lock that this thread could hold.
        self._asked = self._looked = 0

    def __enter__(self) -> SignalHandlers:
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._handle) for number in (*self._handlers, _WAKE)}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        self._writer.close()
        # Before the handlers go: it may be about to wake us.
        self._thread.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()

    def _handle(self, number: int, _frame: object) -> None:
        if number == _WAKE:
            # What was there before has been handled: Python goes by the numbers of signals, and this one
            # comes after those that stop a process.
            self._looked = self._asked
        else:
            self._handlers[signal.Signals(number)]()

    def _watch(self) -> None:
        while numbers := self._reader.recv(4096):
            if any(number != _WAKE for number in numbers):
                self._wake_main_thread()

    def _wake_main_thread(self) -> None:
        self._asked += 1
        while self._looked != self._asked:
            signal.pthread_kill(self._main, _WAKE)
            time.sleep(_AGAIN_S)


@contextmanager
def stopping_early() -> Iterator[None]:
    """Raise StoppedEarly in the main thread when a signal to stop comes, while no daemon handles it."""

    def stop() -> None:
        raise StoppedEarly

    with SignalHandlers(dict.fromkeys((signal.SIGTERM, signal.SIGINT), stop)):
        yield
