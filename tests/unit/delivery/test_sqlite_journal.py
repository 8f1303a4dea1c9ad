"""What is particular to the SQLite journal: its speed with a long history, its keys, its sync."""

import contextlib
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.delivery import Replay, SqliteJournal
from ftrackd.delivery._sqlite_salvage import check_content
from ftrackd.delivery._sqlite_schema import decode_keys, encode_keys
from ftrackd.delivery.clock import JournalClock
from ftrackd.delivery.errors import JournalCorruptError
from ftrackd.delivery.journal import NewDeliveries, NewEvent
from tests.contract.journal_engines import FakeTime


@pytest.fixture
def journal(tmp_path):
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


def everything_once(journal):
    """Use every statement that runs while events flow."""
    with journal.transaction() as transaction:
        for number in range(6):
            deliveries = [
                NewDeliveries(("p",), (f"k{number}",)),
                NewDeliveries(("q",), ("k",), 5.0, "coalesce"),
            ]
            transaction.append(NewEvent(f"e{number}", "ftrack.update", b"{}"), deliveries)
        closed, retried, parked, released = transaction.claim("p", "one", 4, 4, 30.0)
        transaction.close([closed])
        transaction.retry(retried.delivery_id, retried.token, 5.0, "x")
        transaction.park(parked.delivery_id, parked.token, "x", None, False)
        transaction.release(released.delivery_id, released.token)
        transaction.claim("p", "one", 4, 4, 30.0)
        transaction.claim("q", "one", 4, 4, 30.0)
        transaction.is_ready("p")
        transaction.next_due_s("p")
        transaction.extend("one", 30.0)
        transaction.reclaim(5, False)
        transaction.prune(0.0, 0.0, 10**12, 100, 0.0)
        transaction.remember("name", "value")
    journal.stats()
    journal.dead_letters()
    journal.dead_letters("p")
    journal.dead_ids("p")


def test_when_the_history_is_long_then_no_statement_reads_it_through(journal):
    statements = set()
    for connection in (journal._writer, journal._reader):
        connection.set_trace_callback(statements.add)
    everything_once(journal)
    for connection in (journal._writer, journal._reader):
        connection.set_trace_callback(None)
    explained = 0
    for statement in statements:
        if not statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            continue
        plan = [row[3] for row in journal._reader.execute(f"EXPLAIN QUERY PLAN {statement}")]
        explained += 1
        for step in plan:
            reads_all = step.startswith(("SCAN delivery", "SCAN event")) and "USING" not in step
            assert not reads_all, f"{step}\n{statement}"
            # All unfinished deliveries of a plugin have a state below 4: that is its whole backlog.
            reads_backlog = "(plugin=? AND state<?)" in step
            assert not reads_backlog, f"{step}\n{statement}"
    assert explained > 15


def test_when_committed_then_it_is_synced(journal):
    assert journal._writer.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert journal._writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_when_it_is_made_then_nobody_else_may_read_it(journal):
    assert journal.path.stat().st_mode & 0o777 == 0o600


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))).map(tuple))
def test_when_keys_are_any_text_then_they_come_back(keys):
    assert decode_keys(encode_keys(keys)) == keys


def test_when_events_are_pruned_then_the_file_gives_their_room_back(journal):
    for batch in range(10):
        with journal.transaction() as transaction:
            for number in range(50):
                transaction.append(NewEvent(f"e{batch}-{number}", "t", b"x" * 4000), [NewDeliveries(("p",))])
            transaction.close(transaction.claim("p", "one", 1000, 1000, 30.0))
    full = journal.stats().size_bytes
    with journal.transaction() as transaction:
        while transaction.prune(10.0**12, 0.0, 10**12, 100, 10.0**12).more:
            pass
    assert journal.stats().size_bytes < full / 10
    assert journal.stats().events == 0


def test_when_pruned_then_a_replay_of_it_makes_nothing(journal):
    with journal.transaction() as transaction:
        transaction.append(NewEvent("e", "t", b""), [NewDeliveries(("p",))])
        transaction.forget("p")
        transaction.prune(10.0**12, 0.0, 10**12, 100, 10.0**12)
        assert transaction.replay(Replay(event_id="e"), 10, dry_run=False) == []


def test_when_a_statement_fails_then_the_transaction_leaves_nothing_open(journal):
    with pytest.raises(Exception, match="syntax"), journal.transaction() as transaction:
        transaction._connection.execute("SELEKT")
    assert not journal._writer.in_transaction
    assert isinstance(journal._writer, sqlite3.Connection)


def test_when_an_appended_event_was_undone_then_nothing_of_it_reaches_the_next(journal):
    """Its number is given to another event; what one plugin claimed serves the next plugin as well."""
    deliveries = [NewDeliveries(("p",), ("k",)), NewDeliveries(("q",), ("k",))]
    with contextlib.suppress(ZeroDivisionError), journal.transaction() as transaction:
        undone = transaction.append(NewEvent("undone", "t", b"undone"), deliveries)
        assert [claim.payload for claim in transaction.claim("p", "one", 9, 9, 30.0)] == [b"undone"]
        raise ZeroDivisionError
    with journal.transaction() as transaction:
        assert transaction.append(NewEvent("kept", "t", b"kept"), deliveries).seq == undone.seq
    for plugin in ("p", "q"):
        with journal.transaction() as transaction:
            assert [claim.payload for claim in transaction.claim(plugin, "one", 9, 9, 30.0)] == [b"kept"]


@pytest.mark.parametrize("key", ["", "plain", "with\0nul", 'quotes "and" \\', "ünï\ncode", "[bracket"])
@pytest.mark.parametrize("others", [0, 1])
def test_when_keys_are_odd_then_claims_have_them_unchanged(journal, key, others):
    deliveries = [NewDeliveries((f"p{number}",), (key, "second")) for number in range(1 + others)]
    with journal.transaction() as transaction:
        transaction.append(NewEvent("e", "t", b"{}"), deliveries)
        (claim,) = transaction.claim("p0", "one", 9, 9, 30.0)
        assert claim.keys == (key, "second")
        assert transaction.close([claim]) == []
    assert journal.stats().plugins == () or all(not row.claimed for row in journal.stats().plugins)


def test_when_events_come_one_by_one_then_the_log_stays_as_short_as_with_many_at_once(tmp_path):
    """A commit writes whole pages, whatever few rows it changes."""
    sizes = []
    for at_once in (1, 50):
        journal = SqliteJournal(tmp_path / f"{at_once}.sqlite", checkpoint_every=600)
        for first in range(0, 150, at_once):
            numbers = range(first, first + at_once)
            with journal.transaction() as transaction:
                transaction.append_all(
                    [(NewEvent(f"e{n}", "t", b"{}"), (NewDeliveries(("p",)),)) for n in numbers]
                )
        sizes.append((tmp_path / f"{at_once}.sqlite-wal").stat().st_size)
        journal.close()
    assert sizes[0] < 1_000_000
    assert sizes[1] < 1_000_000


def test_when_deliveries_are_closed_then_their_checksums_are_those_of_what_they_are_now(tmp_path):
    time = FakeTime()
    journal = SqliteJournal(tmp_path / "journal.sqlite", JournalClock(time.wall, time.monotonic))
    with journal.transaction() as transaction:
        deliveries = [NewDeliveries(("p", "q"), ("k", "ü")), NewDeliveries(("p",), due_in_s=3.0)]
        transaction.append(NewEvent("e", "t", b"{}"), deliveries)
        transaction.close(transaction.claim("p", "one", 9, 9, 30.0))
    time.advance(5.0)
    with journal.transaction() as transaction:
        (due,) = transaction.claim("p", "one", 9, 9, 30.0)
        assert transaction.close([due]) == []
    states = journal._writer.execute("SELECT plugin, state FROM delivery ORDER BY id").fetchall()
    assert states == [("p", 5), ("q", 0), ("p", 5)]
    check_content(journal._writer, journal.path)
    journal.close()


def test_when_a_claimed_row_is_damaged_then_closing_it_does_not_hide_that(journal):
    with journal.transaction() as transaction:
        transaction.append(NewEvent("e", "t", b"{}"), [NewDeliveries(("p",))])
        claims = transaction.claim("p", "one", 9, 9, 30.0)
        transaction._connection.execute("UPDATE delivery SET event_seq = 7")
        transaction.close(claims)
    with pytest.raises(JournalCorruptError, match="row 1 of delivery"):
        check_content(journal._writer, journal.path)
