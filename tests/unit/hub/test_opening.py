"""Opening a connection to servers that are slow, endless, or lead elsewhere."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests.utils

from ftrackd.api.event._connection import Connection
from ftrackd.api.event.base import Event
from ftrackd.api.event.hub import EventHub, HubLimits
from ftrackd.api.exception import EventHubConnectionError

from .http_proxy import HttpProxy
from .hub_server import DEADLINE_S, HubServer, eventually
from .hubs import QUICK

OK = b"HTTP/1.1 200 OK\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def _trickling(beginning: bytes) -> Callable[[socket.socket], None]:
    """Answer with `beginning`, then a byte now and then: each comes in time, the whole never does."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(beginning)
        connection.settimeout(0.05)
        while True:
            connection.sendall(b"x")
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue

    return answer


@pytest.mark.parametrize(
    ("step", "beginning"),
    [
        ("raw_handshake", b""),
        ("raw_handshake", OK + b"X: "),
        ("raw_handshake", OK + b"\r\n"),
        ("raw_upgrade", SWITCHING + b"X: "),
    ],
    ids=["status", "headers", "body", "upgrade"],
)
def test_when_an_answer_trickles_then_the_attempt_ends_in_the_time_allowed(step, beginning, server):
    setattr(server, step, _trickling(beginning))
    hub = EventHub(server.url, "anna", "key", limits=HubLimits(handshake_timeout_s=0.3))
    with pytest.raises(EventHubConnectionError, match=r"did not finish the handshake within 0.3 s"):
        hub.connect()
    assert hub.state == "closed"


def test_when_an_answer_does_not_end_then_only_its_beginning_is_read(server):
    sent = []

    def flood(connection: socket.socket) -> None:
        connection.sendall(OK + b"\r\n")
        while True:
            sent.append(connection.send(b"x" * 65_536))

    server.raw_handshake = flood
    with pytest.raises(EventHubConnectionError, match="does not answer as an event hub does"):
        EventHub(server.url, "anna", "key").connect()
    assert sum(sent) < 64 * 1024 * 1024


@pytest.mark.parametrize("looks_late", [False, True])
def test_when_disconnected_while_connect_waits_then_that_ends_at_once(server, monkeypatch, looks_late):
    """Whoever comes first: the thread that waits, or the end of the socket that it waits for."""
    wait_until = Connection.wait_until

    def wait_and_look_late(connection, condition, timeout_s):
        is_met = wait_until(connection, condition, timeout_s)
        opening = [one for one in threading.enumerate() if one.name == "ftrack-event-hub-opening"]
        for thread in opening if is_met and looks_late else ():
            thread.join(DEADLINE_S)
        return is_met

    monkeypatch.setattr(Connection, "wait_until", wait_and_look_late)
    server.raw_handshake = lambda connection: connection.recv(1)
    hub = EventHub(server.url, "anna", "key")
    errors = []

    def connect() -> None:
        try:
            hub.connect()
        except EventHubConnectionError as error:
            errors.append(str(error))

    connecting = threading.Thread(target=connect)
    connecting.start()
    eventually(lambda: server.handshakes)
    hub.disconnect()
    connecting.join(DEADLINE_S)
    assert errors == ["Disconnected while connecting."]
    server.raw_handshake = None
    hub.connect()
    hub.disconnect()


def test_when_opening_fails_by_a_mistake_then_the_hub_can_be_connected_afterwards(server, monkeypatch):
    hub = EventHub(server.url, "anna", "key")
    monkeypatch.setattr(hub, "_transport_factory", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        hub.connect()
    assert hub.state == "closed"
    monkeypatch.undo()
    hub.connect()
    assert hub.state == "live"
    hub.disconnect()


@pytest.mark.parametrize("status", [301, 302, 403, 404, 500])
def test_when_the_socket_is_refused_then_only_the_status_is_told_and_no_redirect_is_followed(status, server):
    with HubServer() as elsewhere:
        server.raw_upgrade = lambda connection: connection.sendall(
            f"HTTP/1.1 {status} X\r\nlocation: ws://127.0.0.1:{elsewhere.port}/\r\n"
            "set-cookie: canary=1\r\ncontent-length: 0\r\n\r\n".encode()
        )
        with pytest.raises(EventHubConnectionError, match="Cannot open the socket") as caught:
            EventHub(server.url, "anna", "key", cookies={"canary": "1"}).connect()
        assert "canary" not in str(caught.value)
        assert not elsewhere.peers


@pytest.mark.parametrize(
    ("environment", "goes_through"),
    [
        ({"http_proxy": "http://PROXY"}, True),
        ({"HTTP_PROXY": "PROXY"}, True),
        ({"all_proxy": "http://anna:p%40ss@PROXY"}, True),
        ({"http_proxy": "http://PROXY", "NO_PROXY": "0.0.1, elsewhere"}, False),
        ({"http_proxy": "http://PROXY", "no_proxy": "127.0.0.0/8"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_when_a_proxy_is_set_then_both_steps_take_the_same_way(
    environment, goes_through, server, monkeypatch
):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with HttpProxy() as proxy:
        for name, value in environment.items():
            monkeypatch.setenv(name, value.replace("PROXY", proxy.address))
        hub = EventHub(server.url, "anna", "key")
        hub.connect()
        server.peer.next_frame("ftrack.meta.subscribe")
        hub.disconnect()
    through = [f"GET {server.url}/socket.io/1/ HTTP/1.1", f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]
    assert proxy.requests == (through if goes_through else [])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the files of a certificate and its key; the former's folder is one of authorities."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    files = tmp_path_factory.mktemp("authorities") / "a.pem", tmp_path_factory.mktemp("key") / "key.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        [openssl, *options.split(), "-addext", names, "-out", files[0], "-keyout", files[1]],
        check=True,
        capture_output=True,
    )
    subprocess.run([openssl, "rehash", files[0].parent], check=True, capture_output=True)
    return files


@pytest.mark.parametrize("trusted", ["file", "directory", "bundle of requests", "nothing", "missing"])
def test_when_the_server_is_encrypted_then_both_steps_trust_the_same(trusted, certificate, monkeypatch):
    authority = certificate[0]
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    if trusted == "bundle of requests":
        # What a machine without authorities of its own has.
        monkeypatch.setattr(requests.utils, "DEFAULT_CA_BUNDLE_PATH", str(authority))
        monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(authority))
        monkeypatch.setattr(requests.adapters, "_preloaded_ssl_context", None, raising=False)
    elif trusted != "nothing":
        named = {"file": authority, "directory": authority.parent, "missing": authority / "no"}
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(named[trusted]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with HubServer(tls=context) as server:
        hub = EventHub(f"https://127.0.0.1:{server.port}", "anna", "key")
        if trusted in ("nothing", "missing"):
            with pytest.raises(EventHubConnectionError, match="certificate"):
                hub.connect()
        else:
            hub.connect()
            assert hub.state == "live"
        hub.close()


def test_when_the_server_is_encrypted_then_both_directions_work_at_once(
    certificate: tuple[Path, Path], monkeypatch
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with HubServer(tls=context) as server:
        hub = EventHub(f"https://localhost:{server.port}", "anna", "key", reconnect=QUICK)
        with pytest.raises(EventHubConnectionError, match="certificate"):
            hub.connect()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
        received = []
        hub.subscribe("topic=a", lambda event: received.append(event["data"]["n"]))
        hub.connect()
        eventually(lambda: server.peer.subscriptions.match({"topic": "a"}))
        for number in range(200):
            hub.publish(Event("a", data={"n": number, "ballast": "x" * 20_000}))
        while len(received) < 200:
            hub.wait(0.05)
        assert received == list(range(200))
        server.peer.close_politely()
        server.wait_for_peer(2)
        eventually(lambda: hub.state == "live")
        hub.disconnect()
