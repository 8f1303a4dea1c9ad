"""Everything a plugin says: its loggers, print and tracebacks, sent over the link as log records.

A flood costs nobody else anything: beyond the allowed lines a second, lines are counted and dropped here.
"""

from __future__ import annotations

import contextvars
import io
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from ftrackd.hosting.link import Link

LINE_LIMIT: Final = 8_000

current_plugin: contextvars.ContextVar[str] = contextvars.ContextVar("current_plugin", default="")


class LineBudget:
    """Allows a number of lines a second, with a second's worth in one burst; counts what it refuses."""

    def __init__(self, lines_per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = lines_per_s
        self._clock = clock
        self._left = float(lines_per_s)
        self._last = clock()
        # Threads of the plugin write at the same moment.
        self._lock = threading.Lock()
        self.dropped = 0

    def take(self) -> bool:
        """Return whether one more line may pass now."""
        with self._lock:
            now = self._clock()
            self._left = min(float(self._rate), self._left + (now - self._last) * self._rate)
            self._last = now
            if self._left < 1.0:
                self.dropped += 1
                return False
            self._left -= 1.0
            return True


class LinkLogHandler(logging.Handler):
    """Sends log records to the main process."""

    def __init__(self, link: Link, budget: LineBudget, plugin: str) -> None:
        super().__init__()
        self._plugin = plugin
        self._link = link
        self._budget = budget
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Send *record* unless the plugin has said too much already."""
        if not self._budget.take():
            return
        try:
            message = record.getMessage()
            trace = ""
            if record.exc_info:
                trace = self._formatter.formatException(record.exc_info)
            self._send(record.levelno, record.name, message, trace)
        except OSError:
            # The main process is gone and takes this process with it.
            return
        except Exception:  # noqa: BLE001 - contains a plugin's broken log arguments
            self._send(logging.ERROR, record.name, f"unprintable log message: {record.msg!r:.200}", "")

    def _send(self, level: int, logger: str, message: str, trace: str) -> None:
        self._link.send(
            "log",
            {
                "plugin": current_plugin.get() or self._plugin,
                "level": level,
                "logger": logger,
                "message": shortened(message),
                "traceback": shortened(trace),
            },
        )


class LineStream(io.TextIOBase):
    """Stands in for ``sys.stdout`` and ``sys.stderr``: each line becomes a log record."""

    def __init__(self, original: Any, logger: str, level: int) -> None:
        super().__init__()
        self._original = original
        self._logger = logging.getLogger(logger)
        self._level = level
        self._pending = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a property here, an attribute there
        """The encoding that the plugin may ask for."""
        return "utf-8"

    @property
    def buffer(self) -> Any:
        """The byte stream below, for those who write bytes."""
        return self._original.buffer

    def fileno(self) -> int:
        """Return the descriptor, which is captured as well."""
        return int(self._original.fileno())

    def writable(self) -> bool:
        """Return that text can be written."""
        return True

    def isatty(self) -> bool:
        """Return that nobody sits in front of it."""
        return False

    def write(self, text: str) -> int:
        """Log the complete lines of *text* and keep the rest."""
        held = getattr(self._pending, "text", "") + text
        *lines, rest = held.split("\n")
        if len(rest) > LINE_LIMIT:
            lines.append(rest)
            rest = ""
        self._pending.text = rest
        for line in lines:
            if line.strip():
                self._logger.log(self._level, "%s", line)
        return len(text)

    def flush(self) -> None:
        """Do nothing: a line is sent when it is complete."""


def shortened(text: str) -> str:
    """Return *text*, cut in the middle when it is longer than a log should hold."""
    if len(text) <= LINE_LIMIT:
        return text
    half = LINE_LIMIT // 2
    return f"{text[:half]} … [{len(text) - LINE_LIMIT} characters left out] … {text[-half:]}"
