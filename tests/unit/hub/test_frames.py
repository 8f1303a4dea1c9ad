"""WebSocket frames: however the bytes are cut, the same messages come out."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.api.event._frames import (
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    FrameDecoder,
    FrameError,
    Message,
    encode,
)

from .hub_server import frame

LIMIT = 1000


def _decode(data: bytes, cuts: list[int]) -> list[Message]:
    decoder = FrameDecoder(LIMIT)
    messages = []
    begin = 0
    for end in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        decoder.feed(data[begin:end])
        begin = end
        while (message := decoder.next_message()) is not None:
            messages.append(message)
    return messages


MESSAGES = st.lists(
    st.one_of(
        st.binary(max_size=300).map(lambda payload: ([frame(payload)], Message(TEXT, payload))),
        st.binary(max_size=125).map(lambda payload: ([frame(payload, PING)], Message(PING, payload))),
        st.lists(st.binary(max_size=200), min_size=2, max_size=4).map(
            lambda parts: (
                [
                    frame(part, TEXT if number == 0 else CONTINUATION, final=number == len(parts) - 1)
                    for number, part in enumerate(parts)
                ],
                Message(TEXT, b"".join(parts)),
            )
        ),
        st.integers(LIMIT + 1, 3 * LIMIT).map(
            lambda size: ([frame(b"x" * size)], Message(TEXT, b"x" * size, size))
        ),
        st.integers(LIMIT // 2 + 1, LIMIT).map(
            lambda size: (
                [frame(b"a" * size, TEXT, final=False), frame(b"b" * size, CONTINUATION)],
                Message(TEXT, b"a" * size + b"b" * size, 2 * size),
            )
        ),
    ),
    max_size=6,
)


@given(MESSAGES, st.lists(st.integers(0, 20_000), max_size=8))
def test_when_bytes_are_cut_anywhere_then_the_same_messages_come_out(messages, cuts):
    data = b"".join(b"".join(frames) for frames, _ in messages)
    assert _decode(data, cuts) == [message for _, message in messages]


def test_when_control_frames_come_between_fragments_then_both_come_out():
    data = frame(b"a", TEXT, final=False) + frame(b"p", PING) + frame(b"b", CONTINUATION)
    assert _decode(data, []) == [Message(PING, b"p"), Message(TEXT, b"ab")]


def test_when_a_message_is_above_the_limit_then_it_is_not_held_in_memory():
    decoder = FrameDecoder(LIMIT)
    size = 100_000_000
    decoder.feed(frame(b"")[:1] + bytes((127,)) + size.to_bytes(8, "big") + b"head")
    assert decoder.next_message() is None
    chunk = b"x" * 1_000_000
    for _ in range(99):
        decoder.feed(chunk)
        assert decoder.next_message() is None
        assert len(decoder._buffer) == 0
        assert len(decoder._fragments) <= 4096
    decoder.feed(b"x" * (1_000_000 - 4) + frame(b"next"))
    skipped = decoder.next_message()
    assert skipped is not None
    assert skipped.skipped_bytes == size
    assert skipped.payload.startswith(b"headxxx")
    assert decoder.next_message() == Message(TEXT, b"next")


def test_when_an_empty_fragment_ends_a_skipped_message_then_the_next_one_is_read():
    data = frame(b"x" * (LIMIT + 1), TEXT, final=False) + frame(b"", CONTINUATION) + frame(b"y")
    assert _decode(data, [3]) == [Message(TEXT, b"x" * (LIMIT + 1), LIMIT + 1), Message(TEXT, b"y")]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\x00",  # reserved bits
        b"\x83\x00",  # a reserved opcode
        b"\x81\x80\x00\x00\x00\x00",  # masked by a server
        frame(b"x" * 200, CLOSE),
        frame(b"x", PING, final=False),
        frame(b"x", CONTINUATION),
        frame(b"x", TEXT, final=False) + frame(b"y", TEXT),
        b"HTTP/1.1 502 Bad Gateway\r\n",
    ],
)
def test_when_bytes_are_no_frames_of_a_server_then_that_is_an_error(data):
    with pytest.raises(FrameError):
        _decode(data, [])


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
def test_when_any_bytes_come_then_only_the_documented_error_leaves(data, cuts):
    with contextlib.suppress(FrameError):
        _decode(data, cuts)


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, b"\x81\x80"),
        (125, b"\x81\xfd"),
        (126, b"\x81\xfe\x00\x7e"),
        (65_535, b"\x81\xfe\xff\xff"),
        (65_536, b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_when_a_frame_is_sent_then_it_is_masked_and_its_length_written_as_short_as_possible(length, head):
    # A zero in front must not get lost: the payload is masked as one number.
    payload = (b"\x00hub" * (length // 4 + 1))[:length]
    sent = encode(TEXT, payload)
    key, masked = sent[len(head) : len(head) + 4], sent[len(head) + 4 :]
    assert sent.startswith(head)
    assert bytes(byte ^ key[index % 4] for index, byte in enumerate(masked)) == payload


def test_when_frames_are_sent_then_each_has_a_mask_of_its_own():
    assert len({encode(TEXT, b"hub") for _ in range(20)}) > 1
