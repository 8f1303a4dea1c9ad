"""Find the subscriptions that match an event without asking each of them."""

from __future__ import annotations

import itertools
import logging
import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from ftrackd.api.event._matching import Test, value_at
from ftrackd.api.event.base import Event
from ftrackd.api.event.expression import Parser, parse_cached
from ftrackd.api.exception import ParseError

_logger = logging.getLogger("ftrack_api.event.index.SubscriptionIndex")


@dataclass(slots=True, eq=False, repr=False)
class _Entry:
    key: Hashable
    priority: int
    # What is answered for it, made once.
    answer: tuple[Hashable, int]
    # What remains to be asked when the topic is known to be one of `topics`; None for nothing.
    test: Test | None
    metadata: Mapping[str, Any]
    order: tuple[int, int]
    topics: frozenset[str] | None
    # The field besides the topic that must equal one of a few literals, and those literals.
    field_name: str | None
    literals: frozenset[str]


_by_order = attrgetter("order")
#: So many are put in their places one by one, which is faster than to sort all of them.
_FEW = 3


@dataclass(slots=True, eq=False, repr=False)
class _FieldTable:
    path: tuple[str, ...]
    # Changed under the index's lock while others read; each value is replaced as a whole.
    entries: dict[str, tuple[_Entry, ...]] = field(default_factory=dict)


@dataclass(slots=True, eq=False, repr=False)
class _Bucket:
    """The entries of one topic: a few that are always asked, the others found by the value of one field.

    Changed under the index's lock while others read: tuples, and the dictionary of fields, are replaced.
    """

    #: In the order of the calls.
    always: tuple[_Entry, ...] = ()
    fields: dict[str, _FieldTable] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.always or self.fields)

    def candidates(self, event: Any) -> Iterable[_Entry]:
        if not self.fields:
            return self.always
        found = list(self.always)
        for table in self.fields.values():
            value = value_at(event, table.path)
            if value.__class__ is str:
                found.extend(table.entries.get(value, ()))
            elif value is not None:
                # A number can equal a literal that is written differently (3 and 3.0): ask them all.
                every = list(table.entries.values())
                found.extend(dict.fromkeys(entry for entries in every for entry in entries))
        return found

    def add(self, entry: _Entry) -> None:
        if entry.field_name is None:
            self.always = _with(self.always, entry)
            return
        table = self.fields.get(entry.field_name)
        if table is None:
            table = _FieldTable(tuple(entry.field_name.split(".")))
            self.fields = {**self.fields, entry.field_name: table}
        for literal in entry.literals:
            table.entries[literal] = _with(table.entries.get(literal, ()), entry)

    def remove(self, entry: _Entry) -> None:
        if entry.field_name is None:
            self.always = _without(self.always, entry)
            return
        entries = self.fields[entry.field_name].entries
        for literal in entry.literals:
            rest = _without(entries[literal], entry)
            if rest:
                entries[literal] = rest
            else:
                del entries[literal]
        if not entries:
            self.fields = {name: table for name, table in self.fields.items() if name != entry.field_name}


_EMPTY = _Bucket()


class SubscriptionIndex:
    """Subscriptions under keys, matched by literal topic first, then by one more literal field.

    Any number of threads may match while another adds or removes.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: dict[Hashable, _Entry] = {}
        self._numbers = itertools.count()
        # Another object after each replacement.
        self._latest_replacement = object()
        self._changes: deque[Callable[[], None]] = deque()
        self._is_changing = False
        # Read without the lock.
        self._topics: dict[str, _Bucket] = {}
        self._anywhere = _Bucket()

    def renew_lock(self) -> None:
        """Have a lock that nobody holds: in a forked process, no thread is left that could release it."""
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def add(
        self, key: Hashable, subscription_text: str, metadata: Mapping[str, Any], priority: int = 100
    ) -> None:
        """Add a subscription under *key*, replacing the one that was there without a gap between them.

        *metadata* is what targets of events are matched with; it is kept, not copied.

        Raises:
            ftrackd.api.exception.ParseError: when *subscription_text* is not an expression.
        """
        expression = Parser().parse(subscription_text)
        required = expression.required()
        topics = required.pop("topic", None)
        # An action's identifier tells most apart; otherwise any field does, chosen the same way every time.
        field_name = max(required, key=lambda name: (name == "data.actionIdentifier", name), default=None)
        with self._lock:
            entry = _Entry(
                key=key,
                priority=priority,
                answer=(key, priority),
                test=expression.compiled() if topics is None else expression.compiled_without("topic"),
                metadata=metadata,
                order=(priority, next(self._numbers)),
                topics=topics,
                field_name=field_name,
                literals=required[field_name] if field_name is not None else frozenset(),
            )
            replaced = self._entries.get(key)
            self._entries[key] = entry
            self._change(lambda: self._put_in(entry, replaced))

    def remove(self, key: Hashable) -> bool:
        """Remove the subscription under *key*; return whether there was one."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is None:
                return False
            self._change(lambda: self._take_out(entry))
            return True

    def match(self, event: Event | Mapping[str, Any]) -> list[tuple[Hashable, int]]:
        """Return key and priority of every subscription that *event* matches, honouring the event's target.

        Lower priorities come first, equal ones in the order in which they were added. Never raises: a value
        that cannot be compared is no match, and an event whose target is no expression matches nothing.
        """
        candidate: Any = event._data if isinstance(event, Event) else event
        while True:
            latest = self._latest_replacement
            found = self._found(candidate)
            if latest is self._latest_replacement:
                return found
            # Both the old and the new one may have been missed.

    def _found(self, candidate: Any) -> list[tuple[Hashable, int]]:
        topic = candidate.get("topic")
        bucket = self._topics.get(topic, _EMPTY) if topic.__class__ is str else _EMPTY
        anywhere = self._anywhere
        found = _matching(bucket.candidates(candidate), candidate)
        # What comes from one sequence is in order.
        is_ordered = not bucket.fields
        if anywhere.always or anywhere.fields:
            others = _matching(anywhere.candidates(candidate), candidate)
            if is_ordered and len(others) <= _FEW:
                for entry in others:
                    insort(found, entry, key=_by_order)
            else:
                found += others
                is_ordered = False
        if not is_ordered:
            found.sort(key=_by_order)
        if not found:
            return []
        target = candidate.get("target")
        if target:
            found = _addressed(found, target)
        return [entry.answer for entry in found]

    def _change(self, change: Callable[[], None]) -> None:
        """Change the tables; one change at a time, also when a signal handler asks for one during another."""
        self._changes.append(change)
        while self._changes and not self._is_changing:
            self._is_changing = True
            try:
                while self._changes:
                    self._changes.popleft()()
            finally:
                self._is_changing = False

    def _put_in(self, entry: _Entry, replaced: _Entry | None) -> None:
        for bucket in self._buckets(entry):
            bucket.add(entry)
        # Last: an event that comes in between must find one of them (it may find both).
        if replaced is not None:
            self._latest_replacement = object()
            self._take_out(replaced)

    def _take_out(self, entry: _Entry) -> None:
        for bucket in self._buckets(entry):
            bucket.remove(entry)
        for topic in entry.topics or ():
            if not self._topics[topic]:
                del self._topics[topic]

    def _buckets(self, entry: _Entry) -> list[_Bucket]:
        if entry.topics is None:
            return [self._anywhere]
        return [self._topics.setdefault(topic, _Bucket()) for topic in entry.topics]


def _matching(candidates: Iterable[_Entry], event: Any) -> list[_Entry]:
    try:
        return [entry for entry in candidates if entry.test is None or entry.test(event)]
    except Exception:  # noqa: BLE001  (contains objects inside local events whose item access fails oddly)
        return [entry for entry in candidates if _matches_safely(entry, event)]


def _matches_safely(entry: _Entry, event: Any) -> bool:
    try:
        return entry.test is None or entry.test(event)
    except Exception:  # the same for one entry, so that the others do not suffer
        _logger.warning(
            "Subscription of %r could not be compared with an event about %r; taken as no match.",
            entry.key,
            event.get("topic"),
            exc_info=True,
        )
        return False


def _addressed(entries: list[_Entry], target: Any) -> list[_Entry]:
    try:
        test = parse_cached(target).compiled() if isinstance(target, str) else None
    except ParseError as error:
        _logger.error("Event dropped: its target %.200r is not an expression. %s", target, error)
        return []
    if test is None:
        _logger.error("Event dropped: its target %.200r is not text.", target)
        return []
    return [entry for entry in entries if test(entry.metadata)]


def _with(entries: tuple[_Entry, ...], entry: _Entry) -> tuple[_Entry, ...]:
    """Return the ordered `entries` with one more."""
    at = bisect_left(entries, entry.order, key=_by_order)
    return (*entries[:at], entry, *entries[at:])


def _without(entries: tuple[_Entry, ...], entry: _Entry) -> tuple[_Entry, ...]:
    """Return the ordered `entries` without one of them."""
    at = bisect_left(entries, entry.order, key=_by_order)
    return entries[:at] + entries[at + 1 :]
