"""Kill the delivery engine for an hour: ``python -m tests.fault.delivery.kill_for_an_hour [--minutes N]
[--seed S]``.

Rounds of lives, alternately at random times and at every named point, each round with a seed and a folder
of its own. Prints a line for each round. Ends at the first broken promise, with exit code 1; the folder
then keeps journal and ledger for a look.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    end = time.monotonic() + arguments.minutes * 60
    kills = 0
    for seed, point, count in rounds(arguments.seed):
        if time.monotonic() >= end:
            break
        folder = Path(tempfile.mkdtemp(prefix="ftrackd-kill-"))
        try:
            summary = run(folder, count, seed, point)
        except AssertionError as error:
            print(f"BROKEN with seed {seed} at {point or 'random times'}: {error}\nsee {folder}")
            return 1
        kills += count
        print(json.dumps({"seed": seed, "kills in all": kills, **summary}), flush=True)
        shutil.rmtree(folder)
    print(f"{kills} kills, every promise kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
