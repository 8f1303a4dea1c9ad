"""The server's side of the packet framing."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.sandbox.events import packet


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("2:::", packet.Packet(2)),
        ("2::", packet.Packet(2)),
        ("2", packet.Packet(2)),
        ("0::", packet.Packet(0)),
        ("5:7+::{}", packet.Packet(5, "7", True, "", "{}")),
        ("5:7::{}", packet.Packet(5, "7", False, "", "{}")),
        ('5:::{"a":"b:c:d"}', packet.Packet(5, "", False, "", '{"a":"b:c:d"}')),
        ("6:::3+[1]", packet.Packet(6, "", False, "", "3+[1]")),
    ],
)
def test_when_frame_of_a_client_then_its_parts(frame, expected):
    assert packet.decode(frame) == expected


@pytest.mark.parametrize("frame", ["", "x", ":::", "55:::", "²:::", "-1::", "5:x::{}", "5:1++::{}"])
def test_when_frame_is_no_packet_then_packet_error(frame):
    with pytest.raises(packet.PacketError):
        packet.decode(frame)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "[]",
        '{"name":"ftrack.event"}',
        '{"name":"ftrack.event","args":[]}',
        '{"name":"ftrack.event","args":[1]}',
        '{"name":"ftrack.event","args":[{},{}]}',
        '{"name":"ftrack.event","args":[{"data":1}]}',
        '{"name":"other","args":[{"topic":"a"}]}',
        "[" * 100_000,
    ],
)
def test_when_packet_holds_no_event_then_packet_error(body):
    with pytest.raises(packet.PacketError):
        packet.decode_event(packet.Packet(packet.EVENT, data=body))


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.text())
def test_when_any_text_arrives_then_packet_or_packet_error(frame):
    with contextlib.suppress(packet.PacketError):
        packet.decode_event(packet.decode(frame))


@given(st.dictionaries(st.text(), st.none() | st.booleans() | FINITE | st.text()))
def test_when_event_is_framed_then_the_client_reads_the_same(data):
    """The JavaScript client strips exactly ``5:::``; what follows is one JSON document."""
    event = {"topic": "a", "data": data}
    frame = packet.event_frame(event)
    assert frame.startswith("5:::{")
    body = json.loads(frame[4:])
    assert body["name"] == "ftrack.event"
    assert repr(body["args"]) == repr([event])


def test_when_event_holds_a_number_without_json_form_then_null():
    frame = packet.event_frame({"topic": "a", "data": {"n": float("nan")}})
    assert json.loads(frame[4:])["args"][0]["data"] == {"n": None}


def test_when_event_holds_a_lone_surrogate_then_it_is_still_framed():
    frame = packet.event_frame({"topic": "a", "data": {"name": "\ud800"}})
    assert json.loads(frame[4:])["args"][0]["data"]["name"] == "\ud800"
    frame.encode("utf-8")


def test_when_acknowledged_then_id_plus_and_arguments():
    assert packet.acknowledge_frame("12", {"success": True}) == '6:::12+[{"success":true}]'
