"""Frames as servers send them, and mutations of them, for the fuzz of the codec."""

from __future__ import annotations

import json
import random

from ftrackd.api.event import codec
from ftrackd.api.exception import EventHubPacketError

EVENT = {
    "topic": "ftrack.update",
    "id": "1f0d9f4cdd8c4c6ea1ab6b0a7e2f3c55",
    "data": {
        "entities": [
            {
                "entityId": "a0f0-1",
                "entityType": "task",
                "action": "update",
                "keys": ["statusid"],
                "changes": {"statusid": {"new": "44dd", "old": None}},
                "parents": [{"entityId": "p", "entityType": "show", "parentId": None}],
            }
        ],
        "pushToken": "é☃",
        "user": {"userid": "x", "name": "Änne"},
        "n": [1, -2.5, 1e300, True, False, 12345678901234567890123],
    },
    "sent": 1700000000.25,
    "source": {"id": "x", "user": {"username": "anna", "id": "u"}},
    "target": 'id="x" and user.id=y',
    "inReplyToEvent": None,
}

SEEDS: tuple[bytes, ...] = tuple(
    frame.encode()
    for frame in (
        "0::",
        "1::",
        "2::",
        "2:::",
        "3:::hello",
        '4:::{"a":1}',
        "6:::12",
        '6:::12+[{"success":true}]',
        '6:::7+[{"success":false,"message":"no"}]',
        "7:::1+0",
        "8::",
        f'5:::{{"name":"ftrack.event","args":[{json.dumps(EVENT, ensure_ascii=False)}]}}',
        f'5:3+::{{"args":[{json.dumps(EVENT)}],"name":"ftrack.event"}}',
        '5:::{"name":"ftrack.event","args":[{"topic":"a","data":{"inReplyToEvent":[{"inReplyToEvent":1}]}}]}',
    )
)

_PIECES = (
    b":",
    b"::",
    b"+",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"\x00",
    b"\xff",
    b"\xc3",
    b"NaN",
    b"Infinity",
    b"-",
    b"1e999",
    b"9" * 400,
    b"9" * 5000,
    b"[" * 3000,
    b'{"a":' * 3000,
    b"null",
    b"true",
    b"inReplyToEvent",
    b'"inReplyToEvent":',
    b'"args"',
    b'"name"',
    b"5:::",
    b"6:::",
)


def mutate(frame: bytes, chance: random.Random) -> bytes:
    """Return `frame` with a few changes."""
    data = bytearray(frame)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        position = chance.randrange(len(data) + 1)
        kind = chance.randrange(7)
        if kind == 0 and data:
            data[min(position, len(data) - 1)] = chance.randrange(256)
        elif kind == 1:
            del data[position : position + chance.choice((1, 1, 4, 30))]
        elif kind == 2:
            data[position:position] = chance.choice(_PIECES)
        elif kind == 3:
            data[position:position] = data[chance.randrange(len(data) + 1) :][: chance.choice((1, 5, 50))]
        elif kind == 4:
            del data[position:]
        elif kind == 5:
            data[position:position] = bytes(chance.randrange(256) for _ in range(chance.choice((1, 3))))
        else:
            data[position:] = chance.choice(SEEDS)[position:]
    return bytes(data)


def digest(frame: bytes | str) -> bool:
    """Take `frame` apart as the hub does; return whether it was understood."""
    try:
        packet = codec.decode_packet(frame)
        if packet.name == "event":
            raw, decoded = codec.decode_event_data(packet.data)
            assert isinstance(raw, bytes)
            event = codec.event_from(decoded)
            codec.encode_event(event)
        elif packet.name == "acknowledge":
            codec.decode_acknowledgement(packet.data)
        elif packet.name == "error":
            codec.decode_error(packet.data)
    except EventHubPacketError:
        return False
    return True


def run(count: int, seed: int) -> int:
    """Digest `count` mutations; return how many were still understood."""
    chance = random.Random(seed)
    return sum(digest(mutate(chance.choice(SEEDS), chance)) for _ in range(count))
