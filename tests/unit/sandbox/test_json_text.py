"""JSON of the wire, odd values included."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.sandbox import json_text

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_when_encoded_then_it_decodes_to_the_same(value):
    """Text of any code point too, lone surrogates included."""
    assert json_text.decode(json_text.encode(value)) == value


@given(VALUES)
def test_when_a_client_encodes_then_we_read_what_it_meant(value):
    assert json_text.decode(json.dumps(value).encode()) == value


def test_when_integer_is_huge_then_its_magnitude_is_kept():
    assert json_text.decode(b"[123456789012345678901234567890]") == [123456789012345678901234567890.0]
    assert json_text.encode([2**70]) == b"[%d]" % 2**70


def test_when_lone_surrogates_arrive_then_kept():
    assert json_text.decode(b'"\\ud800"') == "\ud800"
    assert json_text.encode("\ud800") == b'"\\ud800"'


def test_when_number_is_not_finite_then_read_and_never_written():
    assert math.isnan(json_text.decode(b"NaN"))
    assert json_text.encode([math.nan, math.inf]) == b"[null,null]"


@pytest.mark.parametrize("document", [b"", b"{", b"\xff", b"[1,]", b"[" * 200_000, "nonsense"])
def test_when_no_json_then_value_error(document):
    with pytest.raises(ValueError):
        json_text.decode(document)
