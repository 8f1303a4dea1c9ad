"""Whatever happens to a plugin's processes while deliveries are handed ahead, the promises are kept."""

from collections import Counter
from dataclasses import dataclass, field

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

from ftrackd.delivery import MemoryJournal
from ftrackd.delivery.clock import JournalClock
from ftrackd.delivery.event_lane import EventLane, Outlook
from ftrackd.delivery.journal import Claim, NewDeliveries, NewEvent
from ftrackd.delivery.settlement import Verdict
from ftrackd.settings import DeliverySettings
from tests.contract.journal_engines import FakeTime
from tests.contract.ledger import Ledger
from tests.contract.outcome import Ended

KEYS = st.lists(st.sampled_from("abc"), max_size=2, unique=True).map(tuple)
MAX_ATTEMPTS = 3
SETTINGS = DeliverySettings(
    claim_batch=6, max_attempts=MAX_ATTEMPTS, retry_delay_s=1.0, retry_delay_cap_s=4.0, lease_s=1e9
)


@dataclass
class Process:
    """A plugin process: sequences of which the first delivery runs. One that retires begins nothing more."""

    sequences: list[list[Claim]] = field(default_factory=list)
    is_retiring: bool = False


class LaneMachine(RuleBasedStateMachine):
    """The engine's writer and dispatcher around one lane, and a plugin that is reloaded, killed and removed.

    ``counted``: how many attempts at each event are to count.
    """

    on_park: str

    @initialize(concurrency=st.sampled_from([1, 1, 3]))
    def begin(self, concurrency):
        self.time = FakeTime()
        self.journal = MemoryJournal(JournalClock(self.time.wall, self.time.monotonic))
        self.lane = EventLane(SETTINGS.model_copy(update={"on_park": self.on_park}), lambda _, high: high)
        self.concurrency = concurrency
        self.ledger = Ledger()
        self.keys = {}
        self.counted = Counter()
        self.processes = []
        self.current = None
        self.start_process()

    def teardown(self):
        if not hasattr(self, "journal"):
            return
        for _ in range(1000):
            if self.current is None:
                self.start_process()
            self.write()
            for process in list(self.processes):
                while process.sequences and process in self.processes:
                    self.end(process, 0, "returned")
            self.time.advance(5.0)
            with self.journal.transaction() as transaction:
                transaction.revive([letter.delivery_id for letter in self.journal.dead_letters()])
            self.counted.update(dict.fromkeys(self.revived(), 0))
            self.lane.look_again()
            if not self.journal.stats().plugins and not self.lane.settlements:
                break
        else:
            raise AssertionError(f"never done: {self.journal.stats()}")
        self.ledger.check(complete=True)

    def revived(self):
        parked = {entry.event for entry in self.ledger.entries if entry.what == "parked"}
        for event in parked:
            self.counted[event] = 0
        return parked

    @rule(keys=KEYS)
    def append(self, keys):
        event_id = f"e{len(self.keys)}"
        with self.journal.transaction() as transaction:
            transaction.append(NewEvent(event_id, "ftrack.update", b"{}"), [NewDeliveries(("p",), keys)])
        self.ledger.add("stored", "p", event_id, keys=keys)
        self.keys[event_id] = keys
        self.lane.appended("p")

    @rule()
    def write(self):
        """One cycle of the writer, and the handing over after it."""
        settlements = self.lane.take_settlements()
        with self.journal.transaction() as transaction:
            assert settlements.apply(transaction) == [], "no lease was lost"
            claimed = []
            for wanted in self.lane.wanted(self.time.monotonic()):
                claims = transaction.claim("p", "me", wanted.limit, wanted.ready, 1e9)
                outlook = Outlook()
                if len(claims) < wanted.limit:
                    outlook = Outlook(transaction.is_ready("p"), transaction.next_due_s("p"))
                claimed.append((wanted, claims, outlook))
        for claim in settlements.closing:
            self.ledger.add("closed", "p", claim.event_id)
        for settled in settlements.others:
            if settled.verdict is Verdict.PARK:
                self.ledger.add("parked", "p", settled.claim.event_id)
        for wanted, claims, outlook in claimed:
            self.lane.claimed(wanted, claims, outlook, self.time.monotonic())
        self.hand_over()

    def hand_over(self):
        started = self.lane.start("p")
        if started is None:
            return
        if self.current is None:
            everything = [handover for sequence in started.sequences for handover in sequence]
            self.lane.unreached("p", everything, started.generation)
            return
        for sequence in started.sequences:
            self.current.sequences.append(list(sequence))
            self.run_first(sequence)

    def run_first(self, sequence):
        handover = sequence[0]
        assert handover.attempt == 1 + self.counted[handover.event_id], "only what began counts"
        self.ledger.add("started", "p", handover.event_id, handover.delivery_id, handover.token)

    def finished(self, ended, unbegun):
        """What the dispatcher makes of outcomes that come together."""
        outcomes = [Ended(one.delivery_id, one.token, "unbegun") for one in unbegun]
        if outcomes:
            self.lane.unbegun("p", outcomes)
        self.lane.returned("p", [outcome for outcome in ended if outcome.status == "returned"])
        for outcome in ended:
            if outcome.status != "returned":
                self.lane.finished("p", outcome, self.time.monotonic())
        self.hand_over()

    def is_known(self, handover):
        claim = self.lane._plugin("p").window._handed_over.get(handover.delivery_id)
        return claim is not None and claim.token == handover.token

    @precondition(lambda self: any(process.sequences for process in self.processes))
    @rule(data=st.data(), how=st.sampled_from(["returned"] * 4 + ["transient", "raised"]))
    def end_one(self, data, how):
        places = [(process, number) for process in self.processes for number in range(len(process.sequences))]
        self.end(*data.draw(st.sampled_from(places)), how)

    def end(self, process, number, how):
        sequence = process.sequences.pop(number)
        done, rest = sequence[0], sequence[1:]
        if how == "returned":
            self.ledger.add("ended", "p", done.event_id)
            if rest and not process.is_retiring:
                process.sequences.append(rest)
            self.finished([Ended(done.delivery_id, done.token)], [])
            if rest and process.is_retiring:
                self.finished([], rest)
            elif rest:
                self.run_first(rest)
        else:
            if self.is_known(done):
                self.counted[done.event_id] += 1
            failed = Ended(done.delivery_id, done.token, "raised", transient=how == "transient")
            self.finished([failed], rest)
        if process.is_retiring and not process.sequences:
            self.processes.remove(process)

    @precondition(lambda self: self.current is None)
    @rule()
    def start_process(self):
        self.current = Process()
        self.processes.append(self.current)
        self.lane.plugin_ready("p", self.concurrency)
        self.hand_over()

    @precondition(lambda self: self.current is not None)
    @rule()
    def reload(self):
        """A new version takes over; the old one finishes what it runs."""
        self.retire(self.current)
        self.current = Process()
        self.processes.append(self.current)

    def retire(self, process):
        process.is_retiring = True
        if not process.sequences:
            self.processes.remove(process)

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def kill(self, data):
        process = data.draw(st.sampled_from(self.processes))
        self.processes.remove(process)
        begun = [sequence[0] for sequence in process.sequences]
        self.counted.update(one.event_id for one in begun if self.is_known(one))
        if process is self.current:
            self.current = None
        self.finished(
            [Ended(one.delivery_id, one.token, "died") for one in begun],
            [one for sequence in process.sequences for one in sequence[1:]],
        )
        if self.current is None:
            self.lane.plugin_gone("p")

    @precondition(lambda self: self.current is not None)
    @rule()
    def remove(self):
        """The plugin is taken away; its process finishes what it runs."""
        self.retire(self.current)
        self.current = None
        self.lane.plugin_gone("p")

    @rule(seconds=st.sampled_from([0.5, 5.0]))
    def wait(self, seconds):
        self.time.advance(seconds)

    @invariant()
    def those_that_run_share_nothing(self):
        if not hasattr(self, "journal"):
            return
        running = [
            sequence[0]
            for process in self.processes
            for sequence in process.sequences
            if self.is_known(sequence[0])
        ]
        assert self.lane.running == len(running) <= self.concurrency
        keys = [key for handover in running for key in self.keys[handover.event_id]]
        assert len(keys) == len(set(keys))


def test_when_processes_come_and_go_then_nothing_is_lost_overtaken_or_counted_for_nothing():
    class Releasing(LaneMachine):
        on_park = "release"

    class Holding(LaneMachine):
        on_park = "hold"

    for machine in (Releasing, Holding):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=30,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
