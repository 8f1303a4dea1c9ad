"""A server for files that misbehaves on request."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import types
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

API_KEY = "secret-key-of-the-user"


class FileServer:
    """Keeps `files` by component id and remembers what was `requested`.

    `on_get(handler)` and `on_put(handler)` may answer instead, by returning True.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.parts: dict[int, bytes] = {}
        self.requested: list[tuple[str, str, dict[str, str]]] = []
        self.on_get: Callable[[Any], bool] = lambda handler: False
        self.on_put: Callable[[Any], bool] = lambda handler: False
        self.metadata: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version = "FileServer"

            def do_GET(self) -> None:
                outer.requested.append(("GET", self.path, dict(self.headers)))
                if not outer.on_get(self):
                    outer.answer_get(self)

            def do_PUT(self) -> None:
                outer.requested.append(("PUT", self.path, dict(self.headers)))
                self.body = self.rfile.read(int(self.headers["Content-Length"]))
                if not outer.on_put(self):
                    outer.answer_put(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
                self.send_response(status)
                for name, value in {"Content_Length": str(len(body)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def reset_after(self, body: bytes, announced: int, **headers: str) -> None:
                """Send the beginning of an answer and reset the connection."""
                self.answer_header(announced, **headers)
                self.wfile.write(body)
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

            def cut_after(self, body: bytes, announced: int, **headers: str) -> None:
                """Send the beginning of an answer and end the connection politely."""
                self.answer_header(announced, **headers)
                self.wfile.write(body)
                self.close_connection = True

            def answer_header(self, announced: int, **headers: str) -> None:
                self.send_response(200)
                for name, value in {"Content_Length": str(announced), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # Clients hang up on purpose here; the traceback of that is noise.
        self.server.handle_error = lambda request, address: None
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer_get(self, handler: Any) -> None:
        identifier = re.search(r"id=([^&]*)", handler.path)[1]
        if handler.path.startswith("/component/remove"):
            handler.answer(200 if self.files.pop(identifier, None) is not None else 404)
            return
        if identifier not in self.files:
            handler.answer(404)
            return
        content = self.files[identifier]
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        if start and start >= len(content):
            handler.answer(416)
        elif start:
            rest = content[start:]
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.answer(206, rest, Content_Range=span, ETag=self.tag(content))
        else:
            handler.answer(200, content, ETag=self.tag(content), Content_MD5=checksum(content))

    def answer_put(self, handler: Any) -> None:
        identifier, _, number = handler.path.removeprefix("/put/").partition("/")
        announced = handler.headers.get("Content-MD5")
        if announced is not None and announced != checksum(handler.body):
            handler.answer(400)
            return
        if number:
            self.parts[int(number)] = handler.body
        else:
            self.files[identifier] = handler.body
        handler.answer(200, ETag=self.tag(handler.body))

    def tag(self, content: bytes) -> str:
        return f'"{hashlib.md5(content).hexdigest()}"'

    def session(self, multipart: bool = True) -> Any:
        """Return as much of a session as the server accessor uses."""
        requester = requests.Session()

        def authenticate(request: Any) -> Any:
            request.headers.update({"ftrack-user": "user", "ftrack-api-key": API_KEY})
            return request

        requester.auth = authenticate

        def get_upload_metadata(**metadata: Any) -> dict[str, Any]:
            self.metadata.append(metadata)
            put = f"{self.url}/put/{metadata['component_id']}"
            if metadata.get("parts") and multipart:
                numbers = range(1, metadata["parts"] + 1)
                urls = [{"part_number": n, "signed_url": f"{put}/{n}"} for n in reversed(numbers)]
                return {"component_id": metadata["component_id"], "upload_id": "u", "urls": urls}
            headers = {"Content-MD5": metadata["checksum"]} if metadata["checksum"] else {}
            return {"component_id": metadata["component_id"], "url": put, "headers": headers}

        def call(operations: Any) -> Any:
            (operation,) = json.loads(json.dumps(operations))
            assert operation["action"] == "complete_multipart_upload"
            numbers = [part["part_number"] for part in operation["parts"]]
            assert numbers == sorted(self.parts)
            for part in operation["parts"]:
                assert f'"{part["e_tag"]}"' == self.tag(self.parts[part["part_number"]])
            self.files[operation["component_id"]] = b"".join(self.parts[n] for n in numbers)
            return [{"action": "complete_multipart_upload"}]

        component = {"name": "main", "file_type": ".mov"}
        return types.SimpleNamespace(
            server_url=self.url,
            api_user="user",
            api_key=API_KEY,
            request_timeout=5,
            closed=False,
            _request=requester,
            get=lambda entity_type, key: component,
            get_upload_metadata=get_upload_metadata,
            call=call,
        )


def checksum(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()
