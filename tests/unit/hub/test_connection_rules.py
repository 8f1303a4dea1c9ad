"""Back-off and liveness with a clock and chance of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.api.event._connection_rules import Backoff, Liveness, ReconnectPolicy


@given(
    st.lists(st.sampled_from(["failed", "lost at once", "lost after long"]), max_size=80),
    st.floats(0, 1),
    st.floats(0.01, 5),
    st.floats(1, 60),
)
def test_when_attempts_fail_then_every_wait_is_within_its_doubling_ceiling(happenings, chance, first, cap):
    policy = ReconnectPolicy(first_delay_s=first, delay_cap_s=cap)
    backoff = Backoff(policy, lambda: chance)
    doublings = 0
    for happening in happenings:
        if happening == "failed":
            delay = backoff.after_failure_s()
        else:
            lasted = policy.stable_after_s if happening == "lost after long" else 0.0
            doublings = 0 if happening == "lost after long" else doublings
            delay = backoff.after_loss_s(lasted)
        ceiling = min(cap, first * 2.0**doublings)
        assert delay is not None
        assert delay == max(policy.shortest_delay_s, chance * ceiling)
        assert delay <= 60
        doublings += 1


def test_when_no_limit_is_set_then_attempts_never_end():
    backoff = Backoff(ReconnectPolicy(), lambda: 1.0)
    assert [backoff.after_failure_s() for _ in range(2000)][-1] == 60.0


def test_when_attempts_are_limited_then_they_end_and_a_success_counts_anew():
    backoff = Backoff(ReconnectPolicy(attempts=3), lambda: 0.5)
    assert backoff.after_failure_s() is not None
    assert backoff.after_failure_s() is not None
    backoff.after_loss_s(0.0)
    assert backoff.after_failure_s() is not None
    assert backoff.after_failure_s() is not None
    assert backoff.after_failure_s() is None


def test_when_credentials_are_refused_then_the_server_is_asked_once_a_minute():
    backoff = Backoff(ReconnectPolicy(), lambda: 0.0)
    assert [backoff.after_failure_s(refused=True) for _ in range(3)] == [60.0, 60.0, 60.0]


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first_delay_s": 0}, {"delay_cap_s": -1}])
def test_when_a_policy_makes_no_sense_then_it_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        ReconnectPolicy(**wrong)


@given(st.floats(0.01, 120), st.lists(st.tuples(st.booleans(), st.floats(0, 200)), max_size=20))
def test_when_time_passes_then_silence_is_stale_at_half_and_dead_at_the_whole(timeout, steps):
    now = last = 1000.0
    liveness = Liveness(timeout, now)
    for is_packet, seconds in steps:
        now += seconds
        if is_packet:
            liveness.packet_received(now)
            last = now
        assert liveness.is_dead(now) is (now - last >= timeout)
        assert liveness.is_stale(now) is (now - last >= timeout / 2)
        check = liveness.next_check_s(now)
        assert check is not None
        assert check >= 0
        if not liveness.is_dead(now):
            just_before, at_check = now + check * 0.99, now + check * 1.001 + 1e-6
            assert liveness.is_stale(just_before) is liveness.is_stale(now)
            assert liveness.is_stale(at_check)


def test_when_silence_means_nothing_then_it_never_counts():
    liveness = Liveness(None, 0.0)
    assert not liveness.is_dead(1e9)
    assert not liveness.is_stale(1e9)
    assert liveness.next_check_s(1e9) is None
