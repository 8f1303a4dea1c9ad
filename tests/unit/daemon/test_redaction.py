"""Secrets do not leave the process as text."""

import base64
import logging
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.daemon.log import configure_logging
from ftrackd.daemon.redaction import MASK, RedactingFormatter, Redactor
from ftrackd.settings import LoggingSettings

SECRET = "ca/n+ary==7f3a"


@given(st.text(), st.text())
def test_a_known_secret_never_passes(before: str, after: str) -> None:
    redact = Redactor([SECRET])
    for form in (SECRET, quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode()):
        assert form not in redact(before + form + after)


@pytest.mark.parametrize(
    "text",
    [
        "GET /component/get?id=1&username=u&apiKey=abcdef123456",
        "{'ftrack-api-key': 'abcdef123456'}",
        '{"api_key": "abcdef123456"}',
        "password=abcdef123456",
        "ftrack-api-key: abcdef123456",
    ],
)
def test_a_value_whose_name_announces_a_secret_is_masked_even_when_unknown(text: str) -> None:
    cleaned = Redactor([])(text)
    assert "abcdef123456" not in cleaned
    assert MASK in cleaned


def test_ordinary_text_stays() -> None:
    text = "task animation set to In progress, token count 5, api_key=None"
    assert Redactor(["x" * 10])(text) == text


def test_a_traceback_is_redacted_too() -> None:
    formatter = RedactingFormatter(logging.Formatter(), Redactor([SECRET]))
    try:
        raise ValueError(f"refused {SECRET}")
    except ValueError:
        import sys

        record = logging.LogRecord("x", 40, "f", 1, "failed with %s", (SECRET,), sys.exc_info())
    assert SECRET not in formatter.format(record)


def test_the_configured_log_has_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        configure_logging(LoggingSettings(format="json", level="debug"), Redactor([SECRET]))
        structlog.stdlib.get_logger("ours").warning("refused", key=SECRET, nested={"key": SECRET})
        logging.getLogger("theirs").info("plain %s", SECRET)
        for handler in root.handlers:
            handler.flush()
        written = capsys.readouterr().err
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
        structlog.reset_defaults()
    assert SECRET not in written
    assert written.count(MASK) == 3
    assert '"logger": "theirs"' in written
