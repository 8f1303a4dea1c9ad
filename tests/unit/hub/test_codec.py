"""The wire format: both directions, and only the documented error leaves it."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrackd.api.event import codec
from ftrackd.api.event.base import EVENT_KEYS, Event
from ftrackd.api.exception import EventHubPacketError

from . import packet_fuzz


@pytest.mark.parametrize(
    ("frame", "packet"),
    [
        ("0", ("0", "", "", b"")),
        ("1::", ("1", "", "", b"")),
        ("2:::", ("2", "", "", b"")),
        (b"3:::a:b::c", ("3", "", "", b"a:b::c")),
        ("5:12+:/path:{}", ("5", "12+", "/path", b"{}")),
        ("5:::{}", ("5", "", "", b"{}")),
        ("6:::4", ("6", "", "", b"4")),
    ],
)
def test_when_a_frame_is_decoded_then_its_parts_come_out(frame, packet):
    assert codec.decode_packet(frame) == packet
    assert codec.decode_packet(frame).name == codec.PACKET_NAMES[packet[0]]


@pytest.mark.parametrize(
    "frame", ["", "5:1", "9::", "x", "55::", "-1::", "\uff15::", b"\xff::", "é:::x", "2:é:", "\ud800"]
)
def test_when_a_frame_is_no_packet_then_the_documented_error_says_so(frame):
    with pytest.raises(EventHubPacketError):
        codec.decode_packet(frame)


def _frame(event, **json_options):
    return json.dumps({"name": "ftrack.event", "args": [event]}, **json_options)


@pytest.mark.parametrize(
    "data",
    [
        _frame(packet_fuzz.EVENT),
        _frame(packet_fuzz.EVENT, indent=3),
        _frame(packet_fuzz.EVENT, separators=(",", ":"), ensure_ascii=False),
        json.dumps({"args": [packet_fuzz.EVENT], "name": "ftrack.event"}),
        json.dumps({"name": "ftrack.event", "args": [packet_fuzz.EVENT], "more": [1]}),
    ],
)
def test_when_event_data_is_decoded_then_text_and_mapping_are_those_of_the_event_alone(data):
    raw, decoded = codec.decode_event_data(data)
    assert json.loads(raw)["data"]["entities"] == packet_fuzz.EVENT["data"]["entities"]
    assert set(decoded) == set(EVENT_KEYS)
    assert decoded["data"]["user"] == {"userid": "x", "name": "Änne"}
    assert decoded == codec.decode_event(raw)


def test_when_the_sender_writes_as_usual_then_the_text_is_the_senders_own():
    text = '{"topic":"a",  "data":{"x" : 1.50}}'
    raw, _ = codec.decode_event_data(f'{{"name":"ftrack.event","args":[{text}]}}')
    assert raw == text.encode()


def test_when_an_event_names_the_event_it_answers_then_the_key_is_renamed_at_every_depth():
    event = {"topic": "a", "inReplyToEvent": "1", "data": {"x": [{"inReplyToEvent": {"inReplyToEvent": 2}}]}}
    _, decoded = codec.decode_event_data(_frame(event))
    assert decoded == {
        "topic": "a",
        "in_reply_to_event": "1",
        "data": {"x": [{"in_reply_to_event": {"in_reply_to_event": 2}}]},
    }


@pytest.mark.parametrize(
    "event",
    [
        {"topic": "a", "data": {"inReplyToEvent": 1}},
        {"inReplyToEvent": 0, "data": {"inReplyToEvent": 1}, "topic": "Render"},
        {"topic": "Render", "data": {"inReplyToEvent": 1}, "inReplyToEvent": 0},
        {"topic": "a", "data": [{"inReplyToEvent": 1}], "inReplyToEvent": 0},
    ],
)
def test_when_the_name_stands_anywhere_then_no_place_is_missed(event):
    _, decoded = codec.decode_event_data(_frame(event))
    assert "inReplyToEvent" not in json.dumps(decoded)
    assert json.loads(json.dumps(event).replace("inReplyToEvent", "in_reply_to_event")) == decoded


def test_when_the_name_occurs_only_in_a_value_then_nothing_is_renamed():
    _, decoded = codec.decode_event_data(_frame({"topic": "a", "data": {"k": "inReplyToEvent"}}))
    assert decoded["data"] == {"k": "inReplyToEvent"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"name":"other","args":[{}]}',
        b'{"name":"ftrack.event"}',
        b'{"name":"ftrack.event","args":{}}',
        b'{"name":"ftrack.event","args":[]}',
        b'{"name":"ftrack.event","args":[{},{}]}',
        b'{"name":"ftrack.event","args":["x"]}',
        b'{"name":"ftrack.event","args":[{"topic":"a"}',
        b'{"name":"ftrack.event","args":[\xff]}',
        b'{"name":"ftrack.event","args":[{"topic":"a","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        b'{"name":"ftrack.event","args":[{"topic":"a","data":' + b'{"a":' * 100_000 + b"}]}",
    ],
)
def test_when_event_data_is_malformed_then_the_documented_error_says_so(data):
    with pytest.raises(EventHubPacketError):
        codec.decode_event_data(data)


def test_when_json_is_odd_but_readable_then_the_event_is_not_lost():
    """A lone surrogate, NaN or a huge integer in one field must not cost the event."""
    data = (
        b'{"name":"ftrack.event","args":[{"topic":"a","data":{"s":"\\ud800","n":NaN,"i":'
        + b"9" * 300
        + b"}}]}"
    )
    _, decoded = codec.decode_event_data(data)
    assert decoded["topic"] == "a"
    assert decoded["data"]["s"] == "\ud800"
    assert math.isnan(decoded["data"]["n"])
    assert float(decoded["data"]["i"]) > 1e299
    frame = codec.encode_event_packet(codec.encode_event(codec.event_from(decoded)), 1)
    assert frame.encode("utf-8")


def test_when_an_event_has_further_keys_then_it_arrives_without_them():
    event = codec.event_from({"topic": "a", "id": "i", "data": {"x": 1}, "newServerField": 5})
    assert dict(event) == {
        "topic": "a",
        "id": "i",
        "data": {"x": 1},
        "sent": None,
        "source": {},
        "target": "",
        "in_reply_to_event": None,
    }


@pytest.mark.parametrize("decoded", [{}, {"topic": None}, {"topic": 5}, {"data": {}}])
def test_when_an_event_has_no_topic_then_it_is_refused(decoded):
    with pytest.raises(EventHubPacketError, match="topic"):
        codec.event_from(decoded)


def test_when_an_event_is_encoded_then_it_has_the_keys_and_letters_of_the_wire():
    event = Event("a", id="i", data={"name": "Änne"}, in_reply_to_event="r")
    event["note"] = "stays here"
    frame = codec.encode_event_packet(codec.encode_event(event), 7)
    assert frame.startswith('5:7+::{"name":"ftrack.event","args":[{')
    assert "Änne" in frame
    assert json.loads(frame[6:])["args"][0] == {
        "topic": "a",
        "id": "i",
        "data": {"name": "Änne"},
        "sent": None,
        "source": {},
        "target": "",
        "inReplyToEvent": "r",
    }
    assert codec.encode_event_packet(b"{}") == '5:::{"name":"ftrack.event","args":[{}]}'


def test_when_data_holds_an_event_then_it_is_encoded_as_one():
    raw = codec.encode_event(Event("a", data={"inner": Event("b", in_reply_to_event="r"), "set": {1}}))
    data = json.loads(raw)["data"]
    assert data["inner"]["inReplyToEvent"] == "r"
    assert data["set"] == [1]


def test_when_data_is_no_json_then_the_error_names_what_and_where_it_is_from():
    with pytest.raises(TypeError, match=r"pathlib.*cannot be sent in an event"):
        from pathlib import Path

        codec.encode_event(Event("a", data={"path": Path("/x")}))


@pytest.mark.parametrize(
    ("data", "number", "arguments"),
    [
        ("12", 12, []),
        ("12+", 12, []),
        ("12+[]", 12, []),
        (b'3+[{"success":true}]', 3, [{"success": True}]),
        ('3+[1,"+"]', 3, [1, "+"]),
    ],
)
def test_when_an_acknowledgement_is_decoded_then_number_and_arguments_come_out(data, number, arguments):
    assert codec.decode_acknowledgement(data) == (number, arguments)


@pytest.mark.parametrize("data", ["", "+[]", "x+[]", "-1+[]", "1+{", "1+{}", "1+5", "1" * 50, "\u0661+[]"])
def test_when_an_acknowledgement_is_malformed_then_the_documented_error_says_so(data):
    with pytest.raises(EventHubPacketError):
        codec.decode_acknowledgement(data)


def test_when_an_acknowledgement_is_encoded_then_it_can_be_decoded():
    frame = codec.encode_acknowledgement(5, [{"success": True}])
    assert frame == '6:::5+[{"success":true}]'
    assert codec.decode_acknowledgement(codec.decode_packet(frame).data) == (5, [{"success": True}])
    assert codec.encode_acknowledgement("8", []) == "6:::8"


def test_when_an_error_packet_is_decoded_then_reason_and_advice_come_out():
    assert codec.decode_error(b"1+0") == ("1", "0")
    assert codec.decode_error("unauthorized") == ("unauthorized", "")
    assert codec.decode_error(b"\xff") == ("\ufffd", "")


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=10,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), JSON), st.text(), st.one_of(st.none(), st.text()))
def test_when_an_event_is_encoded_and_decoded_then_it_is_the_same(data, target, reply):
    event = Event("a.b", data=data, target=target, source={"id": "x"}, in_reply_to_event=reply)
    packet = codec.decode_packet(codec.encode_event_packet(codec.encode_event(event), 3))
    _, decoded = codec.decode_event_data(packet.data)
    if '"inReplyToEvent"' not in json.dumps(data):
        assert codec.event_from(decoded) == event


@given(st.binary(max_size=200))
def test_when_any_bytes_are_digested_then_only_the_documented_error_leaves(data):
    packet_fuzz.digest(data)
    packet_fuzz.digest(b"5:::" + data)
    packet_fuzz.digest(b"6:::" + data)


@given(st.text(max_size=100))
def test_when_any_text_is_digested_then_only_the_documented_error_leaves(text):
    packet_fuzz.digest(text)
    packet_fuzz.digest('5:::{"name":"ftrack.event","args":[' + text + "]}")


def test_when_a_thousand_frames_are_mutated_then_only_the_documented_error_leaves():
    assert 0 < packet_fuzz.run(1000, seed=1) < 1000


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_when_a_million_frames_are_mutated_then_only_the_documented_error_leaves():
    assert 0 < packet_fuzz.run(1_000_000, seed=2) < 1_000_000
