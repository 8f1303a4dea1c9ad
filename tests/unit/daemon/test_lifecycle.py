"""The states of the main process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.daemon.errors import DaemonError
from ftrackd.daemon.lifecycle import Lifecycle, State

STEPS = ["connecting", "ready", "degrade", "lift", "draining", "stopped"]


def make() -> tuple[Lifecycle, list[State]]:
    seen: list[State] = []
    return Lifecycle(lambda state, _: seen.append(state)), seen


def test_when_nothing_is_wrong_then_ready_means_live() -> None:
    lifecycle, seen = make()
    lifecycle.connecting()
    lifecycle.ready()
    assert seen == [State.CONNECTING, State.LIVE]


def test_when_two_things_are_wrong_then_live_returns_with_the_last() -> None:
    lifecycle, _ = make()
    lifecycle.connecting()
    lifecycle.ready()
    lifecycle.degrade("hub", "no packet for 20 s")
    lifecycle.degrade("journal", "disk full")
    lifecycle.lift("hub")
    assert lifecycle.state is State.DEGRADED
    assert lifecycle.degradations == {"journal": "disk full"}
    lifecycle.lift("journal")
    assert lifecycle.state is State.LIVE


def test_when_something_is_wrong_before_ready_then_ready_is_degraded() -> None:
    lifecycle, _ = make()
    lifecycle.connecting()
    lifecycle.degrade("hub", "refused")
    lifecycle.ready()
    assert lifecycle.state is State.DEGRADED


def test_when_a_part_reports_after_the_stop_began_then_the_stop_goes_on() -> None:
    lifecycle, _ = make()
    lifecycle.connecting()
    lifecycle.draining()
    lifecycle.ready()
    assert lifecycle.state is State.DRAINING


def test_when_live_is_claimed_at_boot_then_that_is_an_error() -> None:
    lifecycle, _ = make()
    with pytest.raises(DaemonError):
        lifecycle.ready()


@given(st.lists(st.sampled_from(STEPS), max_size=30))
def test_whatever_happens_live_means_nothing_is_wrong(steps: list[str]) -> None:
    lifecycle, _ = make()
    stopping = False
    for step in steps:
        try:
            if step in ("degrade", "lift"):
                getattr(lifecycle, step)(*(("x", "why") if step == "degrade" else ("x",)))
            else:
                getattr(lifecycle, step)()
        except DaemonError:
            continue
        stopping = stopping or step in ("draining", "stopped")
        if lifecycle.state is State.LIVE:
            assert not lifecycle.degradations
        if stopping:
            assert not lifecycle.is_running
