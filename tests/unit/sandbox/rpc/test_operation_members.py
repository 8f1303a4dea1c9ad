"""Reading the members of operations."""

import pytest

from ftrackd.sandbox.errors import ValidationError
from ftrackd.sandbox.rpc import operation as member
from ftrackd.sandbox.rpc.batch import RequestOptions


@pytest.mark.parametrize("value", [None, "", 5, [], {}])
def test_when_text_is_none_then_error_names_action_and_member(value):
    with pytest.raises(ValidationError, match=r"encode_media.*component_id"):
        member.text({"action": "encode_media", "component_id": value}, "component_id")


@pytest.mark.parametrize(
    ("value", "expected"), [(["a"], ["a"]), ("a", ["a"]), (["a", "b"], ["a", "b"]), (7, [7]), ([7], [7])]
)
def test_when_key_is_a_list_or_bare_then_a_list(value, expected):
    assert member.key({"entity_key": value}) == expected


@pytest.mark.parametrize("value", [None, [], "", [""], [None], {}, [["a"]], 1.5])
def test_when_key_is_none_then_error(value):
    with pytest.raises(ValidationError):
        member.key({"action": "update", "entity_key": value})


@pytest.mark.parametrize(("value", "expected"), [(None, None), (3, 3), (3.0, 3), (0, 0)])
def test_when_count_is_whole_then_an_integer(value, expected):
    assert member.count({"parts": value}, "parts") == expected


@pytest.mark.parametrize("value", [-1, 1.5, "3", True, [], float("nan"), float("inf")])
def test_when_count_is_none_then_error(value):
    with pytest.raises(ValidationError):
        member.count({"action": "x", "parts": value}, "parts")


@pytest.mark.parametrize(
    ("headers", "denormalize"),
    [
        ({}, False),
        ({"ftrack-api-options": "strict:1;denormalize:1"}, True),
        ({"ftrack-api-options": "strict=1; denormalize=1"}, True),
        ({"ftrack-api-options": "denormalize:0"}, False),
        ({"ftrack-api-options": ";;nonsense;=:"}, False),
    ],
)
def test_when_options_are_sent_then_both_separators_are_read(headers, denormalize):
    assert RequestOptions.from_headers(headers, "http://server").denormalize is denormalize


@pytest.mark.parametrize("value", ["undefined", "", "null"])
def test_when_token_is_what_some_browsers_send_for_none_then_none(value):
    options = RequestOptions.from_headers({"ftrack-pushtoken": value, "ftrack-clienttoken": value}, "")
    assert options.push_token is None
    assert options.client_token is None
