"""Control over a real unix socket."""

import os
import socket
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftrackd.daemon.control import ControlServer
from ftrackd.daemon.control_client import ControlClient
from ftrackd.daemon.errors import AlreadyRunningError, ControlError, DaemonError


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c")


def boom(_: object) -> tuple[int, object]:
    raise ZeroDivisionError("nobody expected this")


def refuse(_: object) -> tuple[int, object]:
    raise DaemonError("no plugin is named x")


ROUTES = {
    "GET /status": lambda arguments: (200, {"state": "live", **arguments}),
    "GET /metrics": lambda _: (200, "ftrackd_up 1\n"),
    "POST /reload": lambda arguments: (200, {"plugins": [arguments["plugin"]]}),
    "GET /events/tail": lambda _: (200, iter([{"n": 1}, {"n": 2}])),
    "GET /boom": boom,
    "GET /refuse": refuse,
}


@pytest.fixture
def client(folder: Path) -> Iterator[ControlClient]:
    server = ControlServer(ROUTES, folder / "control.sock")
    server.start()
    yield ControlClient(folder / "control.sock")
    server.stop()
    assert not (folder / "control.sock").exists()


def test_a_get_carries_its_arguments(client: ControlClient) -> None:
    assert client.get("/status", plugin="a b", none=None) == {"state": "live", "plugin": "a b"}


def test_a_post_carries_its_body(client: ControlClient) -> None:
    assert client.post("/reload", plugin="x") == {"plugins": ["x"]}


def test_text_stays_text(client: ControlClient) -> None:
    assert client.get("/metrics") == "ftrackd_up 1\n"


def test_a_stream_ends_with_its_documents(client: ControlClient) -> None:
    assert list(client.stream("/events/tail")) == [{"n": 1}, {"n": 2}]


def test_our_errors_arrive_as_sentences(client: ControlClient) -> None:
    with pytest.raises(ControlError, match="no plugin is named x"):
        client.get("/refuse")


def test_a_route_that_raises_is_contained(client: ControlClient) -> None:
    with pytest.raises(ControlError, match="nobody expected this"):
        client.get("/boom")
    assert client.get("/status")["state"] == "live"


def test_an_unknown_request_says_so(client: ControlClient) -> None:
    with pytest.raises(ControlError, match="no such request"):
        client.get("/nonsense")


def test_many_ask_at_once(client: ControlClient) -> None:
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.get("/status")["state"])) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == ["live"] * 20


def test_the_socket_belongs_to_its_user_alone(client: ControlClient, folder: Path) -> None:
    assert stat.S_IMODE(os.stat(folder / "control.sock").st_mode) == 0o600


def test_when_nobody_answers_then_the_message_says_what_to_do(folder: Path) -> None:
    with pytest.raises(ControlError, match="ftrackd run"):
        ControlClient(folder / "none.sock").get("/status")


def test_when_a_daemon_answers_there_then_a_second_one_is_refused(
    client: ControlClient, folder: Path
) -> None:
    with pytest.raises(AlreadyRunningError):
        ControlServer(ROUTES, folder / "control.sock")


def test_when_a_dead_daemon_left_its_socket_then_it_is_replaced(folder: Path) -> None:
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = ControlServer(ROUTES, path)
    server.start()
    assert ControlClient(path).get("/status")["state"] == "live"
    server.stop()


def test_when_the_path_is_too_long_then_the_setting_is_named(folder: Path) -> None:
    with pytest.raises(DaemonError, match=r"daemon\.control_socket"):
        ControlServer(ROUTES, folder / ("x" * 120))


def test_the_loopback_port_only_reads(folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ControlServer(ROUTES, folder / "control.sock", port)
    server.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.read() == b"ftrackd_up 1\n"
        request = urllib.request.Request(f"http://127.0.0.1:{port}/reload", data=b"{}")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 404
        caught.value.close()
    finally:
        server.stop()


def test_what_lies_in_the_place_of_the_socket_is_left_alone(folder: Path) -> None:
    precious = folder / "config.toml"
    precious.write_text("[server]")
    with pytest.raises(DaemonError, match=r"no socket; set daemon\.control_socket"):
        ControlServer(ROUTES, precious)
    assert precious.read_text() == "[server]"
    with pytest.raises(DaemonError, match="no socket"):
        ControlServer(ROUTES, folder)


def test_a_folder_that_cannot_be_made_is_named_with_the_settings(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(DaemonError, match=r"file/x/control.sock: the control socket .* daemon.state_dir"):
        ControlServer(ROUTES, folder / "file" / "x" / "control.sock")
