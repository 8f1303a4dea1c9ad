"""Socket.IO 0.9 packets, ``code:id:path:data``, as the event hub uses them.

Pure functions between frames and values. What the server sends has exactly the forms that both official
clients accept: an event never has an id or a path, because the JavaScript client strips only ``5:::``, and
a code beyond 7 is never sent, because it ends the Python client's reader silently.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ftrackd.sandbox import json_text

EVENT_NAME: Final = "ftrack.event"

#: The code of packets with an event, the only one that the server tells apart.
EVENT: Final = 5

CONNECT_FRAME: Final = "1::"
DISCONNECT_FRAME: Final = "0::"
HEARTBEAT_FRAME: Final = "2::"

_DIGITS: Final = frozenset("0123456789")


class PacketError(ValueError):
    """A frame is no packet, or a packet has no event in it."""


class Packet(NamedTuple):
    """One decoded frame.

    ``identifier`` is the packet id as text, ``""`` when there is none; ``wants_data`` says that the sender
    asked for an acknowledgement with data (``<n>+``). ``data`` is the undecoded rest.
    """

    code: int
    identifier: str = ""
    wants_data: bool = False
    path: str = ""
    data: str = ""


def decode(frame: str) -> Packet:
    """Return the packet in *frame*; raise :class:`PacketError` when there is none.

    Trailing parts may be absent, as in ``2::`` or ``1``. The data may hold colons.
    """
    code, identifier, path, data = (*frame.split(":", 3), "", "", "")[:4]
    if code not in _DIGITS:
        raise PacketError(f"{frame[:40]!r} does not begin with a packet code.")
    wants_data = identifier.endswith("+")
    if wants_data:
        identifier = identifier[:-1]
    if identifier and not (identifier.isascii() and identifier.isdigit()):
        raise PacketError(f"{identifier[:40]!r} is no packet id.")
    return Packet(int(code), identifier, wants_data, path, data)


def decode_event(packet: Packet) -> dict[str, Any]:
    """Return the event inside an event *packet*; raise :class:`PacketError` when its form is another."""
    try:
        body = json_text.decode(packet.data)
    except ValueError as error:
        raise PacketError(f"The packet's data is not JSON: {error}") from error
    if not isinstance(body, dict) or body.get("name") != EVENT_NAME:
        raise PacketError(f"The packet's data is not named {EVENT_NAME!r}.")
    arguments = body.get("args")
    if not isinstance(arguments, list) or len(arguments) != 1 or not isinstance(arguments[0], dict):
        raise PacketError("The packet's args are not a list with one event.")
    event: dict[str, Any] = arguments[0]
    if not isinstance(event.get("topic"), str):
        raise PacketError("The event has no topic.")
    return event


def event_frame(event: dict[str, Any]) -> str:
    """Return the frame that carries *event* to a client."""
    return "5:::" + json_text.encode({"name": EVENT_NAME, "args": [event]}).decode()


def acknowledge_frame(identifier: str, *arguments: Any) -> str:
    """Return the frame that acknowledges the packet *identifier* with *arguments*."""
    return f"6:::{identifier}+" + json_text.encode(list(arguments)).decode()
