"""Any sequence of what can happen to a journal keeps its promises."""

import contextlib
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ftrackd.delivery.journal import NewDeliveries, NewEvent, Replay
from tests.contract.journal_engines import ENGINES, FakeTime
from tests.contract.ledger import Ledger

PLUGINS = ("p", "q")
OWNERS = ("one", "two")
KEYS = st.lists(st.sampled_from("abc"), max_size=2, unique=True).map(tuple)
LEASE_S = 30.0
MAX_ATTEMPTS = 3


class JournalMachine(RuleBasedStateMachine):
    """Several owners work on one journal, die, come back late, and retry; somebody operates it meanwhile.

    ``expected`` is what the machine believes of each delivery: its plugin, event, keys, state, and who has
    it under which token.
    """

    engine_name: str

    @initialize()
    def open(self):
        self.time = FakeTime()
        self.folder = tempfile.TemporaryDirectory()
        self.engine = ENGINES[self.engine_name](Path(self.folder.name), self.time)
        self.ledger = Ledger()
        self.events = 0
        self.outstanding = []  # every claim that was made, lost ones included
        self.last_token = 0
        self.expected = {}  # (plugin, event) -> dict, in order of storing

    def teardown(self):
        if not hasattr(self, "engine"):
            return
        self.finish_everything()
        self.ledger.check(complete=True)
        self.engine.close()
        self.folder.cleanup()

    def transaction(self):
        return self.engine.journal.transaction()

    @rule(keys=KEYS, plugins=st.lists(st.sampled_from(PLUGINS), min_size=1, unique=True))
    def append(self, keys, plugins):
        event_id = f"e{self.events}"
        self.events += 1
        with self.transaction() as transaction:
            appended = transaction.append(
                NewEvent(event_id, "ftrack.update", event_id.encode()),
                [NewDeliveries(tuple(plugins), keys)],
            )
        assert appended.stored
        for plugin in plugins:
            self.ledger.add("stored", plugin, event_id, keys=keys)
            self.expected[plugin, event_id] = {"keys": keys, "state": "ready", "attempts": 0}

    @rule(data=st.data(), owner=st.sampled_from(OWNERS), claims_first=st.booleans())
    def fail(self, data, owner, claims_first):
        """A transaction in which much was done is undone."""
        with contextlib.suppress(ZeroDivisionError), self.transaction() as transaction:
            if claims_first:
                transaction.claim("p", owner, 2, 2, LEASE_S)
            transaction.append(NewEvent("undone", "t", b"undone"), [NewDeliveries(PLUGINS)])
            for item in self.outstanding[-2:]:
                transaction.close([item])
            transaction.reclaim(MAX_ATTEMPTS, hold=data.draw(st.booleans()))
            transaction.extend(owner, 2 * LEASE_S)
            transaction.claim("p", owner, 3, 2, LEASE_S)
            transaction.forget("q")
            raise ZeroDivisionError

    @precondition(lambda self: self.events > 0)
    @rule(data=st.data(), plugin=st.sampled_from(PLUGINS))
    def append_again(self, data, plugin):
        event_id = f"e{data.draw(st.integers(0, self.events - 1))}"
        if not self.engine.journal.seen(event_id):
            return  # pruned, so it would be new
        with self.transaction() as transaction:
            appended = transaction.append(
                NewEvent(event_id, "ftrack.update", b"other"), [NewDeliveries((plugin,))]
            )
        assert not appended.stored

    @rule(
        owner=st.sampled_from(OWNERS),
        plugin=st.sampled_from(PLUGINS),
        limit=st.integers(1, 4),
        ready=st.integers(0, 2),
    )
    def claim(self, owner, plugin, limit, ready):
        with self.transaction() as transaction:
            claimed = transaction.claim(plugin, owner, limit, ready, LEASE_S)
        assert len(claimed) <= limit
        for item in claimed:
            self.started(item, owner)
        self.outstanding += claimed

    def started(self, item, owner):
        assert item.payload == item.event_id.encode()
        assert item.token > self.last_token, "tokens only grow"
        self.last_token = item.token
        row = self.expected[item.plugin, item.event_id]
        assert row["state"] in ("ready", "delayed"), row
        assert item.attempt == row["attempts"] + 1
        for (plugin, event_id), older in self.expected.items():
            if (plugin, event_id) == (item.plugin, item.event_id):
                break
            if plugin == item.plugin and set(older["keys"]) & set(row["keys"]):
                assert older["state"] in ("closed", "parked") or older.get("owner") == owner, (
                    "overtook an older one"
                )
        row.update(state="claimed", owner=owner, token=item.token, lease_until=self.time.seconds + LEASE_S)
        self.ledger.add("started", item.plugin, item.event_id, item.delivery_id, item.token)

    def holds(self, item):
        row = self.expected.get((item.plugin, item.event_id))
        return row is not None and row["state"] == "claimed" and row["token"] == item.token

    @precondition(lambda self: self.outstanding)
    @rule(data=st.data(), how=st.sampled_from(["close", "close", "retry", "park", "hold", "release"]))
    def settle(self, data, how):
        """Somebody settles what it claimed, or what it had claimed once."""
        self.settle_one(data.draw(st.sampled_from(self.outstanding[-8:])), how)

    def settle_one(self, item, how):
        held = self.holds(item)
        with self.transaction() as transaction:
            if how == "close":
                done = not transaction.close([item])
            elif how == "retry":
                done = transaction.retry(item.delivery_id, item.token, 5.0, "x")
            elif how == "release":
                done = transaction.release(item.delivery_id, item.token)
            else:
                done = transaction.park(item.delivery_id, item.token, "x", None, how == "hold")
        assert done == held, "only who has the lease settles"
        if not held:
            return
        row = self.expected[item.plugin, item.event_id]
        row.pop("owner")
        if how in ("retry", "park", "hold"):
            row["attempts"] += 1
        row["state"] = {
            "close": "closed",
            "retry": "delayed",
            "park": "parked",
            "hold": "held",
            "release": "ready",
        }[how]
        if how == "close":
            self.ledger.add("ended", item.plugin, item.event_id)
            self.ledger.add("closed", item.plugin, item.event_id)
        elif how in ("park", "hold"):
            self.ledger.add("parked", item.plugin, item.event_id)

    @rule(seconds=st.sampled_from([1.0, 6.0, 31.0]))
    def wait(self, seconds):
        self.time.advance(seconds)

    @precondition(lambda self: self.outstanding)
    @rule(data=st.data(), owner=st.sampled_from(OWNERS))
    def lose_lease(self, data, owner):
        """Whoever has a lease sleeps through it, and somebody else goes on with the delivery."""
        item = data.draw(st.sampled_from(self.outstanding[-8:]))
        self.time.advance(LEASE_S + 1)
        self.reclaim()
        self.claim(owner, item.plugin, 4, 2)

    @rule(owner=st.sampled_from(OWNERS))
    def extend(self, owner):
        mine = [row for row in self.expected.values() if row["state"] == "claimed" and row["owner"] == owner]
        with self.transaction() as transaction:
            assert transaction.extend(owner, LEASE_S) == len(mine)
        for row in mine:
            row["lease_until"] = self.time.seconds + LEASE_S

    @rule()
    def reclaim(self):
        lost = {
            place: row
            for place, row in self.expected.items()
            if row["state"] == "claimed" and row["lease_until"] <= self.time.seconds
        }
        with self.transaction() as transaction:
            reclaimed = transaction.reclaim(MAX_ATTEMPTS, hold=False)
        assert {(item.plugin, item.event_id) for item in reclaimed} == set(lost)
        for item in reclaimed:
            row = lost[item.plugin, item.event_id]
            row.pop("owner")
            row["attempts"] += 1
            assert item.attempts == row["attempts"]
            assert item.parked == (row["attempts"] >= MAX_ATTEMPTS)
            row["state"] = "parked" if item.parked else "ready"
            if item.parked:
                self.ledger.add("parked", item.plugin, item.event_id)

    @rule()
    def crash(self):
        self.engine.reopen()
        for row in self.expected.values():
            if row["state"] == "claimed":
                row["lease_until"] = 0.0
        self.reclaim()

    @precondition(lambda self: any(row["state"] in ("parked", "held") for row in self.expected.values()))
    @rule(drop=st.booleans(), data=st.data())
    def operate(self, drop, data):
        letter = data.draw(st.sampled_from(self.engine.journal.dead_letters()))
        row = self.expected[letter.plugin, letter.event_id]
        assert row["state"] == ("held" if letter.held else "parked")
        with self.transaction() as transaction:
            method = transaction.drop if drop else transaction.revive
            assert method([letter.delivery_id]) == 1
        row.update(state="closed" if drop else "ready", attempts=0)

    @rule()
    def prune(self):
        open_events = {
            event for (_, event), row in self.expected.items() if row["state"] not in ("closed", "parked")
        }
        with self.transaction() as transaction:
            transaction.prune(self.time.wall() + 1, self.time.wall() - 10**6, 0, 3, 10.0**12)
        assert all(self.engine.journal.seen(event) for event in open_events)
        parked = {event for (_, event), row in self.expected.items() if row["state"] == "parked"}
        assert all(self.engine.journal.seen(event) for event in parked)

    @rule()
    def count(self):
        counted = {
            (backlog.plugin, state): getattr(backlog, state)
            for backlog in self.engine.journal.stats().plugins
            for state in ("ready", "claimed", "delayed", "held", "parked")
            if getattr(backlog, state)
        }
        states = [(plugin, row["state"]) for (plugin, _), row in self.expected.items()]
        assert counted == Counter(one for one in states if one[1] != "closed")

    @rule()
    def look_at_a_replay(self):
        with self.transaction() as transaction:
            transaction.replay(Replay(), 10, dry_run=True)

    @invariant()
    def promises_hold(self):
        if hasattr(self, "ledger"):
            self.ledger.check_never_after_closed()

    def finish_everything(self):
        """Whatever happened, everything that is neither closed nor dead can still be claimed and closed."""
        with self.transaction() as transaction:
            letters = [letter.delivery_id for letter in self.engine.journal.dead_letters() if letter.held]
        for letter in self.engine.journal.dead_letters():
            if letter.held:
                self.expected[letter.plugin, letter.event_id].update(state="closed")
        with self.transaction() as transaction:
            transaction.drop(letters)
        self.time.advance(1000.0)
        self.reclaim()
        for _ in range(len(self.expected) + 1):
            for plugin in PLUGINS:
                for item in self.claim_batch(plugin):
                    self.settle_one(item, "close")
        unfinished = {
            place: row for place, row in self.expected.items() if row["state"] not in ("closed", "parked")
        }
        assert not unfinished

    def claim_batch(self, plugin):
        with self.transaction() as transaction:
            claimed = transaction.claim(plugin, "last", 50, 1, LEASE_S)
        for item in claimed:
            self.started(item, "last")
        return claimed


@pytest.mark.parametrize("engine_name", sorted(ENGINES))
def test_when_anything_happens_in_any_order_then_the_promises_hold(engine_name):
    machine = type("Machine", (JournalMachine,), {"engine_name": engine_name})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples={"memory": 30}.get(engine_name, 20),
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
