"""Measure this client beside the official one, and the daemon; print a table and write the numbers down.

    bench/run.py [--rounds 3] [--scale 1] [--only GROUP ...]

Both clients run the same scripts in turns, each in a fresh process, so that whatever else the machine does
meets both. The table shows the median of the rounds. ``bench/README.md`` says what each number means.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import daemon_measurements
from rich.console import Console
from rich.table import Table
from rows import CLIENT_ROWS, Row

from ftrackd.testing.sandbox import SandboxProcess

HERE = Path(__file__).resolve().parent
OFFICIAL_PYTHON = HERE.parent / ".peer" / "python" / "bin" / "python"
SCRIPTS = ("expressions", "packets", "start", "queries", "loops", "commits")
GROUPS = ("import", *SCRIPTS, *daemon_measurements.GROUPS)
PYTHONS = {"official": str(OFFICIAL_PYTHON), "ours": sys.executable}
IMPORTS = {"official": "import ftrack_api", "ours": "import ftrackd.api"}

Measurements = dict[str, dict[str, list[float]]]


def prepare_answers(folder: Path) -> None:
    """Write down what a server says of itself: the sandbox's schemas, the same for both clients."""
    with SandboxProcess(seed="minimal") as sandbox:
        for name, action in (("schemas", "query_schemas"), ("information", "query_server_information")):
            (answer,) = sandbox.call({"action": action})
            (folder / f"{name}.json").write_text(json.dumps(answer))


def install_official_client(*, is_latest: bool) -> bool:
    """Install the official client where it is looked for; return whether that worked."""
    command = [sys.executable, str(HERE / "peer" / "install"), "python", *(["--latest"] if is_latest else [])]
    return not subprocess.run(command, env=daemon_measurements.environment(), check=False).returncode


def official_version() -> str:
    """Return the version of the official client that is measured."""
    command = [
        PYTHONS["official"],
        "-c",
        "from importlib.metadata import version as v; print(v('ftrack-python-api'))",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def measure_script(client: str, script: str, folder: Path, scale: float) -> dict[str, float]:
    """Run one measuring script with one client."""
    command = [PYTHONS[client], str(HERE / "measure" / f"{script}.py"), client, str(folder), str(scale)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=daemon_measurements.environment(),
        timeout=1800,
        check=False,
    )
    if done.returncode:
        raise daemon_measurements.MeasurementError(
            f"{script} with the {client} client failed:\n{done.stderr}"
        )
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def measure_import(client: str) -> dict[str, float]:
    """Return the processor time of the import in fresh interpreters, less that of an empty one."""

    def shortest(statement: str) -> float:
        durations = []
        for _ in range(9):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [PYTHONS[client], "-W", "ignore", "-c", statement],
                check=True,
                env=daemon_measurements.environment(),
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            durations.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(durations)

    shortest(IMPORTS[client])  # compiles what is compiled once
    return {"import": shortest(IMPORTS[client]) - shortest("pass")}


class Collected:
    """What was measured so far: for each client a series for each measurement, and what failed."""

    def __init__(self, console: Console) -> None:
        self.measurements: Measurements = {"official": {}, "ours": {}}
        self.failures: list[str] = []
        self._console = console
        self._begun = time.monotonic()

    @property
    def minutes(self) -> float:
        """Minutes since the start."""
        return (time.monotonic() - self._begun) / 60

    def add(self, what: str, measure: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        """Take what `measure` returns, by client; a failure is noted and does not end the others."""
        self._console.print(f"{self.minutes:4.1f} min  {what}", style="dim")
        try:
            measured = measure()
        except (daemon_measurements.MeasurementError, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{what}: {error}")
            self._console.print(self.failures[-1], style="red")
            return
        for client, values in measured.items():
            for key, value in values.items():
                self.measurements[client].setdefault(key, []).append(value)


def measure_clients(
    collected: Collected, groups: Sequence[str], clients: Sequence[str], rounds: int, scale: float
) -> None:
    """Run the scripts of `groups`, the clients in turns."""
    with tempfile.TemporaryDirectory(prefix="ftrackd-bench-") as name:
        folder = Path(name)
        prepare_answers(folder)
        for number, group, client in itertools.product(range(1, rounds + 1), groups, clients):

            def measure(group: str = group, client: str = client) -> Mapping[str, Mapping[str, float]]:
                if group == "import":
                    return {client: measure_import(client)}
                return {client: measure_script(client, group, folder, scale)}

            collected.add(f"round {number} of {rounds}: {group}, {client}", measure)


def results_of(rows: Sequence[Row], measurements: Measurements) -> list[dict[str, object]]:
    """Return a record for each row that was measured: medians, ratio, and whether the target is met."""
    medians = {
        client: {key: statistics.median(series) for key, series in values.items()}
        for client, values in measurements.items()
    }
    records: list[dict[str, object]] = []
    for row in rows:
        try:
            ours = row.number(medians["ours"])
        except KeyError:
            continue
        try:
            official: float | None = row.number(medians["official"])
        except KeyError:
            official = None
        records.append(
            {
                "group": row.group,
                "name": row.name,
                "official": official,
                "ours": ours,
                "ratio": official / ours if official is not None and ours else None,
                "target": row.target,
                "met": row.is_met(official, ours) if row.target else None,
                "written": {
                    "official": row.written(official) if official is not None else "-",
                    "ours": row.written(ours),
                },
            }
        )
    return records


def table_of(records: Sequence[dict[str, object]], rounds: int, scale: float) -> Table:
    """Return the records as a table."""
    title = f"median of {rounds} rounds on {os.cpu_count()} cores, Python {platform.python_version()}"
    if scale != 1:
        title += f"; {scale:g} times as many entities and subscriptions as the rows say"
    table = Table(title=title)
    table.add_column("what")
    table.add_column("official", justify="right")
    table.add_column("ours", justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("target")
    table.add_column("met")
    group = None
    for record in records:
        if group is not None and record["group"] != group:
            table.add_section()
        group = record["group"]
        written, ratio, met = record["written"], record["ratio"], record["met"]
        assert isinstance(written, dict)
        table.add_row(
            str(record["name"]),
            written["official"],
            written["ours"],
            f"{ratio:.3g}" if isinstance(ratio, float) else "",
            str(record["target"]),
            "" if met is None else "yes" if met else "[red]no[/red]",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure this client beside the official one, and the daemon."
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default 3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies numbers of entities and subscriptions"
    )
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP", help=str(GROUPS)
    )
    parser.add_argument("--ours-only", action="store_true", help="leave the official client out")
    parser.add_argument(
        "--latest",
        action="store_true",
        help="measure the newest official client, whichever is tested with",
    )
    options = parser.parse_args()
    clients = ("ours",) if options.ours_only else ("official", "ours")
    console = Console(stderr=True)
    if not options.ours_only and not install_official_client(is_latest=options.latest):
        raise SystemExit("The official client cannot be installed, and there is nothing to compare with.")
    collected = Collected(console)
    client_groups = [group for group in ("import", *SCRIPTS) if group in options.only]
    if client_groups:
        measure_clients(collected, client_groups, clients, options.rounds, options.scale)
    for group in daemon_measurements.GROUPS:
        if group in options.only:
            collected.add(f"daemon: {group}", lambda group=group: daemon_measurements.measure(group, PYTHONS))
    records = results_of((*CLIENT_ROWS, *daemon_measurements.ROWS), collected.measurements)
    Console(width=130).print(table_of(records, options.rounds, options.scale))
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    path = results / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(
        json.dumps(
            {
                "machine": platform.platform(),
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                "rounds": options.rounds,
                "scale": options.scale,
                "official_client": None if options.ours_only else official_version(),
                "rows": records,
                "failures": collected.failures,
                "measurements": collected.measurements,
            },
            indent=2,
        )
    )
    console.print(f"Written to {path.relative_to(HERE.parent)} after {collected.minutes:.1f} minutes.")
    if collected.failures:
        raise SystemExit(f"{len(collected.failures)} measurements failed.")


if __name__ == "__main__":
    main()
