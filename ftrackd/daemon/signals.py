"""Signals of the main process: each one's handler runs soon, whatever the main thread does."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

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
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> SignalHandlers:
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (*self._handlers, _WAKE):
            self._before[number] = signal.signal(number, self._handle)
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
            outer = self._before.get(_WAKE)
            if callable(outer):
                # Signals that came before we took over may keep the outer handlers' thread waking us.
                outer(number, _frame)
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


class EarlyStop:
    """Raises StoppedEarly when a signal to stop comes: once, and not while something is held."""

    def __init__(self) -> None:
        self._is_asked = self._is_held = self._is_ending = False

    def ask(self) -> None:
        """Stop now, or at the end of what is held. What is on its way out already is not disturbed."""
        self._is_asked = True
        if not self._is_held:
            self._stop()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the body finish what it begins, before a signal that comes meanwhile stops us."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._is_asked:
            self._stop()

    def ends(self) -> None:
        """Raise nothing any more: all is being taken down, and what is half taken down would stay."""
        self._is_ending = True

    def _stop(self) -> None:
        if not self._is_ending:
            self._is_ending = True
            raise StoppedEarly


@contextmanager
def stopping_early() -> Iterator[EarlyStop]:
    """Raise StoppedEarly in the main thread when a signal to stop comes, while no daemon handles it.

    SIGHUP does nothing: there are no Sessions yet that could be reset.
    """
    early = EarlyStop()
    handlers = {signal.SIGTERM: early.ask, signal.SIGINT: early.ask, signal.SIGHUP: lambda: None}
    with SignalHandlers(handlers):
        yield early


def ignore_signals() -> None:
    """Let no second Ctrl-C or SIGTERM decide the exit code of a process that has ended its work."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
