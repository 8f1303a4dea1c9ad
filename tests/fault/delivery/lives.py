"""A delivery engine that is killed again and again, and the check of what it left behind.

``python -m tests.fault.delivery.lives FOLDER --kills N --seed S [--point NAME ...]`` forks one life after
the other. Each opens the journal in FOLDER, receives events, runs them in three plugins made of threads,
and is killed with SIGKILL: at a random time, or where a failpoint says. The last life is left alone until
everything is handled. Then every promise is checked over the ledger that all lives wrote, and a summary is
printed as JSON.
"""

import argparse
import json
import os
import queue
import random
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

import structlog

from ftrackd.delivery import Delivery, DeliveryListener, Recipient, SqliteJournal, failpoints
from ftrackd.settings import DeliverySettings
from tests.contract.ledger import Ledger
from tests.contract.outcome import Ended

PLUGINS = {"serial": 1, "parallel": 4, "failing": 1}
SETTINGS = DeliverySettings(
    retry_delay_s=0.01,
    retry_delay_cap_s=0.05,
    max_attempts=50,
    lease_s=300.0,
    claim_batch=8,
    on_park="release",
)
RECIPIENTS = [Recipient(plugin) for plugin in PLUGINS]
READY_WITHIN_S = 3.0
DONE_WITHIN_S = 60.0


def keys_of(number):
    """The entities of an event, one to three of twenty: the same in every life."""
    return [f"k{value}" for value in sorted(random.Random(number).sample(range(20), 1 + number % 3))]


def event_of(number):
    event = {
        "id": f"e{number}",
        "topic": "ftrack.update",
        "data": {"entities": [{"entityId": key} for key in keys_of(number)]},
    }
    return json.dumps(event).encode(), event


#: Bytes of an entry in the file. A kill can cut a write where a page of memory ends, and nowhere else.
ENTRY_SIZE = 64


class LedgerFile(DeliveryListener):
    """Writes each entry with one system call and within one page, so that a kill leaves whole lines."""

    def __init__(self, path):
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def add(self, *fields):
        entry = " ".join(map(str, fields)).ljust(ENTRY_SIZE - 1) + "\n"
        assert len(entry) == ENTRY_SIZE, entry
        os.write(self.descriptor, entry.encode())

    def stored(self, event_id, plugins):
        self.add("acknowledged", event_id)

    def closed(self, deliveries):
        for claim in deliveries:
            self.add("closed", claim.plugin, claim.event_id)

    def parked(self, plugin, event_id, delivery_id, error):
        self.add("parked", plugin, event_id)


class ThreadRunner:
    """Plugins made of threads, which run what they are handed in turn. ``failing`` fails at first with every
    seventh event, and always with every 41st.
    """

    def __init__(self, ledger, seed):
        self.ledger = ledger
        self.delivery = None
        self.queues = {plugin: queue.SimpleQueue() for plugin in PLUGINS}
        self.random = random.Random(seed)
        self.recalls = 0

    def start(self):
        for plugin, concurrency in PLUGINS.items():
            for _ in range(concurrency):
                threading.Thread(target=self.work, args=(plugin,), daemon=True).start()
            self.delivery.plugin_ready(plugin, concurrency)

    def run(self, plugin, deliveries):
        self.queues[plugin].put((self.recalls, deliveries))

    def recall(self, plugin):
        self.recalls += 1

    def work(self, plugin):
        while True:
            recalls, deliveries = self.queues[plugin].get()
            for position, delivery in enumerate(deliveries):
                if recalls != self.recalls:
                    self.delivery.finished(plugin, *unbegun(deliveries[position:]))
                    break
                outcome = self.outcome(plugin, delivery)
                if outcome.status != "returned":
                    self.delivery.finished(plugin, outcome, *unbegun(deliveries[position + 1 :]))
                    break
                self.delivery.finished(plugin, outcome)

    def outcome(self, plugin, delivery):
        self.ledger.add("started", plugin, delivery.event_id, delivery.delivery_id, delivery.token)
        if self.random.random() < 0.3:
            time.sleep(self.random.random() * 0.003)
        number = int(delivery.event_id[1:])
        status, transient = "returned", False
        if plugin == "failing" and number % 41 == 0:
            status = "raised"
        elif plugin == "failing" and number % 7 == 0 and delivery.attempt == 1:
            status, transient = "raised", True
        if status == "returned":
            self.ledger.add("ended", plugin, delivery.event_id)
        return Ended(delivery.delivery_id, delivery.token, status, transient=transient, error="as told")


def unbegun(deliveries):
    return [Ended(delivery.delivery_id, delivery.token, "unbegun") for delivery in deliveries]


def closed_on_disk(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(
            "SELECT plugin, event.id FROM delivery JOIN event ON seq = event_seq WHERE state = 5"
        ).fetchall()
    finally:
        connection.close()


def live(folder, seed, *, last, events, point=None):
    """One life: open, receive, run, until it is killed; the last one until all is handled."""
    failpoints.arm(point)
    began = time.monotonic()
    ledger = LedgerFile(folder / "ledger")
    journal = SqliteJournal(folder / "journal.sqlite", checkpoint_every=300)
    for plugin, event_id in closed_on_disk(journal.path):
        ledger.add("known-closed", plugin, event_id)
    runner = ThreadRunner(ledger, seed)
    delivery = runner.delivery = Delivery(SETTINGS, {}, journal, runner, listener=ledger)
    delivery.start()
    runner.start()
    ledger.add("ready", round(time.monotonic() - began, 3))
    first = next_number(journal)
    for number in range(first, first + events):
        delivery.receive(*event_of(number), RECIPIENTS)
        if number % 5 == 0 and number > 3:
            delivery.receive(*event_of(number - 3), RECIPIENTS)
        time.sleep(0.001)
    while not last:
        time.sleep(1)
    delivery.flush()  # what is not stored yet does not show as open
    deadline = time.monotonic() + 30
    while any(entry.ready + entry.claimed + entry.delayed for entry in delivery.stats().plugins):
        assert time.monotonic() < deadline, delivery.stats()
        time.sleep(0.01)
    assert delivery.drain(5)
    delivery.stop()
    journal.close()


def next_number(journal):
    """What comes after the last event that is stored: what was received and not stored is sent again, as a
    catch-up would.
    """
    number = 0
    while journal.seen(f"e{number}"):
        number += 1
    return number


def fork_life(folder, seed, *, kill_after_s, **options):
    """Run a life in a process of its own; returns whether it ended by a signal of its own, before it was
    killed. One that is not to be killed has :data:`DONE_WITHIN_S`.
    """
    process = os.fork()
    if process == 0:
        code = 1
        try:
            live(folder, seed, **options)
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    deadline = time.monotonic() + (DONE_WITHIN_S if kill_after_s is None else kill_after_s)
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"a life failed with {status}"
            return os.WIFSIGNALED(status)
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            assert kill_after_s is not None, f"a life that was left alone hangs after {DONE_WITHIN_S} s"
            return False
        time.sleep(0.001)


def check(folder):
    """Assert the promises over what all lives wrote; returns a summary."""
    connection = sqlite3.connect(folder / "journal.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    ledger = Ledger()
    stored = [row[0] for row in connection.execute("SELECT id FROM event ORDER BY seq")]
    assert stored == [f"e{number}" for number in range(len(stored))], "each event once, in order"
    for event_id in stored:
        for plugin in PLUGINS:
            ledger.add("stored", plugin, event_id, keys=keys_of(int(event_id[1:])))
    settled = {}
    for plugin, event_id, state in connection.execute(
        "SELECT plugin, event.id, state FROM delivery JOIN event ON seq = event_seq WHERE state >= 4"
    ):
        settled[plugin, event_id] = state
    connection.close()
    starts, slowest = read_lines(folder, ledger, set(stored))
    for (plugin, event_id), state in settled.items():
        if state == 4:  # parked: the process may have ended before it could write that down
            ledger.add("parked", plugin, event_id)
    ledger.check(complete=True)
    assert set(settled) == {(plugin, event_id) for plugin in PLUGINS for event_id in stored}
    assert slowest <= READY_WITHIN_S, f"ready after {slowest} s"
    return {
        "events": len(stored),
        "starts": starts,
        "again": starts - 3 * len(stored),
        "slowest_start_s": slowest,
    }


def read_lines(folder, ledger, stored):
    known = set()
    starts, slowest = 0, 0.0
    for line in (folder / "ledger").read_text().splitlines():
        what, *fields = line.split()
        if what == "ready":
            slowest = max(slowest, float(fields[0]))
        elif what == "acknowledged":
            assert fields[0] in stored, f"{fields[0]} was acknowledged and is lost"
        elif what in ("closed", "known-closed"):
            if tuple(fields) not in known:
                known.add(tuple(fields))
                ledger.add("closed", *fields)
        else:
            starts += what == "started"
            ledger.add(what, *fields[:2])
    return starts, slowest


def run(folder, kills, seed, point=None):
    """Kill so many lives, let the last one finish, check; returns the summary."""
    rand = random.Random(seed)
    by_itself = 0
    for life in range(kills):
        armed = (
            f"{point}:{rand.randint(1, 12)}"
            if point and "open" not in point and "checkpoint" not in point
            else point
        )
        kill_after_s = 5.0 if point else 0.005 + rand.random() ** 2 * 0.2
        by_itself += fork_life(
            folder, seed + life, kill_after_s=kill_after_s, last=False, events=10_000, point=armed
        )
    fork_life(folder, seed, kill_after_s=None, last=True, events=20)
    if point:
        assert by_itself == kills, f"{point} was reached in {by_itself} of {kills} lives"
    return {"kills": kills, "point": point, **check(folder)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--point", choices=sorted(failpoints.NAMES), action="append")
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # thousands of expected warnings
    for point in arguments.point or [None]:
        folder = arguments.folder / (point or "random")
        folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps(run(folder, arguments.kills, arguments.seed, point)), flush=True)


if __name__ == "__main__":
    main()
