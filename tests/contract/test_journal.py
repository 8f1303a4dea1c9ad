"""What every engine of the journal promises."""

import json

import pytest

from ftrackd.delivery.errors import JournalError, UnknownDeliveryError
from ftrackd.delivery.journal import NewDeliveries, NewEvent, Replay
from tests.contract.journal_engines import ENGINES, FakeTime

LEASE_S = 30.0
FAR = 10**12


@pytest.fixture
def time():
    return FakeTime()


@pytest.fixture(params=sorted(ENGINES))
def engine(request, tmp_path, time):
    engine = ENGINES[request.param](tmp_path, time)
    yield engine
    engine.close()


@pytest.fixture
def journal(engine):
    return engine.journal


def event(number, topic="ftrack.update"):
    return NewEvent(f"e{number}", topic, json.dumps({"id": f"e{number}"}).encode())


def append(journal, number, *deliveries, **fields):
    """Append event ``number`` for plugin ``p`` with key ``k``, unless other deliveries are given."""
    with journal.transaction() as transaction:
        return transaction.append(event(number, **fields), deliveries or (NewDeliveries(("p",), ("k",)),))


def claim(journal, owner="one", plugin="p", limit=100, ready=100):
    with journal.transaction() as transaction:
        return transaction.claim(plugin, owner, limit, ready, LEASE_S)


def settle(journal, method, claimed, *arguments):
    with journal.transaction() as transaction:
        if method == "close":
            return not transaction.close([claimed])
        return getattr(transaction, method)(claimed.delivery_id, claimed.token, *arguments)


def ids(claims):
    return [claimed.event_id for claimed in claims]


def only(claims):
    assert len(claims) == 1, claims
    return claims[0]


def backlog(journal, plugin="p"):
    return next((entry for entry in journal.stats().plugins if entry.plugin == plugin), None)


def test_when_an_event_is_appended_then_each_plugin_gets_it_as_it_was(journal, time):
    append(journal, 1, NewDeliveries(("p",), ("k",)), NewDeliveries(("q",)))
    mine, other = only(claim(journal)), only(claim(journal, plugin="q"))
    assert mine.payload == b'{"id": "e1"}'
    assert (mine.event_id, mine.topic, mine.keys, mine.attempt, mine.replayed) == (
        "e1",
        "ftrack.update",
        ("k",),
        1,
        False,
    )
    assert mine.received_at == time.wall()
    assert other.keys == ()
    assert other.delivery_id != mine.delivery_id


def test_when_an_id_comes_again_then_it_is_stored_once(journal):
    first = append(journal, 1)
    again = append(journal, 1, NewDeliveries(("q",)))
    assert first.stored and not again.stored
    assert first.seq == again.seq
    assert claim(journal, plugin="q") == []
    assert journal.seen("e1") and not journal.seen("e2")


def test_when_a_transaction_fails_then_nothing_of_it_happened(journal):
    append(journal, 1)
    with pytest.raises(ZeroDivisionError), journal.transaction() as transaction:
        transaction.append(event(2), (NewDeliveries(("p",)),))
        transaction.claim("p", "one", 10, 10, LEASE_S)
        transaction.remember("cursor", "x")
        raise ZeroDivisionError
    assert not journal.seen("e2")
    assert journal.recall("cursor") is None
    assert ids(claim(journal)) == ["e1"]


def test_when_claimed_then_the_order_is_the_one_of_arrival(journal):
    for number in range(20):
        append(journal, number, NewDeliveries(("p",), (f"k{number % 3}",)))
    assert ids(claim(journal, limit=7)) == [f"e{number}" for number in range(7)]
    assert ids(claim(journal, limit=100)) == [f"e{number}" for number in range(7, 20)]
    assert claim(journal) == []


def test_when_one_owner_has_a_key_then_another_gets_only_what_does_not_share_it(journal):
    append(journal, 1, NewDeliveries(("p",), ("a",)))
    append(journal, 2, NewDeliveries(("p",), ("a", "b")))
    append(journal, 3, NewDeliveries(("p",), ("b",)))
    append(journal, 4, NewDeliveries(("p",), ("c",)))
    first = only(claim(journal, "one", limit=1))
    assert ids(claim(journal, "two")) == ["e4"]
    settle(journal, "close", first)
    assert ids(claim(journal, "two")) == ["e2", "e3"]


def test_when_closed_then_it_is_never_delivered_again(engine):
    append(engine.journal, 1)
    done = only(claim(engine.journal))
    assert settle(engine.journal, "close", done)
    assert not settle(engine.journal, "close", done)
    journal = engine.reopen()
    with journal.transaction() as transaction:
        assert transaction.reclaim(5, hold=False) == []
    append(journal, 1)
    assert claim(journal) == []


def test_when_many_are_closed_at_once_then_only_lost_leases_are_told_and_left_alone(engine, time):
    for number in range(5):
        append(engine.journal, number, NewDeliveries(("p",), (f"k{number}",)))
    stale = claim(engine.journal)[1:3]
    time.seconds += LEASE_S + 1
    with engine.journal.transaction() as transaction:
        transaction.reclaim(5, hold=False)
    claims = claim(engine.journal, ready=5)
    assert ids(claims) == ["e0", "e1", "e2", "e3", "e4"]
    with engine.journal.transaction() as transaction:
        assert transaction.close([claims[0], *stale, claims[4]]) == stale
    with engine.journal.transaction() as transaction:
        assert transaction.close([claims[0], claims[1]]) == [claims[0]], "closed once already"
        assert transaction.close([]) == []
    journal = engine.reopen()
    with journal.transaction() as transaction:
        assert [item.event_id for item in transaction.reclaim(5, hold=False)] == ["e2", "e3"]


def test_when_the_process_ends_then_what_it_claimed_is_offered_again_and_counted(engine):
    append(engine.journal, 1)
    before = only(claim(engine.journal))
    journal = engine.reopen()
    with journal.transaction() as transaction:
        (reclaimed,) = transaction.reclaim(5, hold=False)
    assert (reclaimed.event_id, reclaimed.attempts, reclaimed.parked) == ("e1", 1, False)
    after = only(claim(journal))
    assert after.attempt == 2
    assert after.token > before.token


def test_when_the_process_ends_each_time_then_it_is_parked_in_the_end(engine):
    append(engine.journal, 1)
    journal = engine.journal
    for _ in range(3):
        only(claim(journal))
        journal = engine.reopen()
        with journal.transaction() as transaction:
            (reclaimed,) = transaction.reclaim(3, hold=False)
    assert reclaimed.parked
    assert claim(journal) == []
    assert only(journal.dead_letters()).attempts == 3


def test_when_a_lease_is_lost_then_its_owner_cannot_settle(journal, time):
    append(journal, 1)
    lost = only(claim(journal, "one"))
    time.advance(LEASE_S + 1)
    with journal.transaction() as transaction:
        transaction.reclaim(5, hold=False)
    won = only(claim(journal, "two"))
    assert won.token > lost.token
    assert not settle(journal, "close", lost)
    assert not settle(journal, "retry", lost, 1.0, "x")
    assert not settle(journal, "park", lost, "x", None, False)
    assert not settle(journal, "release", lost)
    assert settle(journal, "close", won)


def test_when_a_lease_is_extended_then_it_is_not_lost(journal, time):
    append(journal, 1)
    held = only(claim(journal, "one"))
    for _ in range(5):
        time.advance(LEASE_S * 0.9)
        with journal.transaction() as transaction:
            assert transaction.extend("one", LEASE_S) == 1
            assert transaction.extend("two", LEASE_S) == 0
            assert transaction.reclaim(5, hold=False) == []
    assert settle(journal, "close", held)


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_when_the_systems_clock_jumps_then_leases_and_delays_do_not(journal, time, jump_s):
    append(journal, 1)
    append(journal, 2, NewDeliveries(("p",), ("other",)))
    first, second = claim(journal)
    settle(journal, "retry", first, 10.0, "x")
    time.wall_offset_s = jump_s
    with journal.transaction() as transaction:
        assert transaction.reclaim(5, hold=False) == []
        assert transaction.next_due_s("p") == pytest.approx(10.0)
    assert claim(journal) == []
    time.advance(10.1)
    assert ids(claim(journal)) == ["e1"]
    assert settle(journal, "close", second)


def test_when_retried_then_its_entity_waits_and_others_do_not(journal, time):
    append(journal, 1, NewDeliveries(("p",), ("a",)))
    append(journal, 2, NewDeliveries(("p",), ("a",)))
    append(journal, 3, NewDeliveries(("p",), ("b",)))
    first = only(claim(journal, limit=1))
    assert settle(journal, "retry", first, 5.0, "no connection")
    assert ids(claim(journal, limit=10, ready=10)) == ["e3"]
    time.advance(5.1)
    again = claim(journal, limit=1, ready=1)
    assert ids(again) == ["e1"]
    assert again[0].attempt == 2
    assert ids(claim(journal)) == ["e2"]


def test_when_something_is_delayed_then_the_journal_says_how_long(journal, time):
    with journal.transaction() as transaction:
        assert transaction.next_due_s("p") is None
    append(journal, 1, NewDeliveries(("p",), ("a",), due_in_s=3.0))
    assert claim(journal) == []
    with journal.transaction() as transaction:
        assert transaction.next_due_s("p") == pytest.approx(3.0)
        assert not transaction.is_ready("p")
    time.advance(3.0)
    with journal.transaction() as transaction:
        assert transaction.next_due_s("p") is None
        assert transaction.is_ready("p")
        assert not transaction.is_ready("q")
    assert ids(claim(journal)) == ["e1"]
    with journal.transaction() as transaction:
        assert not transaction.is_ready("p")


def test_when_released_then_no_attempt_is_counted(journal):
    append(journal, 1)
    for _ in range(10):
        given = only(claim(journal))
        assert given.attempt == 1
        assert settle(journal, "release", given)


def test_when_tried_before_then_it_is_claimed_only_to_start_at_once(journal, time):
    for number in range(3):
        append(journal, number, NewDeliveries(("p",), (f"k{number}",)))
    first = only(claim(journal, limit=1))
    settle(journal, "retry", first, 1.0, "x")
    time.advance(2.0)
    assert claim(journal, limit=10, ready=0) == []
    assert ids(claim(journal, limit=10, ready=1)) == ["e0"]
    assert ids(claim(journal, limit=10, ready=0)) == ["e1", "e2"]


def test_when_parked_then_it_is_listed_with_its_error_and_its_entity_goes_on(journal, time):
    append(journal, 1)
    append(journal, 2)
    first = only(claim(journal, limit=1))
    assert settle(journal, "park", first, "Traceback ...", "err-1", False)
    assert ids(claim(journal)) == ["e2"]
    letter = only(journal.dead_letters())
    assert (letter.delivery_id, letter.plugin, letter.event_id) == (first.delivery_id, "p", "e1")
    assert (letter.error, letter.error_id, letter.attempts, letter.held) == (
        "Traceback ...",
        "err-1",
        1,
        False,
    )
    assert letter.payload == first.payload
    assert letter.parked_at == time.wall()
    assert journal.dead_letter(first.delivery_id) == letter
    assert journal.dead_letters("q") == []


def test_when_many_are_parked_then_the_newest_are_listed_and_every_id_is_known(journal):
    for number in range(5):
        append(journal, number, NewDeliveries(("p",) if number < 4 else ("q",)))
    for plugin in "pq":
        for parked in claim(journal, plugin=plugin):
            settle(journal, "park", parked, "x", None, False)
    assert [letter.event_id for letter in journal.dead_letters(limit=2)] == ["e4", "e3"]
    assert [letter.event_id for letter in journal.dead_letters("p", 2)] == ["e3", "e2"]
    everything = [letter.delivery_id for letter in journal.dead_letters()]
    assert journal.dead_ids() == everything[::-1]
    assert journal.dead_ids("q") == everything[:1]


def test_when_held_then_its_entity_waits_until_somebody_decides(journal):
    for number, key in enumerate("aab"):
        append(journal, number, NewDeliveries(("p",), (key,)))
    first = only(claim(journal, limit=1))
    settle(journal, "park", first, "x", None, True)
    assert only(journal.dead_letters()).held
    assert ids(claim(journal)) == ["e2"]
    with journal.transaction() as transaction:
        assert transaction.drop([first.delivery_id]) == 1
    assert ids(claim(journal)) == ["e1"]
    assert journal.dead_letters() == []


@pytest.mark.parametrize("hold", [True, False])
def test_when_revived_then_it_comes_back_in_its_place_with_all_attempts(journal, hold):
    append(journal, 1)
    first = only(claim(journal))
    settle(journal, "park", first, "x", None, hold)
    append(journal, 2)
    with journal.transaction() as transaction:
        assert transaction.revive([first.delivery_id, first.delivery_id, 999]) == 1
    again = claim(journal)
    assert ids(again) == ["e1", "e2"]
    assert again[0].attempt == 1
    assert journal.dead_letters() == []


def test_when_a_dead_letter_is_unknown_then_the_error_says_so(journal):
    with pytest.raises(UnknownDeliveryError, match="77"):
        journal.dead_letter(77)
    with journal.transaction() as transaction:
        assert transaction.revive([77]) == 0
        assert transaction.drop([77]) == 0


def test_when_not_dead_then_it_can_be_neither_revived_nor_dropped(journal):
    append(journal, 1)
    running = only(claim(journal))
    with journal.transaction() as transaction:
        assert transaction.revive([running.delivery_id]) == 0
        assert transaction.drop([running.delivery_id]) == 0
    assert settle(journal, "close", running)
    with journal.transaction() as transaction:
        assert transaction.revive([running.delivery_id]) == 0


def test_when_a_plugin_is_forgotten_then_only_its_waiting_deliveries_go(journal):
    append(journal, 1, NewDeliveries(("p",)), NewDeliveries(("q",)))
    append(journal, 2, NewDeliveries(("p",)))
    running = only(claim(journal, limit=1))
    with journal.transaction() as transaction:
        assert transaction.forget("p") == 1
    assert claim(journal) == []
    assert settle(journal, "close", running)
    assert ids(claim(journal, plugin="q")) == ["e1"]


def test_when_coalesced_then_the_last_one_stays_and_keeps_the_first_ones_time(journal, time):
    append(journal, 1, NewDeliveries(("p",), ("a",), 2.0, "update a"))
    time.advance(1.5)
    appended = append(journal, 2, NewDeliveries(("p",), ("a",), 2.0, "update a"))
    assert len(appended.coalesced) == 1
    append(journal, 3, NewDeliveries(("p",), ("b",), 2.0, "update b"))
    append(journal, 4, NewDeliveries(("q",), ("a",), 2.0, "update a"))
    assert claim(journal) == []
    time.advance(0.6)
    assert ids(claim(journal)) == ["e2"]


def test_when_claimed_or_tried_then_it_does_not_give_way(journal, time):
    append(journal, 1, NewDeliveries(("p",), ("a",), 0.5, "a"))
    time.advance(1)
    running = only(claim(journal))
    assert append(journal, 2, NewDeliveries(("p",), ("a",), 0.5, "a")).coalesced == ()
    settle(journal, "retry", running, 1.0, "x")
    assert len(append(journal, 3, NewDeliveries(("p",), ("a",), 0.5, "a")).coalesced) == 1
    time.advance(5)
    assert ids(claim(journal, limit=1, ready=1)) == ["e1"]
    assert ids(claim(journal)) == ["e3"]


def test_when_replayed_then_each_plugin_gets_it_once_more_and_is_told(journal, time):
    append(journal, 1, NewDeliveries(("p",), ("a",)), NewDeliveries(("q",)))
    for plugin in "pq":
        settle(journal, "close", only(claim(journal, plugin=plugin)))
    time.advance(100)
    append(journal, 2)
    settle(journal, "close", only(claim(journal)))
    with journal.transaction() as transaction:
        would = transaction.replay(Replay(until=time.wall() - 50), 100, dry_run=True)
    assert claim(journal) == []
    with journal.transaction() as transaction:
        made = transaction.replay(Replay(until=time.wall() - 50), 100, dry_run=False)
    assert made == would
    assert [(replayed.plugin, replayed.event_id) for replayed in made] == [("p", "e1"), ("q", "e1")]
    again = only(claim(journal))
    assert (again.event_id, again.replayed, again.keys, again.attempt) == ("e1", True, ("a",), 1)
    with journal.transaction() as transaction:
        twice = transaction.replay(Replay(event_id="e1", plugin="p"), 100, dry_run=False)
    assert len(twice) == 1, "an event that was replayed before is one delivery, not two"


def test_when_a_replay_is_narrowed_then_all_conditions_hold(journal, time):
    append(journal, 1, NewDeliveries(("p",)), NewDeliveries(("q",)))
    append(journal, 2, NewDeliveries(("p",)), topic="studio.published")
    time.advance(10)
    append(journal, 3, NewDeliveries(("p",)))

    def replayed(limit=100, **conditions):
        with journal.transaction() as transaction:
            found = transaction.replay(Replay(**conditions), limit, dry_run=True)
        return [(one.event_id, one.plugin) for one in found]

    assert replayed(plugin="p") == [("e1", "p"), ("e2", "p"), ("e3", "p")]
    assert replayed(topic="studio.published") == [("e2", "p")]
    assert replayed(since=time.wall() - 1) == [("e3", "p")]
    assert replayed(since=time.wall() + 1) == []
    assert replayed(event_id="e1", plugin="q") == [("e1", "q")]
    assert replayed(limit=2, plugin="p") == [("e1", "p"), ("e2", "p")]


def test_when_pruned_then_only_old_events_without_open_deliveries_go(journal, time):
    append(journal, 1)
    append(journal, 2, NewDeliveries(("p",)), NewDeliveries(("q",)))
    append(journal, 3)
    for claimed in claim(journal):
        settle(journal, "close", claimed)
    time.advance(100)
    append(journal, 4, NewDeliveries(("r",)))
    for claimed in claim(journal, plugin="r"):
        settle(journal, "close", claimed)
    with journal.transaction() as transaction:
        pruned = transaction.prune(time.wall() - 50, 0.0, FAR, 100, FAR)
    assert (pruned.events, pruned.deliveries, pruned.dead, pruned.more) == (2, 2, 0, False)
    assert [journal.seen(f"e{number}") for number in (1, 2, 3, 4)] == [False, True, False, True]
    assert ids(claim(journal, plugin="q")) == ["e2"]


def test_when_pruned_for_its_size_then_the_oldest_go_first_and_open_ones_stay(journal, time):
    for number in range(10):
        append(journal, number, NewDeliveries(("p",) if number else ("waiting",)))
    for claimed in claim(journal):
        settle(journal, "close", claimed)
    with journal.transaction() as transaction:
        pruned = transaction.prune(0.0, 0.0, 0, 4, FAR)
    assert (pruned.events, pruned.more) == (4, True)
    assert [journal.seen(f"e{number}") for number in range(7)] == [
        True,
        False,
        False,
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("hold", [True, False])
def test_when_pruned_then_dead_letters_stay_for_their_own_time(journal, time, hold):
    append(journal, 1)
    settle(journal, "park", only(claim(journal)), "x", None, hold)
    time.advance(100)
    with journal.transaction() as transaction:
        assert transaction.prune(time.wall(), time.wall() - 200, 0, 100, FAR).events == 0
        pruned = transaction.prune(time.wall(), time.wall(), 0, 100, FAR)
    assert (pruned.events, pruned.dead) == ((0, 0) if hold else (1, 1))


def test_when_counted_then_the_states_add_up(journal, time):
    started = time.wall()
    for number in range(6):
        append(journal, number, NewDeliveries(("p",), (f"k{number}",)))
    closed, delayed, parked, held, _running = claim(journal, limit=5)
    settle(journal, "close", closed)
    settle(journal, "retry", delayed, 9.0, "x")
    settle(journal, "park", parked, "x", None, False)
    settle(journal, "park", held, "x", None, True)
    entry = backlog(journal)
    assert (entry.ready, entry.claimed, entry.delayed, entry.held, entry.parked) == (1, 1, 1, 1, 1)
    assert entry.oldest_at == started
    assert journal.stats().events == 6
    assert journal.stats().size_bytes > 0


def test_when_a_text_is_remembered_then_it_outlives_the_process(engine):
    with engine.journal.transaction() as transaction:
        transaction.remember("cursor", "17")
    with engine.journal.transaction() as transaction:
        transaction.remember("cursor", "18")
    assert engine.reopen().recall("cursor") == "18"
    assert engine.journal.recall("other") is None


def test_when_text_is_odd_then_it_comes_back_as_it_was(journal):
    plugin, key = "plügin/with spaces'--", "kéy\n\"'"
    payload = b'{"a": "\\ud800", "n": NaN, "\\u0000": 1}'
    with journal.transaction() as transaction:
        transaction.append(NewEvent("\u2028id", "tøpic", payload), [NewDeliveries((plugin,), (key, ""))])
    got = only(claim(journal, plugin=plugin))
    assert (got.payload, got.keys, got.event_id, got.topic) == (payload, (key, ""), "\u2028id", "tøpic")


def test_when_closed_for_good_then_changes_are_refused(engine):
    engine.close()
    with pytest.raises(JournalError), engine.journal.transaction():
        pass
