"""kill -9 of the process that has the journal, at named points and at any time: 200 kills."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ftrackd.delivery import failpoints
from tests.fault.delivery import kill_for_an_hour

ROOT = Path(__file__).parents[3]
IN_CATCH_UP = {name for name in failpoints.NAMES if name.startswith("catchup.")}
POINTS = sorted(failpoints.NAMES - IN_CATCH_UP)


def lives(folder, *arguments):
    """Run lives in a process of their own; returns the summaries."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.fault.delivery.lives", str(folder), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return [json.loads(line) for line in finished.stdout.splitlines()]


def test_when_killed_at_each_named_point_then_nothing_is_lost_or_done_again(tmp_path):
    named = [argument for point in POINTS for argument in ("--point", point)]
    summaries = lives(tmp_path, "--kills", 4, *named)
    assert [summary["point"] for summary in summaries] == POINTS
    assert all(summary["kills"] == 4 for summary in summaries)


@pytest.mark.parametrize("seed", [1, 2])
def test_when_killed_at_any_time_then_nothing_is_lost_or_done_again(tmp_path, seed):
    (summary,) = lives(tmp_path, "--kills", 66, "--seed", seed * 1000)
    assert summary["kills"] == 66
    assert summary["again"] > 0, "no kill met a delivery that ran: the test proves nothing"


def test_when_a_promise_is_broken_then_the_hour_ends_at_once_and_says_with_which_seed(monkeypatch, capsys):
    def run(folder, kills, seed, point):
        if seed > 8:
            raise AssertionError("e5 was acknowledged and is lost")
        return {"kills": kills, "events": 10, "again": 1, "slowest_start_s": 0.1}

    monkeypatch.setattr(kill_for_an_hour, "run", run)
    assert kill_for_an_hour.main(["--seed", "7"]) == 1
    shown = capsys.readouterr().out
    assert "BROKEN with seed 1007 at random times: e5 was acknowledged and is lost" in shown
    assert "2 rounds, 110 kills, 20 events, 2 deliveries run again, slowest start 0.1 s" in shown
    monkeypatch.setattr(kill_for_an_hour, "rounds", lambda seed: iter([(7, None, 100)]))
    assert kill_for_an_hour.main(["--seed", "7"]) == 0
    assert "every promise kept in" in capsys.readouterr().out


def test_when_a_failpoint_is_unknown_then_the_error_lists_those_there_are():
    with pytest.raises(ValueError, match=r"append\.before"):
        failpoints.arm("no.such.point")
    with pytest.raises(ValueError, match="counts passes"):
        failpoints.arm("append.before:0")


def test_when_armed_by_the_environment_then_the_process_ends_there():
    code = (
        "from ftrackd.delivery.failpoints import failpoint as f; "
        "f('append.after'); f('append.before'); print('once', flush=True); f('append.before')"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env={"FTRACKD_FAILPOINT": "append.before:2"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (-9, "once\n")
