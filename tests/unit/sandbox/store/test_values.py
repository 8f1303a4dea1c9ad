"""Values of the wire in the form they are stored."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.sandbox import json_text
from ftrackd.sandbox.errors import ValidationError
from ftrackd.sandbox.schema import Scalar, ValueType
from ftrackd.sandbox.store.values import (
    load_variable,
    normalise_datetime,
    store_scalar,
    store_variable,
    variable_text,
)

from .wire import moment, reference


def _store(value_type, value, **more):
    return store_scalar("Task", Scalar("x", value_type=value_type, column="x", **more), value)["x"]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("2020-01-02T03:04:05.678000+02:00", "2020-01-02T01:04:05"),
        ("2020-01-02", "2020-01-02T00:00:00"),
        ("2020-01-02T03:04:05.999Z", "2020-01-02T03:04:05"),
        ("2020-01-02T03:04:05", "2020-01-02T03:04:05"),
        ("2019-12-31T23:30:00-01:00", "2020-01-01T00:30:00"),
    ],
)
def test_when_a_moment_has_an_offset_or_fractions_then_it_is_stored_as_naive_utc_seconds(sent, stored):
    assert _store(ValueType.DATETIME, moment(sent)) == stored
    assert _store(ValueType.DATETIME, sent) == stored


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), st.integers(-720, 720))
def test_when_any_moment_is_normalised_then_it_is_the_same_instant(value, minutes):
    aware = value.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    found = datetime.fromisoformat(normalise_datetime(aware.isoformat()))
    assert found == aware.astimezone(UTC).replace(tzinfo=None, microsecond=0)


@pytest.mark.parametrize(
    ("value_type", "sent", "stored"),
    [
        (ValueType.INTEGER, "12", 12),
        (ValueType.INTEGER, 12.0, 12),
        (ValueType.INTEGER, True, 1),
        (ValueType.NUMBER, "1.5", 1.5),
        (ValueType.NUMBER, 3, 3.0),
        (ValueType.BOOLEAN, "true", True),
        (ValueType.BOOLEAN, 0, False),
        (ValueType.STRING, moment("2020-01-01T00:00:00Z"), "2020-01-01T00:00:00Z"),
        (ValueType.STRING, reference("Status", "s1"), "s1"),
        (ValueType.STRING, None, None),
        (ValueType.OBJECT, {"a": [1]}, '{"a":[1]}'),
    ],
)
def test_when_a_value_can_be_understood_then_it_is_taken(value_type, sent, stored):
    assert _store(value_type, sent) == stored


@pytest.mark.parametrize(
    ("value_type", "sent"),
    [
        (ValueType.INTEGER, "twelve"),
        (ValueType.INTEGER, 1.5),
        (ValueType.INTEGER, 2**70),
        (ValueType.INTEGER, [1]),
        (ValueType.NUMBER, float("nan")),
        (ValueType.NUMBER, "1e999"),
        (ValueType.NUMBER, {}),
        (ValueType.BOOLEAN, "maybe"),
        (ValueType.BOOLEAN, []),
        (ValueType.DATETIME, "yesterday"),
        (ValueType.DATETIME, 5),
        (ValueType.DATETIME, moment(None) | {"value": 7}),
        (ValueType.STRING, "a\x00b"),
        (ValueType.STRING, 12),
        (ValueType.STRING, 1.5),
        (ValueType.STRING, True),
        (ValueType.STRING, ["a"]),
        (ValueType.STRING, {"a": "b"}),
        (ValueType.STRING, "\ud800"),
        (ValueType.STRING, {"__entity_type__": "Status"}),
    ],
)
def test_when_a_value_cannot_be_understood_then_the_error_names_it(value_type, sent):
    with pytest.raises(ValidationError, match=r"Task\.x cannot be|has no id"):
        _store(value_type, sent)


def test_when_choices_are_declared_then_others_are_refused():
    assert _store(ValueType.STRING, "done", choices=("queued", "done")) == "done"
    with pytest.raises(ValidationError, match="one of queued, done"):
        _store(ValueType.STRING, "lost", choices=("queued", "done"))


@pytest.mark.parametrize(
    ("value", "text", "number"),
    [
        (True, "1", 1.0),
        (False, "0", 0.0),
        (24, "24", 24.0),
        (24.0, "24", 24.0),
        (0.5, "0.5", 0.5),
        ("12", "12", 12.0),
        ("twelve", "twelve", None),
        ("", "", None),
        (["a", "b"], "a, b", None),
        (moment("2020-01-02T00:00:00+01:00"), "2020-01-01T23:00:00", None),
        (None, None, None),
    ],
)
def test_when_a_variable_is_stored_then_text_and_number_stand_beside_it(value, text, number):
    columns = store_variable("value", value)
    assert (columns["value_text"], columns["value_number"]) == (text, number)


@given(
    st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=5)
)
def test_when_a_variable_is_loaded_then_it_is_what_was_stored(value):
    stored = store_variable("value", value)["value"]
    assert load_variable(stored) == value
    assert variable_text(value) is None or isinstance(variable_text(value), str)
    assert stored is None or json_text.decode(stored) == value
