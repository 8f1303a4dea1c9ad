"""Catch-up: what happened while nobody listened, asked for from the server's Event log."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import structlog

from ftrackd.api import _json
from ftrackd.delivery.cursor import Cursor
from ftrackd.delivery.engine import Delivery
from ftrackd.delivery.errors import CatchUpError, DeliveryError
from ftrackd.delivery.event_log import (
    COLUMNS,
    TOPIC,
    LiveStream,
    LogEntry,
    entry_of,
    event_of,
    grouped,
    is_complete,
)
from ftrackd.delivery.failpoints import failpoint

if TYPE_CHECKING:
    from ftrackd.settings import DeliverySettings

_log = structlog.stdlib.get_logger("ftrackd.delivery.catch_up")

_CURSOR: Final = "catch-up cursor"
_PAGE: Final = 500
_TRIES: Final = 3
_TRY_AGAIN_S: Final = 2.0
_AFTER_FAILURE_S: Final = 60.0
_LEAST_BEHIND_S: Final = 2.0

Query = Callable[[str], list[dict[str, Any]]]
Deliver = Callable[[bytes, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class CatchUpReport:
    """How the last catch-up went.

    ``state``: waiting (for the hub), running, done, failed or off. ``events`` were read from the log and
    offered to the plugins, from row ``first_row`` to ``last_row``; ``known`` of the rows had been received
    live. Times are seconds since 1970.
    """

    state: str = "waiting"
    started_at: float | None = None
    finished_at: float | None = None
    events: int = 0
    known: int = 0
    first_row: int | None = None
    last_row: int | None = None
    error: str | None = None


class CatchUp:
    """Reads the Event log after each gap in the live stream, and keeps count of how far it was seen.

    Only ``ftrack.update`` can be caught up with: the log knows no others. While the log is read, live
    events of that topic wait in memory, so that each plugin gets everything in order: subscribe first, then
    ask, then let go. Call :meth:`disconnected` when the hub is not live (also before the first connection),
    :meth:`connected` once it is and the plugins have subscribed. On the very first start there is nothing
    to catch up with.

    Args:
        delivery: the engine; live events are kept back in it.
        settings: limits of this room.
        query: runs a query expression and returns raw rows.
        deliver: offers an event, as JSON bytes and decoded, to every plugin that subscribed to it, by
            :meth:`Delivery.receive` with ``replayed=True``.
        behind_s: for how many seconds more has come by the live stream than was read.
    """

    def __init__(
        self,
        delivery: Delivery,
        settings: DeliverySettings,
        query: Query,
        deliver: Deliver,
        *,
        behind_s: Callable[[], float] = lambda: 0.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._delivery = delivery
        self._settings = settings
        self._query = query
        self._deliver = deliver
        self._behind_s = behind_s
        self._wall = wall
        self._condition = threading.Condition()  # guards everything below
        self._live = False
        self._due = False
        self._stopping = False
        self._lost = 0  # of the events that had to be dropped, those that were caught up with; only _thread's
        self._report = CatchUpReport(state="waiting" if settings.catch_up else "off")
        self._thread = threading.Thread(target=self._run, name="ftrackd-catch-up", daemon=True)

    @property
    def report(self) -> CatchUpReport:
        """How the last catch-up went."""
        with self._condition:
            return self._report

    def start(self) -> None:
        """Begin; live events wait until :meth:`connected`."""
        if not self._settings.catch_up:
            return
        self.disconnected()
        self._thread.start()

    def stop(self) -> None:
        """End; a catch-up under way goes on at the next start."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join()

    def disconnected(self) -> None:
        """The live stream is interrupted, or has not begun."""
        if not self._settings.catch_up:
            return
        with self._condition:
            self._live = False
        self._delivery.hold(TOPIC)

    def connected(self) -> None:
        """The hub is live and the plugins have subscribed: whatever happens from now on is received."""
        with self._condition:
            self._live = self._due = True
            self._condition.notify()

    def _run(self) -> None:
        next_sighting = 0.0
        while True:
            with self._condition:
                wait_s = max(0.0, next_sighting - time.monotonic()) if self._live else None
                self._condition.wait_for(lambda: self._stopping or (self._live and self._due), wait_s)
                if self._stopping:
                    return
                due, live = self._due, self._live
                self._due = due and not live
            if live and (due or self.report.state == "failed" or self._has_lost()):
                self._catch_up()
            elif live:
                self._sight()
            pause_s = _AFTER_FAILURE_S if self.report.state == "failed" else self._settings.catch_up_overlap_s
            next_sighting = time.monotonic() + max(pause_s, 1.0)

    def _catch_up(self) -> None:
        """Catch up, with a few tries; afterwards live events flow again in any case."""
        self._set(CatchUpReport(state="running", started_at=self._wall()))
        self._delivery.hold(TOPIC)
        lost = self._delivery.health.lost
        try:
            for left in reversed(range(_TRIES)):
                try:
                    self._read_log()
                    self._set(replace(self.report, state="done", finished_at=self._wall(), error=None))
                    self._lost = lost
                    return
                except DeliveryError as error:
                    self._set(replace(self.report, error=str(error)))
                    _log.warning("catch-up failed", reason=str(error), tries_left=left)
                with self._condition:
                    if self._condition.wait_for(lambda: self._stopping or not self._live, _TRY_AGAIN_S):
                        break
            self._set(replace(self.report, state="failed", finished_at=self._wall()))
        finally:
            with self._condition:
                live = self._live
            if live:
                self._delivery.release()

    def _has_lost(self) -> bool:
        """Whether events had to be dropped that can be had from the log now."""
        health = self._delivery.health
        return health.lost > self._lost and health.degraded is None

    def _set(self, report: CatchUpReport) -> None:
        with self._condition:
            self._report = report

    def _rows(self, expression: str) -> list[dict[str, Any]]:
        try:
            return self._query(expression)
        except DeliveryError:
            raise
        except Exception as error:
            raise CatchUpError(f"The server's Event log could not be read: {error}.") from error

    def _newest_row(self) -> int:
        rows = self._rows("select id from Event order by id descending limit 1")
        return int(rows[0]["id"]) if rows else 0

    def _cursor(self) -> Cursor:
        return Cursor.loads(self._delivery.journal.recall(_CURSOR), self._settings.catch_up_overlap_s)

    def _keep(self, cursor: Cursor, row_id: int) -> None:
        cursor.sight(self._wall(), row_id)
        text = cursor.dumps()
        self._delivery.remember(_CURSOR, text)

    def _sight(self) -> None:
        """Note the newest row, when everything before it was received live and nothing had to be dropped.

        While the live stream lies unread, what the log shows by now may be far from having been received.
        """
        if self._behind_s() > max(_LEAST_BEHIND_S, self._settings.catch_up_overlap_s / 2):
            return
        try:
            row_id = self._newest_row()
            health = self._delivery.health
            with self._condition:
                if not self._live or health.degraded or health.lost > self._lost:
                    return
            self._keep(self._cursor(), row_id)
        except DeliveryError as error:
            _log.warning("the log's newest row could not be noted", reason=str(error))

    def _read_log(self) -> None:
        cursor = self._cursor()
        after = cursor.start()
        if after is None:
            self._keep(cursor, self._newest_row())
            return
        stream = self._live_stream(cursor)
        self._set(replace(self.report, first_row=after))
        unfinished: list[LogEntry] = []
        while True:
            rows = self._rows(self._expression(after))
            entries = unfinished + _entries(rows)
            groups = list(grouped(entries))
            is_last = len(rows) < _PAGE
            # An event may go on with the next page.
            unfinished = groups.pop() if groups and not is_last and not is_complete(groups[-1]) else []
            self._offer(groups, stream)
            if rows:
                after = int(rows[-1]["id"])
                if not unfinished:
                    self._keep(cursor, after)
                self._set(replace(self.report, last_row=after))
            if is_last and not self._delivery.held_overflowed():
                break
        report = self.report
        if report.events:
            _log.info("caught up with the server's log", events=report.events, known=report.known)

    def _expression(self, after: int) -> str:
        earliest = self._wall() - self._settings.catch_up_limit_h * 3600
        moment = datetime.datetime.fromtimestamp(earliest, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return (
            f'select {COLUMNS} from Event where id > {after} and created_at >= "{moment}"'  # noqa: S608
            f" order by id ascending limit {_PAGE}"
        )

    def _live_stream(self, cursor: Cursor) -> LiveStream:
        """What was received live around the time where reading begins, and what waits now."""
        self._delivery.flush()  # what was received before it was kept back is in the journal, to be seen
        stream = LiveStream()
        last = cursor.last
        since = (last.at if last else self._wall()) - 2 * self._settings.catch_up_overlap_s
        for payload in [*self._delivery.journal.payloads(TOPIC, since), *self._delivery.held()]:
            event = _json.loads(payload)
            if not str(event.get("id", "")).startswith("ftrack-event-log-"):
                stream.add(event)
        return stream

    def _offer(self, groups: list[list[LogEntry]], stream: LiveStream) -> None:
        events = known = 0
        failpoint("catchup.before_append")
        for group in groups:
            if group[0].transaction is None and stream.accounts_for(group):
                known += 1
                continue
            event = event_of(group)
            self._deliver(_json.dumps(event), event)
            events += 1
            # A whole log must not take the room that live events need.
            if events % max(1, self._settings.intake_limit // 4) == 0:
                self._delivery.flush()
        self._delivery.flush()
        failpoint("catchup.after_append")
        report = self.report
        self._set(replace(report, events=report.events + events, known=report.known + known))


def _entries(rows: list[dict[str, Any]]) -> list[LogEntry]:
    entries = []
    for row in rows:
        try:
            entries.append(entry_of(row))
        except ValueError as error:
            raise CatchUpError(str(error)) from error
    return entries
