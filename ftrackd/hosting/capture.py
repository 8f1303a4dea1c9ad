"""What plugins say, put into the daemon's log under each plugin's name."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import structlog

from ftrackd.hosting.link import Frame

_LINES_PER_READ = 200


class PluginLog:
    """Writes log records, lines of output and reports of plugins to the daemon's log."""

    def frame(self, frame: Frame) -> None:
        """Log a record that a plugin's process sent."""
        plugin = str(frame.header.get("plugin", ""))
        fields = {"plugin": plugin, "logger_name": frame.header.get("logger", "")}
        if frame.header.get("traceback"):
            fields["traceback"] = frame.header["traceback"]
        _logger(plugin).log(_level(frame.header.get("level")), str(frame.header.get("message", "")), **fields)

    def output(self, plugins: Sequence[str], data: bytes) -> int:
        """Log lines written to the process's own descriptors; return how many were left out."""
        plugin = plugins[0] if len(plugins) == 1 else "+".join(plugins)
        lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
        for line in lines[:_LINES_PER_READ]:
            _logger(plugin).info(line[:8_000], plugin=plugin, logger_name="output")
        return max(0, len(lines) - _LINES_PER_READ)


def _logger(plugin: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(f"ftrackd.plugins.{plugin}")
    return logger


def _level(value: object) -> int:
    return value if isinstance(value, int) and 0 < value <= logging.CRITICAL else logging.INFO
