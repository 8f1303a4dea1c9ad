"""A server on a real socket that answers what a test tells it to, and misbehaves on request."""

from __future__ import annotations

import functools
import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ftrackd.sandbox.schema import ObjectType, build_schema
from ftrackd.sandbox.seeds.installation import OBJECT_TYPE_IDS


@functools.cache
def schemas() -> list[dict[str, Any]]:
    """The schemas of an ordinary installation."""
    return build_schema([ObjectType(key, name) for name, key in OBJECT_TYPE_IDS.items()]).to_json()


def rows(entity_type: str, *data: dict[str, Any], next_offset: int | None = None) -> dict[str, Any]:
    """The answer to a query that finds entities of `entity_type` with `data`."""
    return {
        "action": "query",
        "data": [{"__entity_type__": entity_type, **row} for row in data],
        "metadata": {"next": {"offset": next_offset}},
    }


class Raw:
    """An answer below the level of JSON: a status with a body, or a connection that is dropped."""

    def __init__(self, status: int = 200, body: bytes = b"", drop: bool = False, **headers: str) -> None:
        self.status = status
        self.body = body
        self.drop = drop
        self.headers = headers


def echo(request: dict[str, Any]) -> Any:
    """Accept every change and answer with what was sent; queries find nothing."""
    if request["action"] == "query":
        return rows("Task")
    if request["action"] == "delete":
        return {"action": "delete", "data": True}
    names = next(schema["primary_key"] for schema in schemas() if schema["id"] == request["entity_type"])
    key = dict(zip(names, request["entity_key"], strict=True))
    return {"action": request["action"], "data": {**request["entity_data"], **key}}


class CannedServer:
    """Answers each request with what `answer` returns for it, after the answers in `script`, one for each
    call.

    `calls` are the batches received, `headers` those of the last one. An answer may be a :class:`Raw` for
    the call as a whole; an error object stands for the call as a whole too.
    """

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], Any] = echo
        self.script: list[Raw] = []
        self.calls: list[list[dict[str, Any]]] = []
        self.headers: dict[str, str] = {}
        self.information: dict[str, Any] = {"version": "4.13.8", "schema_hash": "none"}
        self.schemas: Callable[[], Any] = schemas
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                batch = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.headers = {name.lower(): value for name, value in self.headers.items()}
                raw = server.reply(batch)
                if raw.drop:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(raw.status)
                self.send_header("content-length", str(len(raw.body)))
                for name, value in raw.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(raw.body)

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        class Http(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: clients that go away are part of the tests."""

        self._http = Http(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def reply(self, batch: list[dict[str, Any]]) -> Raw:
        """Return the answer to `batch` and remember it."""
        self.calls.append(batch)
        actions = {request["action"] for request in batch}
        if actions == {"query_server_information"} and not self.script:
            return _json([self.information])
        if actions == {"query_schemas"} and not self.script:
            return _json([self.schemas()])
        if self.script:
            return self.script.pop(0)
        answers = [self.answer(request) for request in batch]
        for answer in answers:
            if isinstance(answer, Raw):
                return answer
            if isinstance(answer, dict) and "exception" in answer:
                return _json(answer)
        return _json(answers)

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak HTTPS from now on, with the certificate of `context`."""
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = self.url.replace("http:", "https:")

    @property
    def expressions(self) -> list[str]:
        """The queries received."""
        return [request["expression"] for batch in self.calls for request in batch if "expression" in request]

    def stop(self) -> None:
        """Close the socket and wait for the thread."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def _json(value: Any) -> Raw:
    return Raw(body=json.dumps(value).encode("utf-8"), content_type="application/json")
