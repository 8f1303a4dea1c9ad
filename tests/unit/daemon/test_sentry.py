"""What reaches Sentry, seen from a real server that takes its place."""

import gzip
import http.server
import threading
from collections.abc import Iterator

import pytest
import sentry_sdk
from pydantic import SecretStr

from ftrackd.daemon.hooks import Hooks
from ftrackd.daemon.redaction import Redactor
from ftrackd.daemon.sentry import SentryReports
from ftrackd.hosting import HostedOutcome
from ftrackd.settings import SentrySettings

SECRET = "canary-5e1d77"


class Collector(http.server.BaseHTTPRequestHandler):
    bodies: list[str] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        Collector.bodies.append(body.decode(errors="replace"))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def collected() -> Iterator[tuple[int, list[str]]]:
    Collector.bodies = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port, Collector.bodies
    client = sentry_sdk.get_client()
    client.close(timeout=2)
    sentry_sdk.get_global_scope().set_client(None)
    server.shutdown()
    server.server_close()
    thread.join(30)


def test_failures_arrive_with_their_plugin_and_without_secrets(collected: tuple[int, list[str]]) -> None:
    port, bodies = collected
    settings = SentrySettings(dsn=SecretStr(f"http://public@127.0.0.1:{port}/1"))
    hooks = Hooks()
    hooks.register(SentryReports(settings, Redactor([SECRET])), "sentry")
    hooks.call("plugin_failed", plugin="cascade", status={"reason": f"refused with {SECRET}"})
    failed = HostedOutcome(1, 1, "raised", f"Traceback ... api_key={SECRET}", seconds=0.1)
    returned = HostedOutcome(2, 2, "returned", seconds=0.1)
    hooks.call("deliveries_done", plugin="cascade", outcomes=[failed, returned])
    hooks.call("shutdown")
    text = "\n".join(bodies)
    assert "plugin failed: cascade" in text
    assert "delivery raised: cascade" in text
    assert "delivery returned" not in text
    assert "[secret]" in text
    assert SECRET not in text
