"""The daemon's log: structlog and the standard library's logging through one redacting formatter."""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from typing import Any

import structlog

from ftrackd.daemon.redaction import RedactingFormatter, Redactor
from ftrackd.settings import LoggingSettings

_QUIET = ("urllib3", "websocket", "watchdog", "asyncio")
"""Loggers of libraries that repeat at info or debug what we say better."""


def configure_logging(settings: LoggingSettings, redact: Redactor) -> None:
    """Route every log record of this process to standard error, and to a file when one is set.

    A terminal gets coloured lines, anything else JSON lines, unless the settings say otherwise.

    Raises OSError when the log file cannot be opened.
    """
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _local_time,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    as_console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    handlers = [_handler(logging.StreamHandler(sys.stderr), shared, redact, console=as_console)]
    if settings.file is not None:
        handlers.append(_handler(logging.FileHandler(settings.file), shared, redact, console=False))
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(settings.level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _handler(
    handler: logging.Handler, shared: list[Any], redact: Redactor, *, console: bool
) -> logging.Handler:
    if console:
        last: list[Any] = [
            _short_time,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=34),
        ]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        foreign_pre_chain=shared,
    )
    handler.setFormatter(RedactingFormatter(formatter, redact))
    return handler


def _local_time(_logger: Any, _method: str, event: Any) -> Any:
    # With its offset: lines of several machines are put in order by it.
    event["timestamp"] = datetime.now().astimezone().isoformat(timespec="milliseconds")
    return event


def _short_time(_logger: Any, _method: str, event: Any) -> Any:
    # A person at a terminal reads hours, not offsets; the JSON form keeps the whole timestamp.
    stamp = event.get("timestamp", "")
    event["timestamp"] = stamp[11:19] if len(stamp) > 19 else stamp
    event.pop("logger", None)
    return event
