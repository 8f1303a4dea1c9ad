"""What a plugin process has to do, and how far its note says that it has come."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.hosting.flights import Flights
from ftrackd.hosting.tally import Tally
from tests.unit.hosting.delivered import Delivered


@given(ids=st.lists(st.integers(1, 50), unique=True, max_size=12), data=st.data())
def test_when_a_note_names_a_flight_then_all_before_it_have_returned(
    ids: list[int], data: st.DataObject
) -> None:
    flights = Flights({"plugin": 1, "other": 1})
    flights.add("plugin", "event", [Delivered(identifier, 100 + identifier) for identifier in ids])
    flights.add("plugin", "interactive", [Delivered(60, 160, "interactive")])
    flights.add("other", "event", [Delivered(61, 161)])
    noted = data.draw(st.integers(1, 61))
    expected = ids[: ids.index(noted) + 1] if noted in ids else []
    assert flights.until("plugin", noted, 100 + noted) == expected
    assert flights.until("plugin", noted, 99) == [], "an earlier attempt"
    flights.land(expected)
    assert len(flights) == len(ids) - len(expected) + 2
    assert flights.until("plugin", noted, 100 + noted) == [], "counted once"
    begun = {flight.delivery.delivery_id for flight in flights.begun()}
    assert begun == {60, 61, *ids[len(expected) :][:1]}


@pytest.mark.parametrize("is_linux", [True, False])
def test_when_one_process_notes_then_another_mapping_of_the_tally_shows_it_for_its_plugin_alone(
    monkeypatch: pytest.MonkeyPatch, is_linux: bool
) -> None:
    if not is_linux:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    descriptor = Tally.create(3)
    ours, theirs = Tally(descriptor), Tally(descriptor)
    os.close(descriptor)
    theirs.note(1, 7, 2**62)
    theirs.close()
    assert [ours.latest(place) for place in range(3)] == [(0, 0), (7, 2**62), (0, 0)]
    ours.close()
