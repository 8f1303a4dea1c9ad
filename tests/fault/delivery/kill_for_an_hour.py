"""Kill the delivery engine for an hour: ``python -m tests.fault.delivery.kill_for_an_hour [--minutes N]
[--seed S]``.

Rounds of lives, alternately at random times and at every named point, each round with a seed and a folder
of its own. Prints a line for each round, and what it came to at the end, also after Ctrl+C. Ends at the first
broken promise, or whatever else goes wrong, with exit code 1; the folder then keeps journal and ledger for a
look.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import structlog

from ftrackd.delivery import failpoints
from tests.fault.delivery.lives import run

KILLS_AT_RANDOM = 100
KILLS_AT_A_POINT = 10


def rounds(seed):
    """Endless (seed, point, kills); no point means at random times."""
    points = sorted(name for name in failpoints.NAMES if not name.startswith("catchup."))
    while True:
        for point in points:
            yield seed, None, KILLS_AT_RANDOM
            yield seed + 1, point, KILLS_AT_A_POINT
            seed += 1000


class Totals:
    """What all rounds came to."""

    def __init__(self):
        self.began = time.monotonic()
        self.rounds = self.kills = self.events = self.again = 0
        self.slowest_start_s = 0.0

    @property
    def minutes(self):
        return (time.monotonic() - self.began) / 60

    def add(self, summary):
        self.rounds += 1
        self.kills += summary["kills"]
        self.events += summary["events"]
        self.again += summary["again"]
        self.slowest_start_s = max(self.slowest_start_s, summary["slowest_start_s"])

    def __str__(self):
        return (
            f"{self.minutes:.1f} minutes, {self.rounds} rounds, {self.kills} kills, {self.events} events, "
            f"{self.again} deliveries run again, slowest start {self.slowest_start_s} s"
        )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args(argv)
    totals = Totals()
    try:
        return kill(arguments, totals)
    except KeyboardInterrupt:
        print(f"interrupted; every promise kept in {totals}")
        return 0


def kill(arguments, totals):
    for seed, point, count in rounds(arguments.seed):
        if totals.minutes >= arguments.minutes:
            break
        folder = Path(tempfile.mkdtemp(prefix="ftrackd-kill-"))
        try:
            summary = run(folder, count, seed, point)
        except Exception as error:
            traceback.print_exc()
            print(f"BROKEN with seed {seed} at {point or 'random times'}: {error}\nsee {folder}; {totals}")
            return 1
        totals.add(summary)
        print(json.dumps({"minutes": round(totals.minutes, 1), "seed": seed, **summary}), flush=True)
        shutil.rmtree(folder)
    print(f"every promise kept in {totals}")
    return 0


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # thousands of expected warnings
    sys.exit(main())
