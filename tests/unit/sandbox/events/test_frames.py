"""WebSocket frames, beside wsproto, which is somebody else's reading of the same standard."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import events
from wsproto.connection import Connection, ConnectionType

from ftrackd.sandbox.events import frames
from ftrackd.sandbox.events.frames import FrameError, FrameReader, Kind, Message

PAYLOADS = st.binary(max_size=300) | st.sampled_from([b"x" * size for size in (125, 126, 65535, 65536)])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def client_frames(payload, cut):
    """Return what a client sends for *payload*: whole, or in two parts with a ping between them."""
    client = Connection(ConnectionType.CLIENT)
    kind = events.TextMessage if isinstance(payload, str) else events.BytesMessage
    if cut is None:
        return client.send(kind(data=payload))
    parts = (
        kind(data=payload[:cut], message_finished=False),
        events.Ping(payload=b"between"),
        kind(data=payload[cut:]),
    )
    return b"".join(client.send(part) for part in parts)


def read_all(data, size):
    reader = FrameReader()
    return [
        message for start in range(0, len(data), size) for message in reader.read(data[start : start + size])
    ]


@settings(max_examples=40)  # wsproto masks byte by byte
@given(st.lists(st.tuples(PAYLOADS | TEXTS, st.none() | st.integers(1, 9)), max_size=4), st.integers(1, 5000))
def test_when_a_client_sends_then_its_messages_arrive_however_they_are_cut(sent, size):
    data = b"".join(client_frames(payload, cut) for payload, cut in sent)
    expected = []
    for payload, cut in sent:
        if cut is not None:
            expected.append(Message(Kind.PING, b"between"))
        is_text = isinstance(payload, str)
        expected.append(Message(Kind.TEXT, payload.encode()) if is_text else Message(Kind.BINARY, payload))
    assert read_all(data, size) == expected


@given(PAYLOADS | TEXTS)
def test_when_encoded_then_a_client_reads_the_same(payload):
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(frames.encode(payload))
    (message,) = client.events()
    assert message.data == payload
    assert message.message_finished


def test_when_closed_or_answered_then_a_client_understands():
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(frames.encode(b"here", Kind.PONG) + frames.encode_close(frames.CloseCode.TOO_BIG))
    pong, close = client.events()
    assert pong.payload == b"here"
    assert close.code == 1009


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (b"\xc1\x80\0\0\0\0", 1002),  # a reserved bit
        (b"\x83\x80\0\0\0\0", 1002),  # no such opcode
        (b"\x03\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),  # goes on without a beginning
        (b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", 1002),  # begins within another
        (b"\x09\x80\0\0\0\0", 1002),  # a ping in parts
        (b"\x89\xfe\x00\x7e\0\0\0\0", 1002),  # a ping of 126 bytes
        (b"\x81\x8b\0\0\0\0", 1009),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),
        (b"\x01\x86\0\0\0\0abcdef\x80\x86\0\0\0\0", 1009),  # too big together
    ],
)
def test_when_the_protocol_is_broken_then_the_code_says_how(data, code):
    with pytest.raises(FrameError) as raised:
        list(FrameReader(maximum_bytes=10).read(data))
    assert raised.value.code == code


def test_when_a_frame_is_broken_then_those_before_it_count():
    messages = FrameReader().read(b"\x81\x82\0\0\0\0hi\x83\x80\0\0\0\0")
    assert next(messages).text() == "hi"
    with pytest.raises(FrameError):
        next(messages)


def test_when_text_is_no_utf_8_then_refused_but_not_binary():
    assert Message(Kind.BINARY, b"a\xff").text() == "a\ufffd"
    with pytest.raises(FrameError) as raised:
        Message(Kind.TEXT, b"a\xff").text()
    assert raised.value.code == 1007
