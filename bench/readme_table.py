"""Make the table of the README's section "Speed" from measurements.

    bench/readme_table.py [--write] [FILE ...]

Prints the table; with --write puts it into README.md in the place of the one that is there. FILEs are of
bench/results/, the newest when none is given; later ones add to earlier ones and replace what they have. A
line whose rows were not all measured is left out, and named.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"

_HEAD = "| what | official | ftrackd |\n|---|---|---|\n"
_TABLE = re.compile(re.escape(_HEAD) + r"(?:\|.*\n)+")

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """A line of the README's table: what it says, and the rows of the measurements it is made of."""

    label: str
    rows: tuple[str, ...]
    #: The values of all rows, or their range.
    is_range: bool = False

    def cell(self, records: Sequence[Record], client: str) -> str:
        """Return what stands in the column of `client`."""
        key = "official" if client == "official" else "ours"
        numbers = [record[key] for record in records]
        if any(number is None for number in numbers):
            return "-"
        if self.is_range:
            ordered = sorted(records, key=lambda record: float(record[key]))
            return f"{ordered[0]['written'][key]} to {ordered[-1]['written'][key]}"
        return " / ".join(record["written"][key] for record in records)


def _line(label: str, *rows: str) -> Line:
    return Line(label, rows)


LINES = (
    _line("import the client", "import, net of bare Python"),
    _line("import and first Session of a process", "import and first Session of a process"),
    _line(
        "Session start, warm schema cache, of decoding the schemas",
        "the same, of decoding the schemas",
    ),
    _line(
        "query 5,000 Tasks, 5 / 20 attributes",
        "query 5,000 Tasks, 5 attributes",
        "query 5,000 Tasks, 20 attributes",
    ),
    _line(
        "the same, of decoding the answer",
        "query 5,000 Tasks, 5 attributes, of decoding its JSON",
        "query 5,000 Tasks, 20 attributes, of decoding its JSON",
    ),
    _line("query 5,000 Tasks with nested names", "query 5,000 Tasks, nested names"),
    _line("the same, of decoding the answer", "query 5,000 Tasks, nested names, of decoding its JSON"),
    _line("read one loaded attribute", "read one loaded attribute"),
    _line(
        "memory for each cached Task, of plain dicts, 5 / 20 attributes",
        "memory per Task, 5 attributes, of plain dicts",
        "memory per Task, 20 attributes, of plain dicts",
    ),
    _line("calls to read `status.name` of 100 tasks", "calls to read status.name of 100 tasks"),
    _line("create and commit 1,000 Tasks", "create and commit 1,000 Tasks"),
    _line("commit one update with 20,000 entities cached", "commit one update, 20,000 cached"),
    Line(
        "parse a subscription (five real ones)",
        (
            "parse: one condition",
            "parse: two conditions",
            "parse: three conditions, quoted",
            "parse: parentheses and not",
            "parse: nested parentheses",
        ),
        is_range=True,
    ),
    _line("match one event against 200 subscriptions", "match, 200 subscriptions, 2 match"),
    _line("decode one hub packet, of `json.loads`", "decode a packet of 1 kB, of json.loads"),
    _line(
        "hub packet to callback at 200 events/s, p50 / p99 (ours: on disk first, plugin in its own process)",
        "packet to callback, 200 events/s, p50",
        "packet to callback, 200 events/s, p99",
    ),
    _line(
        "a menu's discover with 200 idle plugins and a busy one",
        "discover answered, 200 idle plugins and a busy one",
    ),
    _line("durable events a second, each handled by 10 plugins", "durable events through 10 plugins"),
    _line("start to live, 1 / 30 plugins", "start to live, 1 plugin", "start to live, 30 plugins"),
    _line("private memory of each further plugin process", "private memory per plugin process"),
    _line("idle with 30 plugins, of a core", "idle, 30 plugins, of a core"),
    _line(
        "save of a plugin until the new version is live, 30 plugins",
        "save to new version live, 30 plugins",
    ),
    _line("sandbox: query of 500 Tasks with 20 projections", "query 500 Tasks, 20 projections"),
    _line("sandbox: commit of 100 creates", "commit 100 creates"),
    _line("sandbox: deliveries a second to 10 listeners", "deliveries to 10 listeners"),
)


def table_of(records: Mapping[str, Record]) -> tuple[str, list[str]]:
    """Return the table, and the labels of the lines that lack measurements."""
    text, lacking = _HEAD, []
    for line in LINES:
        found = [records[name] for name in line.rows if name in records]
        if len(found) < len(line.rows):
            lacking.append(line.label)
            continue
        text += f"| {line.label} | {line.cell(found, 'official')} | {line.cell(found, 'ours')} |\n"
    return text, lacking


def read(paths: Sequence[Path]) -> dict[str, Record]:
    """Return the records of all files by their rows' names."""
    records: dict[str, Record] = {}
    for path in paths:
        results = json.loads(path.read_text())
        if results["scale"] != 1:
            raise SystemExit(f"{path} was measured at {results['scale']:g} times the size.")
        records.update({record["name"]: record for record in results["rows"]})
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the README's table from measurements.")
    parser.add_argument("--write", action="store_true", help="replace the table in README.md")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: the newest")
    options = parser.parse_args()
    paths = options.files or sorted((HERE / "results").glob("*.json"))[-1:]
    if not paths:
        raise SystemExit("There are no measurements yet; make them with: make bench")
    table, lacking = table_of(read(paths))
    for label in lacking:
        sys.stderr.write(f"not measured, left out: {label}\n")
    if not options.write:
        sys.stdout.write(table)
        return
    text, count = _TABLE.subn(lambda match: table, README.read_text())
    if count != 1:
        raise SystemExit(f"README.md has {count} tables with the head of this one; there must be one.")
    README.write_text(text)


if __name__ == "__main__":
    main()
