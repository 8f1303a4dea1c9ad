"""Measure transactions of the sandbox's store; print a table.

    bench/sandbox_writes.py [--database sqlite:///file.db] [--tasks 0] [--rounds 7]

Each row is one transaction as a client's commit makes it: with defaults, the payload of ftrack.update and
the log of events, without HTTP. *--tasks* are created first, so that the numbers can be taken on a large
database. Wall and processor time are medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
import uuid
from collections.abc import Callable

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from ftrackd.sandbox.schema import table
from ftrackd.sandbox.seeds.client_suites import MAIN_USER_NAME, PROJECT, USER
from ftrackd.sandbox.seeds.ids import seed_id
from ftrackd.sandbox.store import Actor, Store, Transaction

ACTOR = Actor(USER, MAIN_USER_NAME, "Demo User")
CUSTOM_NUMBER = seed_id("CustomAttributeConfiguration", "task", "Task", "customNumber")
BATCH = 100


def fill(store: Store, count: int) -> None:
    """Create *count* tasks in shots of ten."""
    with store.reader() as connection:
        context = table("context")
        present = connection.execute(sa.select(sa.func.count()).select_from(context)).scalar() or 0
    for _ in range(max(0, count - present) // 1000):
        with store.transaction(ACTOR) as transaction:
            (sequence,) = transaction.create("Sequence", {"name": "sq", "parent_id": PROJECT})
            for _ in range(100):
                (shot,) = transaction.create("Shot", {"name": "sh", "parent_id": sequence})
                for _ in range(10):
                    transaction.create("Task", {"name": "t", "parent_id": shot})


def create_tasks(transaction: Transaction) -> list[str]:
    """Create a batch of tasks in one shot."""
    (shot,) = transaction.create("Shot", {"name": str(uuid.uuid4()), "parent_id": PROJECT})
    return [transaction.create("Task", {"name": "t", "parent_id": shot})[0] for _ in range(BATCH)]


def measures(store: Store) -> dict[str, Callable[[Transaction, list[str]], None]]:
    """What is measured, by name; each gets a batch of tasks of its own."""

    def rename(transaction: Transaction, tasks: list[str]) -> None:
        for task in tasks:
            transaction.update("Task", task, {"name": str(uuid.uuid4())})

    def set_values(transaction: Transaction, tasks: list[str]) -> None:
        for number, task in enumerate(tasks):
            transaction.update("ContextCustomAttributeValue", [CUSTOM_NUMBER, task], {"value": number})

    def assign(transaction: Transaction, tasks: list[str]) -> None:
        for task in tasks:
            transaction.create("Appointment", {"type": "assignment", "context_id": task, "resource_id": USER})

    def write_notes(transaction: Transaction, tasks: list[str]) -> None:
        for task in tasks:
            transaction.create("Note", {"content": "x", "parent_id": task, "parent_type": "Task"})

    def delete(transaction: Transaction, tasks: list[str]) -> None:
        for task in tasks:
            transaction.delete("Task", task)

    return {
        f"create {BATCH} tasks": lambda transaction, _: create_tasks(transaction) and None,
        f"rename {BATCH} tasks": rename,
        f"set {BATCH} custom attributes": set_values,
        f"assign {BATCH} tasks": assign,
        f"write {BATCH} notes": write_notes,
        f"delete {BATCH} tasks": delete,
        "rename 1 task": lambda transaction, tasks: rename(transaction, tasks[:1]),
    }


def measure(store: Store, rounds: int) -> list[tuple[str, float, float]]:
    """Name, wall and processor time in milliseconds of each measure."""
    found = []
    for name, act in measures(store).items():
        walls, processor = [], []
        for _ in range(rounds + 1):
            with store.transaction(ACTOR) as transaction:
                tasks = create_tasks(transaction)
            wall_start, processor_start = time.perf_counter(), time.process_time()
            with store.transaction(ACTOR) as transaction:
                act(transaction, tasks)
            walls.append(time.perf_counter() - wall_start)
            processor.append(time.process_time() - processor_start)
        # The first round compiles statements.
        found.append((name, statistics.median(walls[1:]) * 1000, statistics.median(processor[1:]) * 1000))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", default="sqlite://")
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with Store.open(options.database, seed="minimal") as store:
        fill(store, options.tasks)
        shown = Table("one transaction", "wall ms", "processor ms")
        for name, wall, processor in measure(store, options.rounds):
            shown.add_row(name, f"{wall:.1f}", f"{processor:.1f}")
    Console().print(shown)


if __name__ == "__main__":
    main()
