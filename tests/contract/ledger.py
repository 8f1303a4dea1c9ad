"""An append-only record of what happened to deliveries, and the one check of the promises over it.

Used by the state machine of the journal and by the tests that kill processes.
"""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One thing that happened.

    ``what``: stored, started, ended (its callback returned), closed (that is on disk), parked, revived.
    ``delivery`` names a delivery of ``plugin``.
    """

    what: str
    plugin: str
    event: str
    delivery: int = 0
    token: int = 0
    keys: tuple[str, ...] = ()


@dataclass
class Ledger:
    entries: list[Entry] = field(default_factory=list)

    def add(self, what, plugin, event, delivery=0, token=0, keys=()):
        self.entries.append(Entry(what, plugin, event, delivery, token, tuple(keys)))

    def check(self, *, complete: bool = False) -> None:
        """Assert every promise; ``complete``: nothing is to come, so that everything stored must be
        handled.
        """
        self.check_never_after_closed()
        self.check_order()
        if complete:
            self.check_nothing_lost()

    def check_never_after_closed(self) -> None:
        closed: set[tuple[str, str]] = set()
        for entry in self.entries:
            place = (entry.plugin, entry.event)
            if entry.what == "closed":
                assert place not in closed, f"closed twice: {entry}"
                closed.add(place)
            elif entry.what == "started":
                assert place not in closed, f"started after it was closed: {entry}"

    def check_order(self) -> None:
        """The first starts of events that share a key are in the order in which they were stored."""
        stored: dict[str, dict[str, int]] = defaultdict(dict)
        keys: dict[tuple[str, str], tuple[str, ...]] = {}
        last_first_start: dict[tuple[str, str], int] = {}
        seen: set[tuple[str, str]] = set()
        for entry in self.entries:
            place = (entry.plugin, entry.event)
            if entry.what == "stored":
                assert entry.event not in stored[entry.plugin], f"stored twice: {entry}"
                stored[entry.plugin][entry.event] = len(stored[entry.plugin])
                keys[place] = entry.keys
            elif entry.what == "started" and place not in seen:
                seen.add(place)
                position = stored[entry.plugin].get(entry.event)
                assert position is not None, f"started but not stored: {entry}"
                for key in keys[place]:
                    before = last_first_start.get((entry.plugin, key), -1)
                    assert position > before, f"overtaken: {entry} came after number {before} of {key}"
                    last_first_start[entry.plugin, key] = position

    def check_nothing_lost(self) -> None:
        stored = {(entry.plugin, entry.event) for entry in self.entries if entry.what == "stored"}
        ended = {(entry.plugin, entry.event) for entry in self.entries if entry.what == "ended"}
        parked = {(entry.plugin, entry.event) for entry in self.entries if entry.what == "parked"}
        missing = stored - ended - parked
        assert not missing, f"{len(missing)} were never handled: {sorted(missing)[:5]}"
