"""Which requests a rule strikes."""

import random

import pytest

from ftrackd.sandbox.events.hub import HubServer
from ftrackd.sandbox.faults import FaultError, Faults


@pytest.fixture
def faults():
    return Faults(HubServer(), chance=random.Random(7))


def struck(faults, path="/api", times=1):
    return [rule.kind for _ in range(times) for rule in faults.choose(path)]


def test_when_count_is_given_then_that_many_are_struck(faults):
    faults.apply({"fault": "fail_requests", "count": 2})
    assert struck(faults, times=5) == ["fail_requests"] * 2
    assert faults.describe()["requests"] == []


def test_when_count_is_zero_then_none_is_struck(faults):
    faults.apply({"fault": "fail_requests", "count": 0})
    assert struck(faults, times=3) == []


@pytest.mark.parametrize("values", [{"path": 5}, {"after": "no"}, {"share": 2}, {"count": -1}, {"body": 1}])
def test_when_a_value_makes_no_sense_then_refused(faults, values):
    with pytest.raises(FaultError):
        faults.apply({"fault": "fail_requests", **values})
    assert struck(faults) == []


def test_when_share_is_given_then_about_that_share_is_struck(faults):
    faults.apply({"fault": "fail_requests", "share": 0.25})
    assert 180 < len(struck(faults, times=1000)) < 320


def test_when_rules_overlap_then_each_strikes_in_order(faults):
    faults.apply({"fault": "delay_requests", "seconds": 1})
    faults.apply({"fault": "fail_requests"})
    assert struck(faults) == ["delay_requests", "fail_requests"]


def test_when_path_is_given_then_only_below_it(faults):
    faults.apply({"fault": "fail_requests", "path": "/component"})
    assert struck(faults) == []
    assert struck(faults, "/component/get") == ["fail_requests"]


def test_when_cleared_then_nothing_is_struck(faults):
    faults.apply({"fault": "fail_requests"})
    faults.clear()
    assert struck(faults) == []


@pytest.mark.parametrize("share", [-0.1, 1.1, "half", None])
def test_when_share_is_no_share_then_refused(faults, share):
    for fault in ("fail_requests", "drop_sockets"):
        with pytest.raises(FaultError):
            faults.apply({"fault": fault, "share": share})
