"""What plugins say, put into the daemon's log under each plugin's name."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import structlog

from ftrackd.hosting.child.output import LINE_LIMIT, LineBudget, shortened
from ftrackd.hosting.link import Frame


class PluginLog:
    """Writes what plugins log to the daemon's log."""

    def frame(self, frame: Frame) -> None:
        """Log a record that a plugin's process sent."""
        plugin = str(frame.header.get("plugin", ""))
        fields = {"plugin": plugin, "logger_name": frame.header.get("logger", "")}
        if frame.header.get("traceback"):
            fields["traceback"] = frame.header["traceback"]
        _logger(plugin).log(_level(frame.header.get("level")), str(frame.header.get("message", "")), **fields)


class OutputLines:
    """What one process writes to its descriptors 1 and 2, line by line; beyond *lines_per_s* only counted."""

    def __init__(self, plugins: Sequence[str], lines_per_s: int) -> None:
        self._plugin = plugins[0] if len(plugins) == 1 else "+".join(plugins)
        self._budget = LineBudget(lines_per_s)
        self._rest = b""

    @property
    def dropped(self) -> int:
        """How many lines were left out."""
        return self._budget.dropped

    def take(self, data: bytes) -> bool:
        """Log the complete lines of *data* and keep the rest; return whether all of them could be logged."""
        before = self._budget.dropped
        *lines, rest = (self._rest + data).split(b"\n")
        if len(rest) > LINE_LIMIT:
            lines.append(rest)
            rest = b""
        self._rest = rest
        for number, line in enumerate(lines, start=1):
            self._log(line)
            if self._budget.dropped > before:
                # A flood costs us no more than counting what is left of it.
                self._budget.dropped += len(lines) - number
                return False
        return True

    def end(self) -> None:
        """Log what was left without an end of line."""
        rest, self._rest = self._rest, b""
        self._log(rest)

    def _log(self, line: bytes) -> None:
        if line.strip() and self._budget.take():
            text = shortened(line.decode("utf-8", "replace").rstrip("\r"))
            _logger(self._plugin).info(text, plugin=self._plugin, logger_name="output")


def _logger(plugin: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(f"ftrackd.plugins.{plugin}")
    return logger


def _level(value: object) -> int:
    return value if isinstance(value, int) and 0 < value <= logging.CRITICAL else logging.INFO
