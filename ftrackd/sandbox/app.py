"""The sandbox's HTTP surface: routes, credentials, CORS."""

from __future__ import annotations

import ipaddress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ftrackd.sandbox import json_text
from ftrackd.sandbox.auth import INVALID_CREDENTIALS, Actor
from ftrackd.sandbox.errors import PermissionError, SandboxError
from ftrackd.sandbox.events.socket import accept, refuse
from ftrackd.sandbox.faults import FaultMiddleware
from ftrackd.sandbox.files.endpoint import FileEndpoints
from ftrackd.sandbox.rpc.endpoint import answer_request
from ftrackd.sandbox.rpc.reply import (
    InvalidCredentialsError,
    MalformedRequestError,
    describe_error,
    json_response,
)
from ftrackd.sandbox.rpc.widget import widget_page
from ftrackd.sandbox.services import Services

_WELCOME = """ftrackd sandbox

This is an ftrack-compatible server for development and tests. Point clients here:
    POST /api                      the API
    GET  /socket.io/1/             the event hub
    GET  /component/get?id=...     files
    POST /sandbox/faults           misbehaviour on request
"""


class Application:
    """Answers HTTP requests and WebSocket handshakes with the parts in *services*."""

    def __init__(self, services: Services) -> None:
        """Lay out the routes."""
        self._services = services
        files = FileEndpoints(services, self.authenticate)
        routes = [
            Route("/api", self._api, methods=["POST"]),
            Route("/", self._welcome, methods=["GET"]),
            Route("/widget", self._widget, methods=["GET"]),
            Route("/user/api_credentials", self._browser_login, methods=["GET"]),
            Route("/socket.io/1/", self._handshake, methods=["GET", "POST"]),
            Route("/socket.io/1", self._handshake, methods=["GET", "POST"]),
            Route("/sandbox/faults", self._faults, methods=["GET", "POST", "DELETE"]),
            *files.routes(),
        ]
        middleware = [
            Middleware(FaultMiddleware, faults=services.faults),
            # Browsers' clients send credentials, so the origin is echoed and never "*".
            Middleware(
                CORSMiddleware,
                allow_origin_regex=".*",
                allow_methods=["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"],
                allow_headers=["*"],
                allow_credentials=True,
                expose_headers=["ETag", "Content-Range", "Accept-Ranges", "Content-Disposition"],
            ),
        ]
        self._http = Starlette(
            routes=routes,
            middleware=middleware,
            exception_handlers={
                SandboxError: _error_response,
                HTTPException: _http_error_response,
                Exception: _error_response,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def authenticate(self, request: Request) -> Actor:
        """Return who sent *request*; credentials in the query are as good as headers.

        Raise :class:`InvalidCredentialsError` when they are wrong or missing.
        """
        headers, query = request.headers, request.query_params
        username = headers.get("ftrack-user") or query.get("username") or query.get("api_user")
        api_key = headers.get("ftrack-api-key") or query.get("apiKey") or query.get("api_key")
        actor = await self._services.run(self._services.authenticator.authenticate, username, api_key)
        if actor is None:
            raise InvalidCredentialsError(INVALID_CREDENTIALS)
        return actor

    async def _api(self, request: Request) -> Response:
        body = await request.body()
        return await self._services.run(
            answer_request, self._services, body, request.headers, _address(request)
        )

    async def _welcome(self, request: Request) -> Response:
        del request
        return PlainTextResponse(_WELCOME)

    async def _handshake(self, request: Request) -> Response:
        actor = await self.authenticate(request)
        return PlainTextResponse(self._services.hub.handshake(actor))

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix, _, sid = scope["path"].rpartition("/")
        if prefix != "/socket.io/1/websocket":
            await refuse(receive, send, 404, "The event hub is at /socket.io/1/.")
            return
        actor = self._services.hub.claim(sid)
        if actor is None:
            await refuse(receive, send, 401, "The session id is unknown, used or expired; shake hands again.")
            return
        await self._services.hub.serve(sid, actor, await accept(scope, receive, send))

    async def _widget(self, request: Request) -> Response:
        return widget_page(self._services, request)

    async def _browser_login(self, request: Request) -> Response:
        raise PermissionError(
            "The sandbox has no login page. "
            "Use the FTRACK_API_USER and FTRACK_API_KEY that it printed at its start."
        )

    async def _faults(self, request: Request) -> Response:
        await self.authenticate(request)
        if not _is_from_this_machine(request):
            raise PermissionError("Faults can be asked for from this machine only.")
        faults = self._services.faults
        if request.method == "DELETE":
            faults.clear()
        elif request.method == "POST":
            try:
                description = json_text.decode(await request.body())
            except ValueError as error:
                raise MalformedRequestError(f"The body is not JSON: {error}") from error
            if not isinstance(description, dict):
                raise MalformedRequestError("The body is not an object such as {'fault': 'drop_sockets'}.")
            struck = faults.apply(description)
            return json_response({"sockets": struck, **faults.describe()})
        return json_response(faults.describe())


def _address(request: Request) -> str:
    """Return the address under which the client reaches this server, without a trailing slash."""
    return f"{request.url.scheme}://{request.headers.get('host') or request.url.netloc}"


def _is_from_this_machine(request: Request) -> bool:
    """Return whether the client, behind a proxy the one that it names, is on this machine."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client is not None else "")
    except ValueError:
        return False
    # A socket for both families sees 127.0.0.1 as ::ffff:127.0.0.1.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


async def _error_response(request: Request, error: Exception) -> Response:
    del request
    reply = describe_error(error)
    return json_response(reply.body, reply.status)


async def _http_error_response(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    content = f"{request.method} {request.url.path}: {error.detail}"
    return json_response(
        {"exception": "HTTPError", "content": content, "error_code": None}, error.status_code
    )
