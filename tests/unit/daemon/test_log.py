"""The daemon's log lines."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import structlog

from ftrackd.daemon.log import configure_logging
from ftrackd.daemon.redaction import Redactor
from ftrackd.settings import LoggingSettings


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    file = tmp_path / "daemon.log"
    configure_logging(LoggingSettings(file=file), Redactor(["the-key"]))
    yield file
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.level = before, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_a_line_says_when_in_a_way_that_other_machines_understand(log_file: Path) -> None:
    logging.getLogger("some.library").warning("odd")
    stamp = datetime.fromisoformat(json.loads(log_file.read_text())["timestamp"])
    assert stamp.utcoffset() is not None
    assert abs((datetime.now().astimezone() - stamp).total_seconds()) < 60


def test_secrets_do_not_reach_the_file(log_file: Path) -> None:
    structlog.stdlib.get_logger("ftrackd").warning("refused", key="the-key")
    assert "refused" in log_file.read_text()
    assert "the-key" not in log_file.read_text()
