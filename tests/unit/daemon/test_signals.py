"""Signals of the main process."""

from __future__ import annotations

import os
import queue
import signal
import threading

import pytest

from ftrackd.daemon.signals import SignalHandlers, StoppedEarly, stopping_early


def test_when_another_thread_receives_a_signal_then_its_handler_runs_though_the_main_thread_sleeps() -> None:
    """As when a signal comes just before the main thread goes to sleep: nothing wakes that up."""
    handled: queue.SimpleQueue[str] = queue.SimpleQueue()
    with SignalHandlers({signal.SIGHUP: lambda: handled.put("hang-up")}):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGHUP)).start()
            assert handled.get(timeout=10) == "hang-up"
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def test_when_signals_keep_coming_then_each_is_handled() -> None:
    handled: queue.SimpleQueue[int] = queue.SimpleQueue()
    with SignalHandlers({signal.SIGHUP: lambda: handled.put(1)}):
        for _ in range(50):
            os.kill(os.getpid(), signal.SIGHUP)
            handled.get(timeout=10)
    assert handled.empty()


def test_when_a_handler_raises_then_the_main_thread_raises_and_the_former_handlers_are_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGURG)
    wakeup_before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup_before)
    with pytest.raises(StoppedEarly), stopping_early():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        threading.Event().wait(10)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGURG)) == before
    assert signal.set_wakeup_fd(wakeup_before) == wakeup_before
    assert not [thread for thread in threading.enumerate() if thread.name == "ftrackd-signals"]


def test_when_one_is_within_another_then_the_inner_handles_and_the_outer_again_afterwards() -> None:
    handled: queue.SimpleQueue[str] = queue.SimpleQueue()
    with SignalHandlers({signal.SIGHUP: lambda: handled.put("outer")}):
        with SignalHandlers({signal.SIGHUP: lambda: handled.put("inner")}):
            os.kill(os.getpid(), signal.SIGHUP)
            assert handled.get(timeout=10) == "inner"
        os.kill(os.getpid(), signal.SIGHUP)
        assert handled.get(timeout=10) == "outer"
