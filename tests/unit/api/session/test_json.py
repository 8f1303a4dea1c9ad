import datetime
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.api import _json

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_when_a_value_goes_out_and_comes_back_then_it_is_the_same(value: object) -> None:
    """Whatever JSON can say survives, long integers and lone surrogates included."""
    text = _json.dumps(value)
    assert _json.loads_exactly(text) == value
    assert json.loads(text.decode("utf-8", "surrogatepass")) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": "\\ud800"}', {"a": "\ud800"}),
        (b'{"a": Infinity}', {"a": math.inf}),
        ("123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_when_the_fast_decoder_refuses_then_the_slow_one_reads(text: str | bytes, value: object) -> None:
    assert _json.loads_exactly(text) == value


def test_when_a_number_is_not_a_number_then_reading_goes_on() -> None:
    assert math.isnan(_json.loads("[NaN, 1]")[0])


@pytest.mark.parametrize("text", ["", "{", "<html>", "[" * 100_000])
def test_when_text_is_not_json_then_it_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        _json.loads(text)


def test_when_values_are_not_json_then_the_caller_is_asked() -> None:
    moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    text = _json.dumps({"b": moment, "a": 2**80}, default=lambda value: value.isoformat(), sort_keys=True)
    assert text == b'{"a":1208925819614629174706176,"b":"2026-01-02T00:00:00+00:00"}'
    with pytest.raises(TypeError):
        _json.dumps(object())


def test_when_keys_are_numbers_then_they_become_text() -> None:
    assert _json.dumps({1: "a"}) == b'{"1":"a"}'
