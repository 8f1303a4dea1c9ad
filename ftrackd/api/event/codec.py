"""The wire format of the hub: socket.io 0.9 packets and the events inside them.

Pure functions: bytes or text in, packets out and the other way round. The only error that leaves them is
:class:`ftrackd.api.exception.EventHubPacketError` (and ``TypeError`` when a caller's own data is no JSON).

A packet is ``code:identifier:path:data``; trailing parts may be absent and data may contain colons. An event
packet's data is ``{"name":"ftrack.event","args":[event]}``, an acknowledgement's is
``<identifier>+[arguments]``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ftrackd.api import _json
from ftrackd.api.event.base import EVENT_KEYS, Event
from ftrackd.api.exception import EventHubPacketError

#: What each packet code is called.
PACKET_NAMES: Final[dict[str, str]] = {
    "0": "disconnect",
    "1": "connect",
    "2": "heartbeat",
    "3": "message",
    "4": "json",
    "5": "event",
    "6": "acknowledge",
    "7": "error",
    "8": "noop",
}

#: The name under which every event of ftrack travels in a socket.io event packet.
EVENT_NAME: Final = "ftrack.event"

_HEARTBEAT: Final = "2:::"
_PLAIN_EVENT: Final = b"5:::"
_COMPACT_BEFORE: Final = b'{"name":"ftrack.event","args":['
_COMPACT_AFTER: Final = b"]}"
# Data of an event packet as every known server writes it: the event alone can then be decoded.
_BEFORE_EVENT = re.compile(rb'\s*\{\s*"name"\s*:\s*"ftrack\.event"\s*,\s*"args"\s*:\s*\[')
_AFTER_EVENT = re.compile(rb"\]\s*\}\s*\Z")
# Where the closing brackets are looked for, so that a long event isn't searched.
_TAIL_LENGTH: Final = 16
_REPLY_NAME: Final = b"inReplyToEvent"
_NUMBER = re.compile(rb"[0-9]{1,18}")


class Packet(NamedTuple):
    """A packet taken apart; `name` is one of the values of :data:`PACKET_NAMES`."""

    code: str
    identifier: str
    path: str
    data: bytes

    @property
    def name(self) -> str:
        """Return what the code stands for."""
        return PACKET_NAMES[self.code]


class Acknowledgement(NamedTuple):
    """The answer to the packet with the number `identifier`."""

    identifier: int
    arguments: list[Any]


class HubErrorPacket(NamedTuple):
    """What a server's error packet says."""

    reason: str
    advice: str


def decode_packet(frame: bytes | str) -> Packet:
    """Return the packet in `frame`.

    Raises:
        EventHubPacketError: when `frame` is not ``code``, ``code:id:path`` or ``code:id:path:data``, the
            code is unknown, or the text is not UTF-8.
    """
    if isinstance(frame, str):
        frame = _utf_8(frame)
    if frame.startswith(_PLAIN_EVENT):
        return Packet("5", "", "", frame[4:])
    parts = frame.split(b":", 3)
    if len(parts) == 2 or not frame:
        raise EventHubPacketError(f"A packet has one, three or four parts, not: {_excerpt(frame)}")
    try:
        code, identifier, path = (part.decode("ascii") for part in (*parts, b"", b"")[:3])
    except UnicodeDecodeError as error:
        raise EventHubPacketError(f"The head of a packet is not ASCII: {_excerpt(frame)}") from error
    if code not in PACKET_NAMES:
        raise EventHubPacketError(f"Packet code {code[:20]!r} is unknown: {_excerpt(frame)}")
    return Packet(code, identifier, path, parts[3] if len(parts) == 4 else b"")


def encode_packet(code: str, identifier: str = "", path: str = "", data: str = "") -> str:
    """Return the frame for a packet, as text."""
    return f"{code}:{identifier}:{path}:{data}"


def encode_heartbeat() -> str:
    """Return the answer to a server's heartbeat."""
    return _HEARTBEAT


def decode_event_data(data: bytes | str) -> tuple[bytes, dict[str, Any]]:
    """Return the JSON text and the decoded mapping of the event in an event packet's `data`.

    The text is the sender's own bytes. In the mapping ``inReplyToEvent`` is called ``in_reply_to_event``, at
    every depth; keys that are missing stay missing, and further keys stay.

    Raises:
        EventHubPacketError: when `data` is not ``{"name":"ftrack.event","args":[{...}]}``.
    """
    if isinstance(data, str):
        data = _utf_8(data)
    raw = _between_brackets(data)
    if raw is not None:
        try:
            event = _json.loads(raw)
        except ValueError:
            # Not one value between the brackets; the whole may still be JSON.
            event = None
        if isinstance(event, dict):
            return raw, _renamed(raw, event)
    return _decode_unusual_event_data(data)


def decode_event(raw: bytes | str) -> dict[str, Any]:
    """Return the mapping of an event from its own JSON text (what :func:`decode_event_data` gives first).

    Raises:
        EventHubPacketError: when `raw` is not a JSON object.
    """
    if isinstance(raw, str):
        raw = _utf_8(raw)
    event = _loads(raw)
    if not isinstance(event, dict):
        raise EventHubPacketError(f"An event is an object, not: {_excerpt(raw)}")
    return _renamed(raw, event)


def event_from(decoded: Mapping[str, Any]) -> Event:
    """Return the event of a decoded mapping; keys that no event has are left out.

    Raises:
        EventHubPacketError: when there is no topic.
    """
    topic = decoded.get("topic")
    if not isinstance(topic, str):
        raise EventHubPacketError(f"An event needs a topic, this one has {topic!r:.100}.")
    get = decoded.get
    return Event(
        topic,
        get("id"),
        get("data"),
        get("sent"),
        get("source"),
        get("target", ""),
        get("in_reply_to_event"),
    )


def encode_event(event: Event | Mapping[str, Any]) -> bytes:
    """Return the JSON text of `event`; an event inside its data is written as one too.

    Raises:
        TypeError: when the data holds something that is no JSON.
    """
    wire = _wire_event(event) if isinstance(event, Event) else event
    try:
        return _json.dumps(wire, default=_encode_inside)
    except (ValueError, RecursionError) as error:
        raise TypeError(
            f"An event that holds itself or is nested too deeply cannot be sent: {error}"
        ) from error


def encode_event_packet(raw: bytes, identifier: int | None = None) -> str:
    """Return the frame that carries an event's JSON text, asking for an acknowledgement when numbered.

    Raises:
        EventHubPacketError: when `raw` is not UTF-8.
    """
    head = "5:::" if identifier is None else f"5:{identifier}+::"
    try:
        return f'{head}{{"name":"ftrack.event","args":[{raw.decode()}]}}'
    except UnicodeDecodeError as error:
        raise EventHubPacketError(f"An event's JSON text must be UTF-8: {_excerpt(raw)}") from error


def decode_acknowledgement(data: bytes | str) -> Acknowledgement:
    """Return what an acknowledgement packet's `data` says; without arguments the list is empty.

    Raises:
        EventHubPacketError: when it is neither ``<number>`` nor ``<number>+<JSON array>``.
    """
    if isinstance(data, str):
        data = _utf_8(data)
    number, _, arguments = data.partition(b"+")
    if not _NUMBER.fullmatch(number):
        raise EventHubPacketError(f"An acknowledgement needs a packet number: {_excerpt(data)}")
    decoded = _loads(arguments) if arguments.strip() else []
    if not isinstance(decoded, list):
        raise EventHubPacketError(f"The arguments of an acknowledgement are an array: {_excerpt(data)}")
    return Acknowledgement(int(number), decoded)


def encode_acknowledgement(identifier: int | str, arguments: list[Any]) -> str:
    """Return the frame that acknowledges packet `identifier` with `arguments`.

    Raises:
        TypeError: when `arguments` holds something that is no JSON.
    """
    data = (
        f"{identifier}+{_json.dumps(arguments, default=_encode_inside).decode()}"
        if arguments
        else str(identifier)
    )
    return f"6:::{data}"


def decode_error(data: bytes | str) -> HubErrorPacket:
    """Return reason and advice of an error packet's `data`; never raises, the text is for people."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    reason, _, advice = text.partition("+")
    return HubErrorPacket(reason, advice)


def _between_brackets(data: bytes) -> bytes | None:
    """Return what stands where the only argument is expected, when the packet is written as usual."""
    if data.startswith(_COMPACT_BEFORE) and data.endswith(_COMPACT_AFTER):
        return data[len(_COMPACT_BEFORE) : -len(_COMPACT_AFTER)]
    before = _BEFORE_EVENT.match(data)
    if before is None:
        return None
    after = _AFTER_EVENT.search(data, max(before.end(), len(data) - _TAIL_LENGTH))
    return data[before.end() : after.start()] if after is not None else None


def _decode_unusual_event_data(data: bytes) -> tuple[bytes, dict[str, Any]]:
    packet = _loads(data)
    if not isinstance(packet, dict) or packet.get("name") != EVENT_NAME:
        raise EventHubPacketError(f'The name of an event packet is "{EVENT_NAME}": {_excerpt(data)}')
    arguments = packet.get("args")
    if not isinstance(arguments, list) or len(arguments) != 1 or not isinstance(arguments[0], dict):
        raise EventHubPacketError(f"An event packet carries one event: {_excerpt(data)}")
    event: dict[str, Any] = arguments[0]
    raw = _json.dumps(event)
    return raw, _renamed(raw, event)


def _renamed(raw: bytes, event: dict[str, Any]) -> dict[str, Any]:
    # A JSON escape could hide the name; no sender writes one in a key, and the top level is looked at anyway.
    at_top = "inReplyToEvent" in event
    if at_top:
        event["in_reply_to_event"] = event.pop("inReplyToEvent")
    # Looking for one rare letter is ten times as fast as looking for the name, and mostly enough: when the
    # first R belongs to the last occurrence of the name, there is no other.
    first = raw.find(b"R")
    if first < 0 or (at_top and raw.rfind(_REPLY_NAME) == first - _REPLY_NAME.index(b"R")):
        return event
    if raw.count(_REPLY_NAME) > at_top:
        _rename_everywhere(event)
    return event


def _rename_everywhere(value: Any) -> None:
    # A stack of its own: data may be nested deeper than Python calls may be.
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            if "inReplyToEvent" in current:
                current["in_reply_to_event"] = current.pop("inReplyToEvent")
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)


def _wire_event(event: Event) -> dict[str, Any]:
    wire = {key: event[key] for key in EVENT_KEYS if key in event}
    if "in_reply_to_event" in wire:
        wire["inReplyToEvent"] = wire.pop("in_reply_to_event")
    return wire


def _encode_inside(value: Any) -> Any:
    if isinstance(value, Event):
        return _wire_event(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError(
        f"{type(value).__module__}.{type(value).__qualname__} cannot be sent in an event: {value!r:.200}"
    )


def _loads(text: bytes) -> Any:
    try:
        return _json.loads(text)
    except ValueError as error:
        raise EventHubPacketError(f"Malformed JSON ({error}): {_excerpt(text)}") from error


def _utf_8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise EventHubPacketError(f"A packet cannot be UTF-8: {text[:100]!r}") from error


def _excerpt(data: bytes) -> str:
    shown = data[:120].decode("utf-8", "replace")
    return repr(shown) + (f" … ({len(data)} bytes)" if len(data) > 120 else "")
