"""Catching up: the log as events, the cursor, and the order of live and old."""

import json
import re
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrackd.delivery import CatchUp, Recipient, SqliteJournal
from ftrackd.delivery.cursor import Cursor
from ftrackd.delivery.event_log import LiveStream, entry_of, event_id_of, event_of, grouped
from tests.unit.delivery.running import BreakableJournal, RunningDelivery, eventually, update


def row(row_id, entity, *, transaction=None, index=0, size=1, value=None, **fields):
    """A row of the log; with a transaction it keeps the whole change, without it is as terse as can be."""
    data = {}
    if transaction:
        change = {
            "entityType": "task",
            "entityId": entity,
            "action": "update",
            "keys": ["statusid"],
            "changes": {"statusid": {"old": "a", "new": value}},
            "parents": [{"entityId": entity}, {"entityId": "project"}],
        }
        user = {"userid": "u", "name": "Jane"}
        data = {"transaction": transaction, "index": index, "size": size, "user": user, "entity": change}
    elif value is not None:
        data = {"old": "a", "new": value}
    return {
        "id": row_id,
        "action": "change.status.task",
        "insert": "update",
        "parent_type": "task",
        "parent_id": entity,
        "project_id": "project",
        "user_id": "u",
        "created_at": "2026-01-01T00:00:00",
        "data": json.dumps(data),
        **fields,
    }


class Log:
    """A log that answers the queries of a catch-up; ``meanwhile`` is called once, after the first page was
    read.
    """

    def __init__(self, rows=()):
        self.rows = list(rows)
        self.queries = []
        self.meanwhile = None
        self.failures = 0

    def query(self, expression):
        self.queries.append(expression)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the server is down")
        if "descending limit 1" in expression:
            return [{"id": row["id"]} for row in self.rows[-1:]]
        after = int(re.search(r"id > (\d+)", expression).group(1))
        limit = int(re.search(r"limit (\d+)", expression).group(1))
        page = [row for row in self.rows if row["id"] > after][:limit]
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return page


class Scene:
    """An engine and a catch-up with a log, and one plugin that subscribed to everything."""

    def __init__(self, rows=(), *, journal=None, cursor=None, behind_s=lambda: 0.0, **settings):
        self.running = RunningDelivery(journal, automatic=True, catch_up_overlap_s=1.0, **settings)
        self.log = Log(rows)
        self.catch_up = CatchUp(
            self.running.delivery, self.running.settings, self.log.query, self.deliver, behind_s=behind_s
        )
        if cursor is not None:
            known = Cursor(1.0)
            known.sight(time.time() - 1000, cursor)
            with self.running.journal.transaction() as transaction:
                transaction.remember("catch-up cursor", known.dumps())

    def deliver(self, raw, event):
        self.running.delivery.receive(raw, event, [Recipient("p")], replayed=True)

    def __enter__(self):
        self.running.__enter__()
        self.running.delivery.plugin_ready("p", 1)
        self.catch_up.start()
        return self

    def __exit__(self, *_):
        self.catch_up.stop()
        self.running.__exit__()

    def settled(self, state="done"):
        eventually(lambda: self.catch_up.report.state == state, f"{state}, it is {self.catch_up.report}")

    @property
    def handled(self):
        return self.running.runner.events()


def test_when_rows_keep_the_transaction_then_the_very_event_comes_back():
    entries = [
        entry_of(row(5, "b", transaction="t1", index=1, size=2, value="y")),
        entry_of(row(4, "a", transaction="t1", index=0, size=2, value="x")),
        entry_of(row(6, "c", transaction="t2", value="z")),
    ]
    first, second = grouped(entries)
    event = event_of(first)
    assert (event["id"], event["topic"], event_id_of(second)) == ("t1", "ftrack.update", "t2")
    assert [entity["entityId"] for entity in event["data"]["entities"]] == ["a", "b"]
    assert event["data"]["parents"] == ["a", "project", "b"]
    assert event["data"]["user"] == {"userid": "u", "name": "Jane"}
    assert event["data"]["replayed"] is True


def test_when_a_row_is_terse_then_what_it_tells_is_made_of_it():
    event = event_of([entry_of(row(9, "a", value="done"))])
    (entity,) = event["data"]["entities"]
    assert event["id"] == "ftrack-event-log-9"
    assert (entity["entityId"], entity["entityType"], entity["action"]) == ("a", "task", "update")
    assert entity["changes"] == {"statusid": {"old": "a", "new": "done"}}
    assert entity["keys"] == ["statusid"]
    assert entity["parents"][-1]["entityId"] == "project"


@pytest.mark.parametrize("data", [None, "", "no json", "[1]", '{"entity": 3}', b"\xff", 7])
def test_when_the_data_of_a_row_is_odd_then_the_row_still_counts(data):
    event = event_of([entry_of(row(9, "a", data=data))])
    assert event["data"]["entities"][0]["entityId"] == "a"


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["id", "action", "insert", "parent_id", "data", "user_id"]),
        st.none() | st.integers() | st.text(),
    )
)
def test_when_a_row_is_anything_then_only_a_value_error_leaves_the_reader(fields):
    try:
        entry = entry_of(fields)
    except ValueError:
        return
    event_of([entry])


def test_when_an_update_came_live_then_it_accounts_for_one_row_only():
    stream = LiveStream()
    _, event = update(1, "a", statusid="done")
    stream.add(event)
    first, second = entry_of(row(1, "a", value="done")), entry_of(row(2, "a", value="done"))
    other = entry_of(row(3, "a", value="open"))
    assert not stream.accounts_for([other])
    assert stream.accounts_for([first])
    assert not stream.accounts_for([second])


def test_when_the_cursor_is_read_again_then_it_begins_before_the_overlap():
    cursor = Cursor(60.0)
    assert cursor.start() is None
    for minute in range(10):
        cursor.sight(minute * 60.0, 100 + minute)
    again = Cursor.loads(cursor.dumps(), 60.0)
    assert again.start() == 108
    assert again.last.row_id == 109


@pytest.mark.parametrize("text", [None, "", "x", "[[1]]", "{}", '[["a", "b"]]'])
def test_when_the_cursor_is_unreadable_then_it_is_empty(text):
    assert Cursor.loads(text, 60.0).start() is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 1000)), min_size=1))
def test_when_seen_at_any_times_then_the_cursor_stays_small_and_never_begins_too_late(sightings):
    cursor = Cursor(60.0)
    row_id = 0
    for at, step in sightings:
        row_id += step
        cursor.sight(at, row_id)
    assert cursor.start() <= row_id
    assert len(json.loads(cursor.dumps())) <= 8


def test_when_it_starts_for_the_first_time_then_history_is_skipped():
    with Scene([row(1, "a", transaction="t1")]) as scene:
        scene.catch_up.connected()
        scene.settled()
        assert scene.handled == []
        scene.log.rows.append(row(2, "b", transaction="t2"))
        scene.catch_up.disconnected()
        scene.catch_up.connected()
        eventually(lambda: scene.handled == ["t2"])


def test_when_it_was_away_then_each_event_comes_once_in_order_and_is_marked():
    rows = [row(number, f"x{number % 7}", transaction=f"t{number}") for number in range(1, 1201)]
    with Scene(rows, cursor=100) as scene:
        scene.catch_up.connected()
        scene.settled()
        eventually(lambda: len(scene.handled) == 1100)
        assert scene.handled == [f"t{number}" for number in range(101, 1201)]
        assert scene.running.runner.last().replayed
        assert scene.catch_up.report.events == 1100
        assert scene.catch_up.report.last_row == 1200


def test_when_live_events_come_meanwhile_then_they_come_after_the_old_ones_and_once():
    rows = [row(number, "x", transaction=f"e{number}") for number in range(1, 6)]
    with Scene(rows, cursor=0) as scene:

        def meanwhile():
            scene.running.receive(5, "x")  # live, and in the log already
            scene.running.receive(6, "x")

        scene.running.receive(4, "x")
        scene.log.meanwhile = meanwhile
        scene.catch_up.connected()
        eventually(lambda: len(scene.handled) == 6)
        assert scene.handled == [f"e{number}" for number in range(1, 7)]


def test_when_not_connected_then_other_durable_topics_do_not_wait():
    with Scene() as scene:
        scene.running.receive(1, "x")
        scene.running.receive(2, "x", topic="ftrack.location.component-added")
        eventually(lambda: scene.handled == ["e2"])
        scene.catch_up.connected()
        eventually(lambda: scene.handled == ["e2", "e1"])


def test_when_rows_do_not_name_their_event_then_what_came_live_is_recognised():
    with Scene(cursor=0) as scene:
        scene.catch_up.connected()
        scene.settled()
        scene.running.receive(1, "a", statusid="done")
        eventually(lambda: scene.handled == ["e1"])
        scene.catch_up.disconnected()
        scene.log.rows = [row(1, "a", value="done"), row(2, "a", value="open")]
        scene.running.receive(3, "b", statusid="done")
        scene.log.rows.append(row(3, "b", value="done"))
        scene.catch_up.connected()
        eventually(lambda: len(scene.handled) == 3)
        assert scene.handled == ["e1", "ftrack-event-log-2", "e3"]
        assert scene.catch_up.report.known == 2


def test_when_the_log_is_read_again_then_nothing_is_delivered_again():
    rows = [row(1, "a", transaction="t1"), row(2, "b", value="done")]
    with Scene(rows, cursor=0) as scene:
        for _ in range(3):
            scene.catch_up.disconnected()
            scene.catch_up.connected()
            scene.settled()
        eventually(lambda: len(scene.handled) == 2)
        scene.running.delivery.flush()
        assert scene.handled == ["t1", "ftrack-event-log-2"]


def test_when_an_event_spans_two_pages_then_it_stays_one_event():
    rows = [row(number, f"x{number}", transaction=f"t{number}") for number in range(1, 500)]
    rows += [
        row(499 + number, f"y{number}", transaction="big", index=number - 1, size=4) for number in range(1, 5)
    ]
    with Scene(rows, cursor=0) as scene:
        scene.catch_up.connected()
        scene.settled()
        eventually(lambda: len(scene.handled) == 500)
        assert len(json.loads(scene.running.runner.last().payload)["data"]["entities"]) == 4


def test_when_the_log_cannot_be_read_then_it_is_tried_again_and_nothing_is_skipped(monkeypatch):
    monkeypatch.setattr("ftrackd.delivery.catch_up._TRY_AGAIN_S", 0.02)
    with Scene([row(1, "a", transaction="t1")], cursor=0) as scene:
        scene.log.failures = 2
        scene.catch_up.connected()
        scene.settled()
        eventually(lambda: scene.handled == ["t1"])


def test_when_the_log_stays_unreadable_then_live_events_flow_and_the_report_says_why(monkeypatch):
    monkeypatch.setattr("ftrackd.delivery.catch_up._TRY_AGAIN_S", 0.02)
    with Scene([row(1, "a", transaction="t1")], cursor=0) as scene:
        scene.log.failures = 3
        scene.running.receive(9, "a")
        scene.catch_up.connected()
        scene.settled("failed")
        eventually(lambda: scene.handled == ["e9"])
        assert "the server is down" in scene.catch_up.report.error
        scene.catch_up.disconnected()
        scene.catch_up.connected()
        eventually(lambda: scene.handled == ["e9", "t1"])


def test_when_more_live_events_wait_than_memory_allows_then_they_are_read_from_the_log():
    with Scene([row(1, "a", transaction="e1")], cursor=0, intake_limit=10) as scene:

        def meanwhile():
            for number in range(2, 30):
                scene.running.receive(number, "a")
                scene.log.rows.append(row(number, "a", transaction=f"e{number}"))

        scene.log.meanwhile = meanwhile
        scene.catch_up.connected()
        eventually(lambda: len(scene.handled) == 29)
        assert scene.handled == [f"e{number}" for number in range(1, 30)]


def test_when_live_events_had_to_be_dropped_then_they_are_read_from_the_log():
    journal = BreakableJournal()
    with Scene([row(1, "a", transaction="e1")], journal=journal, cursor=0, intake_limit=10) as scene:
        scene.catch_up.connected()
        eventually(lambda: scene.handled == ["e1"])
        eventually(lambda: scene.running.delivery._writer._held_topic is None, "live events flow")
        journal.is_broken = True
        for number in range(2, 40):
            scene.running.receive(number, "a")
            scene.log.rows.append(row(number, "a", transaction=f"e{number}"))
        journal.is_broken = False
        assert scene.running.delivery.health.lost > 0
        eventually(lambda: len(set(scene.handled)) == 39, within_s=5)
        assert len(scene.handled) == 39


def test_when_switched_off_then_nothing_waits_and_nothing_is_asked():
    with Scene([row(1, "a", transaction="t1")], cursor=0, catch_up=False) as scene:
        scene.running.receive(5, "a")
        eventually(lambda: scene.handled == ["e5"])
        scene.catch_up.connected()
        assert scene.log.queries == []
        assert scene.catch_up.report.state == "off"


def test_when_stopped_while_it_runs_then_it_ends_and_goes_on_at_the_next_start(tmp_path):
    rows = [row(number, "a", transaction=f"t{number}") for number in range(1, 701)]
    started, go_on = threading.Event(), threading.Event()
    with Scene(rows, journal=SqliteJournal(tmp_path / "journal.sqlite"), cursor=0) as first:

        def meanwhile():
            started.set()
            assert go_on.wait(30)

        first.log.meanwhile = meanwhile
        first.catch_up.connected()
        assert started.wait(30)
        stopping = threading.Thread(target=first.catch_up.stop)
        stopping.start()
        go_on.set()
        stopping.join(30)
        assert not stopping.is_alive()
    with Scene(rows, journal=SqliteJournal(tmp_path / "journal.sqlite")) as second:
        second.catch_up.connected()
        second.settled()
        eventually(lambda: len(first.handled) + len(second.handled) >= 700)
        assert [*first.handled, *second.handled] == [f"t{number}" for number in range(1, 701)]


def test_when_the_live_stream_lies_unread_then_the_newest_row_is_not_taken_for_received():
    behind_s = [100.0]
    with Scene([row(1, "a", transaction="e1")], cursor=1, behind_s=lambda: behind_s[0]) as scene:
        scene.catch_up.connected()
        scene.settled()
        scene.log.rows.append(row(2, "a", transaction="e2"))
        scene.catch_up._sight()
        assert scene.catch_up._cursor().last.row_id == 1
        behind_s[0] = 0.5
        scene.catch_up._sight()
        assert scene.catch_up._cursor().last.row_id == 2


def test_when_events_wait_for_the_journal_as_a_catch_up_begins_then_the_log_does_not_bring_them_again():
    journal = BreakableJournal()
    with Scene([], journal=journal, cursor=0) as scene:
        scene.catch_up.connected()
        scene.settled()
        eventually(lambda: scene.running.delivery._writer._held_topic is None, "live events flow")
        journal.is_broken = True
        scene.running.receive(1, "a", statusid="done")
        scene.catch_up.disconnected()
        scene.log.rows.append(row(1, "a", value="done"))
        scene.catch_up.connected()
        eventually(lambda: scene.running.delivery._writer._requests, "the catch-up waits for the journal")
        journal.is_broken = False
        scene.settled()
        assert scene.catch_up.report.known == 1
        eventually(lambda: scene.handled == ["e1"])
