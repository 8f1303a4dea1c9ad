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


def test_when_something_is_held_then_a_signal_stops_after_it_and_only_once() -> None:
    done = []
    with stopping_early() as early:
        with pytest.raises(StoppedEarly), early.held():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("held")
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
        done.append("on the way out")
    assert done == ["held", "on the way out"]


def test_when_all_is_taken_down_then_a_first_signal_disturbs_it_no_more() -> None:
    with stopping_early() as early:
        early.ends()
        os.kill(os.getpid(), signal.SIGTERM)
        with early.held():
            os.kill(os.getpid(), signal.SIGTERM)


def test_when_a_signal_came_just_before_another_takes_over_then_nobody_is_woken_for_ever() -> None:
    handled: queue.SimpleQueue[str] = queue.SimpleQueue()
    with SignalHandlers({signal.SIGHUP: lambda: handled.put("outer")}) as outer:
        outer._asked += 1  # its thread saw a signal and waits for the main thread to look
        with SignalHandlers({signal.SIGTERM: lambda: None}):
            os.kill(os.getpid(), signal.SIGURG)
            assert outer._looked == outer._asked


def test_when_one_is_within_another_then_the_inner_handles_and_the_outer_again_afterwards() -> None:
    handled: queue.SimpleQueue[str] = queue.SimpleQueue()
    with SignalHandlers({signal.SIGHUP: lambda: handled.put("outer")}):
        with SignalHandlers({signal.SIGHUP: lambda: handled.put("inner")}):
            os.kill(os.getpid(), signal.SIGHUP)
            assert handled.get(timeout=10) == "inner"
        os.kill(os.getpid(), signal.SIGHUP)
        assert handled.get(timeout=10) == "outer"
