"""Messages to systemd (sd_notify(3)); nothing happens outside a unit of Type=notify."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable


class ServiceNotifier:
    """Tells the service manager READY, STATUS, RELOADING, STOPPING and WATCHDOG."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address if address is not None else os.environ.get("NOTIFY_SOCKET", "")

    def ready(self, status: str) -> None:
        """The daemon is live."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Show one line in ``systemctl status``."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins; ``ready`` ends it. MONOTONIC_USEC is what Type=notify-reload asks for."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """The daemon drains and ends."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.sendto(message.encode(), address)
            except OSError:
                # The manager went away or never listened: the daemon's work does not depend on it.
                return


class Watchdog:
    """Feeds systemd's watchdog, at half its interval, as long as ``is_progressing`` says that work moves."""

    def __init__(self, notifier: ServiceNotifier, is_progressing: Callable[[], bool]) -> None:
        self._notifier = notifier
        self._is_progressing = is_progressing
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin when the unit sets WatchdogSec."""
        interval_us = int(os.environ.get("WATCHDOG_USEC", "0"))
        if not interval_us:
            return
        self._thread = threading.Thread(
            target=self._run, args=(interval_us / 2_000_000,), name="ftrackd-watchdog", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self, interval_s: float) -> None:
        while not self._stopping.wait(interval_s):
            if self._is_progressing():
                self._notifier.alive()
