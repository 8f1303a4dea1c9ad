"""Frames between the main process and a plugin process."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrackd.hosting.errors import LinkError
from ftrackd.hosting.link import FrameDecoder, Link, encode_frame, receive_frame, returned_reports

HEADERS = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
)
FRAMES = st.lists(st.tuples(st.text(max_size=10), HEADERS, st.binary(max_size=300)), max_size=6)


@settings(max_examples=60)
@given(frames=FRAMES, cuts=st.lists(st.integers(1, 50), max_size=60))
def test_when_cut_anywhere_then_the_same_frames_come_out(
    frames: list[tuple[str, dict[str, Any], bytes]], cuts: list[int]
) -> None:
    for _, header, _ in frames:
        header.pop("kind", None)
    data = b"".join(encode_frame(*frame) for frame in frames)
    decoder = FrameDecoder()
    received = []
    for cut in cuts:
        received += decoder.feed(data[:cut])
        data = data[cut:]
    received += decoder.feed(data)
    assert [(frame.kind, dict(frame.header), frame.payload) for frame in received] == frames


@settings(max_examples=60)
@given(
    kinds=st.lists(st.sampled_from(["returned", "returned", "other"]), max_size=12),
    cuts=st.lists(st.integers(1, 60), max_size=20),
)
def test_when_deliveries_returned_then_each_report_comes_out_in_its_place(
    kinds: list[str], cuts: list[int]
) -> None:
    ours, theirs = socket.socketpair()
    link = Link(ours)
    for number, kind in enumerate(kinds):
        if kind == "returned":
            link.send_returned([(number, number / 2)])
        else:
            link.send("other", {"number": number})
    link.close()
    decoder = FrameDecoder()
    received: list[tuple[str, int, float]] = []
    with theirs:
        for cut in [*cuts, 10_000]:
            for frame in decoder.feed(theirs.recv(cut)):
                if frame.kind == "returned":
                    received += [("returned", *report) for report in returned_reports(frame)]
                else:
                    received.append(("other", frame.header["number"], frame.header["number"] / 2))
    assert received == [(kind, number, number / 2) for number, kind in enumerate(kinds)]


def test_when_a_frame_has_neither_header_nor_report_then_it_is_refused() -> None:
    with pytest.raises(LinkError, match="neither"):
        FrameDecoder().feed(b"\0\0\0\0\0\0\0\x08" + b"x" * 8)


@given(data=st.binary(max_size=200))
def test_when_bytes_are_nonsense_then_only_the_documented_error_leaves(data: bytes) -> None:
    decoder = FrameDecoder()
    try:
        decoder.feed(data)
    except LinkError:
        return


def test_when_a_length_is_absurd_then_it_is_refused_before_anything_is_held() -> None:
    with pytest.raises(LinkError, match="claims"):
        FrameDecoder().feed(b"\xff" * 8)


def test_when_several_threads_send_then_frames_stay_whole() -> None:
    ours, theirs = socket.socketpair()
    link, other = Link(ours), Link(theirs)
    payload = b"x" * 100_000

    def send(name: str) -> None:
        for number in range(20):
            link.send("data", {"from": name, "number": number}, payload)

    threads = [threading.Thread(target=send, args=(str(each),)) for each in range(4)]
    for thread in threads:
        thread.start()
    seen: dict[str, list[int]] = {}
    for _ in range(80):
        frame = other.receive()
        assert frame is not None
        assert frame.payload == payload
        seen.setdefault(frame.header["from"], []).append(frame.header["number"])
    for thread in threads:
        thread.join()
    assert all(numbers == list(range(20)) for numbers in seen.values())
    link.close()
    assert other.receive() is None
    other.close()


def test_when_one_frame_is_read_then_what_follows_stays_in_the_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(encode_frame("first", {}, b"1" * 1000) + b"rest")
        frame = receive_frame(theirs)
        assert frame is not None
        assert (frame.kind, len(frame.payload)) == ("first", 1000)
        assert theirs.recv(10) == b"rest"
        ours.close()
        assert receive_frame(theirs) is None
