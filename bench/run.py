"""Measure this client beside the official one, and the daemon; print a table and write the numbers down.

    bench/run.py [--rounds 3] [--scale 1] [--only GROUP ...]

Both clients run the same scripts in turns, each in a fresh process, so that whatever else the machine does
meets both. The table shows the median of the rounds. ``bench/README.md`` says what each number means.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
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


def install_official_client() -> bool:
    """Install the official client where it is looked for; return whether that worked."""
    command = [sys.executable, str(HERE / "peer" / "install"), "python"]
    return not subprocess.run(command, env=daemon_measurements.environment(), check=False).returncode


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
        raise SystemExit(f"{script} with the {client} client failed:\n{done.stderr}")
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


def measure_clients(
    groups: Sequence[str], clients: Sequence[str], rounds: int, scale: float, console: Console
) -> Measurements:
    """Run the scripts of `groups`, the clients in turns."""
    measurements: Measurements = {"official": {}, "ours": {}}
    with tempfile.TemporaryDirectory(prefix="ftrackd-bench-") as name:
        folder = Path(name)
        prepare_answers(folder)
        for number in range(1, rounds + 1):
            for group in groups:
                for client in clients:
                    console.print(f"round {number} of {rounds}: {group}, {client}", style="dim")
                    values = (
                        measure_import(client)
                        if group == "import"
                        else measure_script(client, group, folder, scale)
                    )
                    for key, value in values.items():
                        measurements[client].setdefault(key, []).append(value)
    return measurements


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


def table_of(records: Sequence[dict[str, object]], rounds: int) -> Table:
    """Return the records as a table."""
    table = Table(
        title=f"median of {rounds} rounds on {os.cpu_count()} cores, Python {platform.python_version()}"
    )
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
    options = parser.parse_args()
    clients = ("ours",) if options.ours_only else ("official", "ours")
    console = Console(stderr=True)
    if not options.ours_only and not install_official_client():
        raise SystemExit("The official client cannot be installed, and there is nothing to compare with.")
    client_groups = [group for group in ("import", *SCRIPTS) if group in options.only]
    measurements: Measurements = {"official": {}, "ours": {}}
    if client_groups:
        measurements = measure_clients(client_groups, clients, options.rounds, options.scale, console)
    daemon_groups = [group for group in daemon_measurements.GROUPS if group in options.only]
    for group in daemon_groups:
        console.print(f"daemon: {group}", style="dim")
        for client, values in daemon_measurements.measure(group, PYTHONS).items():
            for key, value in values.items():
                measurements[client].setdefault(key, []).append(value)
    records = results_of((*CLIENT_ROWS, *daemon_measurements.ROWS), measurements)
    Console(width=130).print(table_of(records, options.rounds))
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
                "rows": records,
                "measurements": measurements,
            },
            indent=2,
        )
    )
    console.print(f"Written to {path.relative_to(HERE.parent)}.")


if __name__ == "__main__":
    main()
