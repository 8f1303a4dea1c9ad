"""Calls: errors as types, retries where repeating is safe, connections that are kept and closed."""

import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from ftrackd.api import _session_request, exception
from ftrackd.api.session import Session, SessionAuthentication

from .canned_server import CannedServer, Raw, rows


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_session_request, "BACK_OFF_BASE_S", 0.001)


_ERROR = b'{"exception": "ValidationError", "content": "bid must be a {number}", "error_code": "bad_bid"}'


@pytest.mark.parametrize("status", [200, 400, 422, 500])
def test_when_the_server_reports_an_error_then_it_is_told_as_data(
    session: Session, server: CannedServer, status: int
) -> None:
    server.script = [Raw(status, _ERROR)]
    with pytest.raises(exception.ServerError, match="ValidationError") as caught:
        session.call([{"action": "update"}])
    error = caught.value
    assert str(error) == "Server reported error: ValidationError(bid must be a {number})"
    assert (error.exception, error.content) == ("ValidationError", "bid must be a {number}")
    assert (error.error_code, error.status) == ("bad_bid", status)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"exception": "InvalidCredentialsError", "content": "no"}', exception.AuthenticationError),
        (
            b'{"exception": "X", "content": "", "error_code": "api_credentials_invalid"}',
            exception.AuthenticationError,
        ),
        (b'{"exception": "FTAuthenticationError", "content": "no"}', exception.PermissionDeniedError),
        (b'{"exception": "PermissionError", "content": "no"}', exception.PermissionDeniedError),
    ],
)
def test_when_access_is_refused_then_the_error_says_which_kind(
    session: Session, server: CannedServer, body: bytes, expected: type[Exception]
) -> None:
    server.script = [Raw(200, body)]
    with pytest.raises(expected) as caught:
        session.call([{"action": "update"}])
    assert isinstance(caught.value, exception.ServerError)


@pytest.mark.parametrize("status", [400, 404, 413, 500, 502])
def test_when_a_proxy_answers_with_a_page_then_it_is_a_server_error(
    session: Session, server: CannedServer, status: int
) -> None:
    """The official client lets a JSONDecodeError escape."""
    page = b"<html><style>b {color: red}</style><body><h1>Bad\n Gateway</h1></body></html>"
    server.script = [Raw(status, page, content_type="text/html")]
    with pytest.raises(exception.ServerError, match="Bad Gateway") as caught:
        session.call([{"action": "update"}])
    assert caught.value.status == status
    assert caught.value.content == page.decode()
    assert "color" not in str(caught.value)
    assert caught.value.exception is None


def test_when_text_comes_with_success_then_it_is_an_unexpected_format(
    session: Session, server: CannedServer
) -> None:
    server.script = [Raw(200, b"hello")]
    with pytest.raises(exception.ServerError, match=r"unexpected format\. Raw error was: hello"):
        session.call([{"action": "update"}])


@pytest.mark.parametrize("body", [b"null", b"[]", b"[null]", b"{}", b'[{"data": null}]', b'["text"]'])
def test_when_the_answer_has_no_rows_then_it_is_an_unexpected_format(
    session: Session, server: CannedServer, body: bytes
) -> None:
    """Proxies and half-started servers answer with JSON too."""
    server.script = [Raw(200, body)]
    with pytest.raises(exception.ServerError, match="unexpected format"):
        session.query("Task").all()


@pytest.mark.parametrize("body", [b"null", b"[]", b"[null]", b"{}"])
@pytest.mark.parametrize("answered", [0, 1])
def test_when_a_session_starts_on_odd_answers_then_it_is_an_unexpected_format(
    server: CannedServer, body: bytes, answered: int
) -> None:
    information = Raw(200, b'[{"version": "4.13.8", "schema_hash": "none"}]')
    server.script = [*[information][:answered], Raw(200, body)]
    with pytest.raises(exception.ServerError, match="unexpected format"):
        Session(server.url, "key", "jane", plugin_paths=[], schema_cache_path=False)


def test_when_an_error_status_has_other_json_then_it_is_a_server_error(
    session: Session, server: CannedServer
) -> None:
    server.script = [Raw(404, b'["nothing"]')]
    with pytest.raises(exception.ServerError, match="404"):
        session.call([{"action": "update"}])


@pytest.mark.parametrize("failure", [Raw(502), Raw(503, b"<html>"), Raw(504), Raw(429), Raw(drop=True)])
def test_when_a_query_fails_in_passing_then_it_is_repeated(
    session: Session, server: CannedServer, failure: Raw
) -> None:
    server.answer = lambda request: rows("Task", {"id": "t1", "name": "anim"})
    server.script = [failure, failure]
    assert session.query("Task").first()["name"] == "anim"
    assert len(server.calls) == 3


@pytest.mark.parametrize("failure", [Raw(502), Raw(503), Raw(drop=True)])
def test_when_a_change_fails_after_it_was_sent_then_it_is_not_repeated(
    session: Session, server: CannedServer, failure: Raw
) -> None:
    """The server may have done it; doing it twice is worse than asking the caller."""
    session.create("Task", {"name": "x"})
    server.script = [failure]
    with pytest.raises((exception.ServerError, exception.NetworkError)):
        session.commit()
    assert len(server.calls) == 1
    assert len(session.recorded_operations) == 1


def test_when_the_server_asks_to_slow_down_then_even_a_change_is_repeated(
    session: Session, server: CannedServer
) -> None:
    session.create("Task", {"name": "x"})
    server.script = [Raw(429)]
    session.commit()
    assert len(server.calls) == 2


def test_when_the_failure_lasts_then_the_last_error_is_raised(session: Session, server: CannedServer) -> None:
    server.script = [Raw(503, b"<html>busy</html>")] * 10
    with pytest.raises(exception.ServerError, match="busy"):
        session.query("Task").first()
    assert len(server.calls) == _session_request.MAX_ATTEMPTS


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_when_nobody_listens_then_the_error_is_ours_and_that_of_requests(session: Session) -> None:
    session._server_url = f"http://127.0.0.1:{_free_port()}"
    with pytest.raises(requests.ConnectionError) as caught:
        session.query("Task").first()
    assert isinstance(caught.value, exception.ServerConnectionError)
    assert isinstance(caught.value, exception.NetworkError)
    assert caught.value.sent is False
    assert isinstance(caught.value.__cause__, requests.ConnectionError)


@pytest.mark.parametrize("url", ["studio.example", "gopher://studio.example", "http://"])
def test_when_the_url_is_none_then_nothing_is_repeated(
    session: Session, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    session._server_url = url
    with pytest.raises(exception.ServerRequestError, match=r"studio\.example|http") as caught:
        session.query("Task").first()
    assert caught.value.passing is False
    assert "trying again" not in caplog.text
    assert isinstance(caught.value, requests.RequestException)


def test_when_the_server_redirects_then_the_error_says_where(session: Session, server: CannedServer) -> None:
    """A redirected POST becomes a GET without its body, as with http:// for https://."""
    server.script = [Raw(301, b"moved", location=f"{server.url}/elsewhere")]
    with pytest.raises(exception.ServerError, match=r"redirects requests to http.*/elsewhere") as caught:
        session.query("Task").first()
    assert caught.value.status == 301


def test_when_a_change_never_left_then_it_is_repeated_until_the_server_is_back(
    session: Session, server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = session._server_url
    session._server_url = f"http://127.0.0.1:{_free_port()}"
    attempts = []

    def wait_before(attempt: int, reason: object) -> bool:
        attempts.append(reason)
        return True

    monkeypatch.setattr(session, "_wait_before", wait_before)
    original = session._post

    def post(url: str, body: bytes) -> Any:
        return original(f"{home}/api" if len(attempts) == 2 else url, body)

    monkeypatch.setattr(session, "_post", post)
    session.create("Task", {"name": "x"})
    session.commit()
    assert len(attempts) == 2
    assert [len(batch) for batch in server.calls] == [1]


def test_when_the_server_is_silent_then_the_time_runs_out(session: Session, server: CannedServer) -> None:
    release = threading.Event()

    def answer(request: dict[str, Any]) -> Any:
        release.wait(30)
        return rows("Task")

    server.answer = answer
    session.request_timeout = 0.2
    session.create("Task")
    try:
        with pytest.raises(requests.Timeout) as caught:
            session.commit()
    finally:
        release.set()
    assert isinstance(caught.value, exception.ServerTimeoutError)
    assert caught.value.sent is True


def test_when_calls_follow_each_other_then_the_connection_is_kept(
    session: Session, server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    original = socket.create_connection
    monkeypatch.setattr(
        "urllib3.util.connection.create_connection", lambda *a, **k: opened.append(1) or original(*a[:2])
    )
    for _ in range(5):
        session.query("Task").first()
    assert opened == []


def test_when_a_session_waits_to_repeat_then_closing_ends_the_wait(
    session: Session, server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_session_request, "BACK_OFF_BASE_S", 1000.0)
    monkeypatch.setattr(_session_request, "BACK_OFF_CAP_S", 1000.0)
    monkeypatch.setattr(_session_request.random, "uniform", lambda low, high: high)
    server.script = [Raw(503)] * 3
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            session.query("Task").first()
        except exception.Error as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not server.calls:
        time.sleep(0.005)
    session.close()
    asking.join(30)
    assert not asking.is_alive()
    assert len(errors) == 1


def test_when_headers_and_cookies_are_given_then_every_request_has_them(server: CannedServer) -> None:
    with Session(
        server.url + "/",
        "key",
        "jane",
        plugin_paths=[],
        schema_cache_path=False,
        headers={"x-studio": "north"},
        cookies={"site": "a"},
        strict_api=True,
    ) as session:
        assert session.server_url == server.url
        session.query("Task").first()
    assert server.headers["ftrack-api-key"] == "key"
    assert server.headers["ftrack-user"] == "jane"
    assert server.headers["ftrack-strict-api"] == "true"
    assert server.headers["x-studio"] == "north"
    assert server.headers["cookie"] == "site=a"
    assert server.headers["content-type"] == server.headers["accept"] == "application/json"


def test_when_the_environment_names_a_proxy_then_it_is_used(
    server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url)
    with Session("http://studio.invalid", "key", "jane", plugin_paths=[], schema_cache_path=False) as session:
        assert session.query("Task").all() == []
    assert server.headers["host"] == "studio.invalid"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a new certificate for 127.0.0.1, signed by itself, and its key."""
    both = tmp_path / "server.pem"
    subject = ["-subj", "/CN=studio", "-addext", "subjectAltName=IP:127.0.0.1"]
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run([*new, *files, *subject], check=True, capture_output=True)
    both.write_bytes(b"".join((tmp_path / name).read_bytes() for name in ("key.pem", "certificate.pem")))
    return both


def test_when_the_environment_names_certificates_then_they_are_trusted(
    server: CannedServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.encrypt(context)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with Session(server.url, "key", "jane", plugin_paths=[], schema_cache_path=False) as session:
        assert session.query("Task").all() == []
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(exception.NetworkError, match="certificate verify failed"):
        Session(server.url, "key", "jane", plugin_paths=[], schema_cache_path=False)


def test_when_the_certificates_are_missing_then_the_error_names_file_and_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    with pytest.raises(exception.NetworkError, match=r"REQUESTS_CA_BUNDLE.*/no/such/bundle\.pem"):
        Session("https://127.0.0.1:1", "key", "jane", plugin_paths=[], schema_cache_path=False)


def test_when_credentials_are_attached_then_they_are_headers() -> None:
    request = SessionAuthentication("key", "jane")(requests.Request("GET", "http://x").prepare())
    assert request.headers["ftrack-api-key"] == "key"
    assert request.headers["ftrack-user"] == "jane"


def test_when_a_session_was_closed_then_using_it_says_so(session: Session) -> None:
    session.close()
    session.close()
    assert session.closed
    with pytest.raises(exception.ConnectionClosedError):
        session.query("Task").first()


def test_when_rows_are_no_entities_then_they_stay_mappings(session: Session, server: CannedServer) -> None:
    server.answer = lambda request: {
        "action": "query",
        "data": [{"count_id": 3, "date": {"__type__": "datetime", "value": "2026-01-02"}}],
        "metadata": {"next": None},
    }
    row = session.call([{"action": "query", "expression": "select count(id) from Task"}])[0]["data"][0]
    assert row["count_id"] == 3
    assert row["date"].year == 2026
    assert session.query("select count(id) from Task").all() == [row]


def test_when_the_server_sends_a_type_that_is_unknown_then_it_is_named(
    session: Session, server: CannedServer
) -> None:
    server.answer = lambda request: rows("Hologram", {"id": "h"})
    with pytest.raises(exception.UnrecognisedEntityTypeError, match="Hologram"):
        session.query("Task").all()


def test_when_the_server_sends_no_key_then_it_is_an_error_that_names_the_type(
    session: Session, server: CannedServer
) -> None:
    server.answer = lambda request: rows("Task", {"name": "x"})
    with pytest.raises(exception.ServerError, match="type Task without its primary key 'id'"):
        session.query("Task").all()


def test_when_fewer_answers_come_than_requests_then_commit_says_so(
    session: Session, server: CannedServer
) -> None:
    session.create("Task")
    server.script = [Raw(200, b"[]")]
    with pytest.raises(exception.ServerError, match="0 of 1"):
        session.commit()


@pytest.mark.parametrize(
    "body", [b"null", b"[1]", b'{"message": "maintenance"}', b'[{"message": "maintenance"}]', b'["create"]']
)
def test_when_something_else_than_confirmations_comes_then_nothing_counts_as_committed(
    session: Session, server: CannedServer, body: bytes
) -> None:
    made = session.create("Task", {"name": "x"})
    server.script = [Raw(200, body)]
    with pytest.raises(exception.ServerError, match="unexpected format"):
        session.commit()
    assert session.created == [made]
    session.commit()
    assert server.calls[-1][0]["entity_data"]["name"] == "x"
