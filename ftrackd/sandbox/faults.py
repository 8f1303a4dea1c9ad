"""Misbehaviour on request, so that clients can practise.

Two kinds: *requests* (rules that delay, fail or cut a share of the HTTP requests) and *hub* faults that act
once on the sockets that are connected. Both are asked for with ``POST /sandbox/faults``, from loopback and
with valid credentials, those of requests also with ``--fault`` at the start. ``GET`` shows what is active,
``DELETE`` ends it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ftrackd.sandbox import json_text
from ftrackd.sandbox.errors import RequestError
from ftrackd.sandbox.events import packet
from ftrackd.sandbox.events.hub import Connection, HubServer

ADMINISTRATION_PATH: Final = "/sandbox/"

PROXY_PAGE: Final = b"""<html>
<head><title>502 Bad Gateway</title></head>
<body>
<center><h1>502 Bad Gateway</h1></center>
<hr><center>proxy</center>
</body>
</html>
"""

MALFORMED_FRAMES: Final = (
    "",
    "x",
    "5",
    "5:::",
    "5:::{",
    "5:::null",
    "5:::[]",
    '5:::{"name":"ftrack.event"}',
    '5:::{"name":"ftrack.event","args":[]}',
    '5:::{"name":"ftrack.event","args":[1]}',
    '5:::{"name":"ftrack.event","args":[{"topic":"a"},{"topic":"b"}]}',
    '5:::{"name":"other","args":[{"topic":"a"}]}',
    '5:::{"name":"ftrack.event","args":[{"topic":"a","surprise":1}]}',
    '5:::{"name":"ftrack.event","args":[{"topic":null,"data":"\\ud800"}]}',
    '5:::{"name":"ftrack.event","args":[{"topic":"a","data":{"n":NaN}}]}',
    "5:::" + "[" * 20_000,
    "6:::",
    "6:::x",
    "6:::99999+[",
    "6:::99999+[1]",
    "7:::",
    "8::",
    "9::",
    "-1::",
    "2",
    b"\x00\xff\xfe",
)

REQUEST_FAULTS: Final = ("delay_requests", "fail_requests", "drop_requests", "hang_requests")
HUB_FAULTS: Final = (
    "drop_sockets",
    "truncate_sockets",
    "disconnect_sockets",
    "freeze_sockets",
    "thaw_sockets",
    "half_open_sockets",
    "restart_hub",
    "malformed_packets",
)


class FaultError(RequestError):
    """A fault was asked for that does not exist or is described wrongly."""

    exception = "FaultError"
    error_code = "fault_unknown"


@dataclass
class RequestFault:
    """A rule for a share of the HTTP requests.

    ``kind`` is one of :data:`REQUEST_FAULTS`; ``path`` a prefix of the paths it concerns; ``share`` the
    probability from 0 to 1; ``count`` how many requests it still strikes, None without end; ``seconds`` the
    delay. A failing request answers ``status`` with a proxy's HTML page, or with a JSON error object when
    ``body`` is ``"json"``; ``after`` says that the request is carried out first, so that only its answer is
    lost.
    """

    kind: str
    path: str = "/api"
    share: float = 1.0
    count: int | None = None
    seconds: float = 0.0
    status: int = 502
    body: str = "html"
    after: bool = False

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        numbers = (self.share, self.seconds, self.status, 0 if self.count is None else self.count)
        if not all(isinstance(number, (int, float)) and number >= 0 for number in numbers):
            raise FaultError("share, seconds, status and count of a fault are numbers, not negative ones.")
        if self.share > 1 or not 200 <= self.status <= 599:
            raise FaultError("A fault's share lies between 0 and 1, its status between 200 and 599.")
        if not isinstance(self.path, str) or not isinstance(self.after, bool):
            raise FaultError("A fault's path is a text such as '/api', after is true or false.")
        if self.body not in ("html", "json"):
            raise FaultError(f"A fault's body is 'html' or 'json', not {self.body!r}.")


class Faults:
    """The faults that are active, and the ones that act at once."""

    def __init__(self, hub: HubServer, *, chance: random.Random | None = None) -> None:
        """Start without faults on *hub*; *chance* decides shares."""
        self._hub = hub
        self._chance = chance or random.Random()
        self._rules: list[RequestFault] = []

    def describe(self) -> dict[str, Any]:
        """Return the active rules and what the hub's sockets are doing, ready for JSON."""
        connections = self._hub.connections
        return {
            "requests": [asdict(rule) for rule in self._rules],
            "connections": len(connections),
            "frozen": sum(connection.is_frozen for connection in connections),
            "subscriptions": self._hub.subscription_count,
            "deliveries": self._hub.deliveries,
        }

    def clear(self) -> None:
        """End every rule and thaw every socket."""
        self._rules.clear()
        self._thaw_sockets(self._hub.connections)

    def apply(self, description: Mapping[str, Any]) -> int:
        """Start the fault in *description*: ``fault`` names it, the other members are its values.

        Return how many sockets it struck. Raise :class:`FaultError` when there is no such fault or value.
        """
        values = dict(description)
        kind = values.pop("fault", None)
        if kind not in HUB_FAULTS:
            self.add_rule(description, known=REQUEST_FAULTS + HUB_FAULTS)
            return 0
        try:
            connections = self._select(values.pop("share", 1.0), values.pop("user", None))
            getattr(self, f"_{kind}")(connections, **values)
        except (TypeError, AttributeError) as error:
            raise FaultError(f"The fault {kind} has no such value: {error}") from error
        return len(connections)

    def add_rule(self, description: Mapping[str, Any], *, known: Sequence[str] = REQUEST_FAULTS) -> None:
        """Start the fault of requests in *description*; the only kind that can begin before the server does.

        Raise :class:`FaultError`, which names the *known* faults, when there is no such fault or value.
        """
        values = dict(description)
        kind = values.pop("fault", None)
        if kind not in REQUEST_FAULTS:
            raise FaultError(f"There is no fault {kind!r}; there are {', '.join(known)}.")
        try:
            self._rules.append(RequestFault(kind, **values))
        except TypeError as error:
            raise FaultError(f"The fault {kind} has no such value: {error}") from error

    def choose(self, path: str) -> list[RequestFault]:
        """Return the rules that strike a request of *path* now; each counts as used."""
        struck: list[RequestFault] = []
        for rule in list(self._rules):
            if not path.startswith(rule.path) or self._chance.random() >= rule.share:
                continue
            if rule.count is not None:
                rule.count -= 1
                if rule.count <= 0:
                    self._rules.remove(rule)
                if rule.count < 0:
                    continue
            struck.append(rule)
        return struck

    def _select(self, share: float, user: str | None) -> list[Connection]:
        if not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise FaultError("A fault's share lies between 0 and 1.")
        return [
            connection
            for connection in self._hub.connections
            if (user is None or connection.actor.username == user) and self._chance.random() < share
        ]

    def _drop_sockets(self, connections: list[Connection]) -> None:
        """Cut the sockets without a goodbye."""
        for connection in connections:
            connection.cut()

    def _truncate_sockets(self, connections: list[Connection]) -> None:
        """Cut the sockets in the middle of a frame."""
        for connection in connections:
            connection.cut(unfinished=b'\x81\x7e\x10\x005:::{"name":"ftrack.event","args":[{"topic":"ftra')

    def _disconnect_sockets(self, connections: list[Connection]) -> None:
        """Send the disconnect packet, as a server that shuts down does; clients reconnect."""
        for connection in connections:
            connection.send(packet.DISCONNECT_FRAME)

    def _freeze_sockets(self, connections: list[Connection], seconds: float | None = None) -> None:
        """Neither read nor write, for *seconds* or until they are thawed; what is sent arrives later."""
        if seconds is not None and (not isinstance(seconds, (int, float)) or seconds < 0):
            raise FaultError("freeze_sockets takes a number of seconds.")
        for connection in connections:
            connection.freeze()
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self._thaw_sockets, connections)

    def _thaw_sockets(self, connections: list[Connection]) -> None:
        for connection in connections:
            connection.thaw()

    def _half_open_sockets(self, connections: list[Connection]) -> None:
        """Forget the clients while their sockets stay open and silent."""
        for connection in connections:
            connection.freeze()
            self._hub.forget(connection)

    def _restart_hub(self, connections: list[Connection]) -> None:
        """Cut every socket and forget all sessions and handshakes."""
        del connections
        self._hub.restart()

    def _malformed_packets(self, connections: list[Connection], frames: list[str] | None = None) -> None:
        """Send *frames*, by default :data:`MALFORMED_FRAMES`."""
        for connection in connections:
            for frame in MALFORMED_FRAMES if frames is None else frames:
                connection.send(frame)


class FaultMiddleware:
    """Applies the request rules before the application, or to its answers."""

    def __init__(self, application: ASGIApp, faults: Faults) -> None:
        """Wrap *application*."""
        self._application = application
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or spoil it."""
        if scope["type"] != "http" or scope["path"].startswith(ADMINISTRATION_PATH):
            await self._application(scope, receive, send)
            return
        for rule in self._faults.choose(scope["path"]):
            if rule.kind == "delay_requests":
                await asyncio.sleep(rule.seconds)
                continue
            if rule.after:
                await self._application(scope, receive, _discard)
            await _spoil(rule, scope, send)
            return
        await self._application(scope, receive, send)


async def _discard(message: Any) -> None:
    """Swallow a message of an answer that must not arrive."""


async def _spoil(rule: RequestFault, scope: Scope, send: Send) -> None:
    """End the request of *scope* as *rule* has it."""
    if rule.kind == "hang_requests":
        await asyncio.sleep(rule.seconds or 3600)
    if rule.kind != "fail_requests":
        scope["state"]["transport"].abort()
        return
    if rule.body == "json":
        kind = b"application/json"
        body = json_text.encode(
            {"exception": "ServerFault", "content": "This request was chosen to fail.", "error_code": None}
        )
    else:
        kind, body = b"text/html", PROXY_PAGE
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": rule.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
