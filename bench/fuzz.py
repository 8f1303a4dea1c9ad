"""Feed the hub's codec with mutated frames, a million by default; only documented errors may leave it.

bench/fuzz.py [count] [seed]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.unit.hub import packet_fuzz


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()
    print(f"{count} frames, seed {seed}")
    begun = time.perf_counter()
    understood = packet_fuzz.run(count, seed)
    passed = time.perf_counter() - begun
    print(f"{understood} were still understood, the others refused, and nothing else happened.")
    print(f"{count / passed:.0f} frames/s")


if __name__ == "__main__":
    main()
