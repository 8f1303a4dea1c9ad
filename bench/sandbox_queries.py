"""Measure queries of the sandbox on 100,000 tasks; print a table.

    bench/sandbox_queries.py [--tasks 100000] [--database sqlite:///file.db] [--rounds 5] [--only WORD ...]

The production is written straight into the tables: projects of 50 sequences of 20 shots of 5 tasks, with
assignments, versions, metadata, time logs and custom attributes. A database that has it already is used as it
is. Times are the best of the rounds, from the text of the query to entities ready for JSON, in one process.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from ftrackd.sandbox.query import execute
from ftrackd.sandbox.schema import ObjectType, Schema, build_schema, metadata, table

OBJECT_TYPES = {"Task": "bench-task", "Shot": "bench-shot", "Sequence": "bench-sequence"}
TASKS_PER_PROJECT = 50 * 20 * 5

PROJECTIONS = (
    "name, description, bid, sort, start_date, end_date, created_at, status_id, type_id, status.name, "
    "status.color, status.state.short, type.name, priority.name, priority.value, parent.name, "
    "project.full_name, object_type.name, thumbnail_id, assignments.resource.username"
)


def queries(ids: dict[str, str]) -> dict[str, str]:
    """What is measured, by name; *ids* has a task, a sequence, a project and a long list of tasks."""
    project = f"where project_id is {ids['project']}"
    return {
        "500 tasks, 20 projections": f"select {PROJECTIONS} from Task limit 500",
        "the same, page 100": f"select {PROJECTIONS} from Task offset {ids['middle']} limit 500",
        "names of the last 500 tasks": f"select name from Task offset {ids['last']} limit 500",
        "one task by id": f"Task where id is {ids['task']}",
        "5,000 tasks by id": f"select name from Task where id in ({ids['tasks']})",
        "names in a project": f"select name from Task {project} limit 500",
        "by names of project and status": (
            'select name from Task where project.name is "project05" and status.name is "Status 3" limit 500'
        ),
        "by assignee": "select name from Task where assignments any (resource.username is user7) limit 500",
        "below a sequence": f"select name from Task where ancestors any (id is {ids['sequence']}) limit 500",
        "versions below a sequence": f"AssetVersion where asset.parent.ancestors.id in ({ids['sequence']})",
        "latest versions of a project": (
            f"AssetVersion where is_latest_version is True and project_id is {ids['project']} limit 500"
        ),
        "by metadata": "select name from Task where metadata any (key is k and value is 7) limit 500",
        "without time logs": "select name from Task where not timelogs any () limit 500",
        "ordered by date": "select name from Task order by end_date descending limit 500",
        "by custom attribute in a project": (
            f"select name from Task {project} and custom_attributes any (key is attribute7 and value is 7) "
            "limit 500"
        ),
        "by custom attribute anywhere": (
            "select name from Task where custom_attributes any (key is attribute0 and value is 7) limit 500"
        ),
        "custom attributes of 500 tasks": "select name, custom_attributes from Task limit 500",
        "links of 500 tasks": "select name, link from Task limit 500",
        "counted by project and status": "select count(id) from Task group by project_id, status_id",
    }


class Production:
    """Rows of a production, collected by table."""

    def __init__(self) -> None:
        """Draw everything from one seed, so that each run measures the same."""
        self._random = random.Random(1)
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self.statuses = [
            self._add("status", name=f"Status {number}", sort=number, color="#fff") for number in range(8)
        ]
        self.types = [self._add("type", name=f"Type {number}") for number in range(9)]
        self.priorities = [
            self._add("priority", name=f"Priority {number}", sort=number) for number in range(5)
        ]
        self.users = [
            self._add("resource", resource_type="user", username=f"user{number}", is_active=True)
            for number in range(200)
        ]
        for name, identifier in OBJECT_TYPES.items():
            self._add("object_type", id=identifier, name=name)
        self.configurations = [self._configuration(number) for number in range(10)]

    def batches(self, task_count: int) -> Iterator[dict[str, list[dict[str, Any]]]]:
        """Yield rows by table, project by project."""
        for number in range(max(1, task_count // TASKS_PER_PROJECT)):
            self._add_project(number)
            yield self._rows
            self._rows = {}

    def _add(self, table_name: str, **values: Any) -> str:
        identifier = str(values.setdefault("id", str(uuid.UUID(int=self._random.getrandbits(128)))))
        self._rows.setdefault(table_name, []).append(values)
        return identifier

    def _configuration(self, number: int) -> str:
        is_hierarchical = number >= 7
        return self._add(
            "custom_attribute_configuration",
            key=f"attribute{number}",
            kind="attribute",
            entity_type="show" if is_hierarchical else "task",
            object_type_id=None if is_hierarchical else OBJECT_TYPES["Task"],
            is_hierarchical=is_hierarchical,
            **_variable("default", number),
        )

    def _context(self, kind: str, above: list[str], **values: Any) -> str:
        identifier = str(uuid.UUID(int=self._random.getrandbits(128)))
        self._add(
            "context",
            id=identifier,
            context_type="task",
            object_type_id=OBJECT_TYPES[kind],
            parent_id=above[-1],
            project_id=above[0],
            created_at="2026-01-01T00:00:00",
            **values,
        )
        self._add_lineage(identifier, above)
        return identifier

    def _add_lineage(self, identifier: str, above: list[str]) -> None:
        rows = self._rows.setdefault("lineage", [])
        rows.append({"context_id": identifier, "ancestor_id": identifier, "relation": "self", "depth": 0})
        for depth, ancestor in enumerate(reversed(above), start=1):
            rows.append(
                {"context_id": identifier, "ancestor_id": ancestor, "relation": "ancestor", "depth": depth}
            )

    def _add_value(self, configuration: int, entity_id: str, value: int) -> None:
        self._rows.setdefault("custom_attribute_value", []).append(
            {
                "configuration_id": self.configurations[configuration],
                "entity_id": entity_id,
                **_variable("value", value),
            }
        )

    def _add_project(self, number: int) -> None:
        project = str(uuid.UUID(int=self._random.getrandbits(128)))
        name = f"project{number:02}"
        self._add(
            "context", id=project, context_type="show", project_id=project, name=name, full_name=name.title()
        )
        self._add_lineage(project, [])
        for sequence_number in range(50):
            sequence = self._context("Sequence", [project], name=f"sq{sequence_number:03}")
            self._add_value(7, sequence, sequence_number)
            for shot_number in range(20):
                self._add_shot(project, sequence, shot_number)

    def _add_shot(self, project: str, sequence: str, number: int) -> None:
        choose = self._random.choice
        shot = self._context(
            "Shot", [project, sequence], name=f"sh{number:03}", status_id=choose(self.statuses)
        )
        asset = self._add("asset", name="comp", context_id=shot, project_id=project)
        for version in (1, 2):
            self._add("asset_version", asset_id=asset, version=version, project_id=project)
        for task_number in range(5):
            task = self._context(
                "Task",
                [project, sequence, shot],
                name=f"task{task_number}",
                status_id=choose(self.statuses),
                type_id=choose(self.types),
                priority_id=choose(self.priorities),
                bid=task_number * 3600.0,
                sort=float(task_number),
                description="x" * 30,
                start_date="2026-01-10T00:00:00",
                end_date=f"2026-02-{self._random.randint(1, 28):02}T00:00:00",
            )
            self._add("appointment", type="assignment", resource_id=choose(self.users), context_id=task)
            if task_number == 0:
                self._rows.setdefault("metadata", []).append(
                    {"parent_id": task, "parent_type": "Task", "key": "k", "value": str(number)}
                )
                self._add_value(0, task, number)
            if task_number == 1:
                self._add("timelog", context_id=task, start="2026-01-01T00:00:00", duration=60.0)


def _variable(column: str, value: int) -> dict[str, Any]:
    return {column: json.dumps(value), f"{column}_text": str(value), f"{column}_number": float(value)}


def build(engine: sa.Engine, task_count: int) -> None:
    """Fill the database unless it is filled."""
    metadata().create_all(engine)
    with engine.begin() as connection:
        if connection.scalar(sa.select(sa.func.count()).select_from(table("context"))):
            return
        for rows in Production().batches(task_count):
            for name, of_table in rows.items():
                by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
                for row in of_table:
                    by_columns.setdefault(tuple(sorted(row)), []).append(row)
                for alike in by_columns.values():
                    connection.execute(sa.insert(table(name)), alike)


def sample(connection: sa.Connection) -> dict[str, str]:
    """Return ids to ask for."""
    context = table("context")

    def find(kind: str, limit: int) -> list[str]:
        found = sa.select(context.c.id).where(context.c.object_type_id == OBJECT_TYPES[kind])
        return list(connection.scalars(found.limit(limit)))

    count = connection.scalar(
        sa.select(sa.func.count()).where(context.c.object_type_id == OBJECT_TYPES["Task"])
    )
    tasks = find("Task", 5000)
    return {
        "task": tasks[7],
        "tasks": ",".join(tasks),
        "sequence": find("Sequence", 1)[0],
        "project": str(connection.scalar(sa.select(context.c.id).where(context.c.context_type == "show"))),
        "middle": str((count or 0) // 2),
        "last": str(max(0, (count or 0) - 500)),
    }


def measure(connection: sa.Connection, schema: Schema, text: str, rounds: int) -> tuple[float, int]:
    """Return the best time in seconds and the number of rows."""
    best = float("inf")
    rows = 0
    for _ in range(rounds):
        started = time.perf_counter()
        rows = len(execute(connection, schema, text).rows)
        best = min(best, time.perf_counter() - started)
    return best, rows


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--database", default="sqlite://")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    console = Console()
    engine = sa.create_engine(options.database)
    with console.status("building the production"):
        build(engine, options.tasks)
    schema = build_schema([ObjectType(identifier, name) for name, identifier in OBJECT_TYPES.items()])
    results = Table("query", "rows", "ms")
    with engine.connect() as connection:
        for name, text in queries(sample(connection)).items():
            if not options.only or any(word in name for word in options.only):
                seconds, rows = measure(connection, schema, text, options.rounds)
                results.add_row(name, str(rows), f"{seconds * 1000:.1f}")
    engine.dispose()
    console.print(results)


if __name__ == "__main__":
    main()
