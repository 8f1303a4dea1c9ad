"""What the parts of a running sandbox share."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ftrackd.sandbox.auth import Authenticator
from ftrackd.sandbox.events.hub import HubServer
from ftrackd.sandbox.faults import Faults
from ftrackd.sandbox.files.signature import Signer
from ftrackd.sandbox.files.store import FileStore

_Result = TypeVar("_Result")


class TemporaryData:
    """Texts that clients leave for a while, under an id (the legacy type ``tempdata``)."""

    LIFETIME_S = 3600.0
    LIMIT = 10_000

    def __init__(self) -> None:
        """Start empty."""
        self._entries: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def put(self, identifier: str, text: str) -> None:
        """Keep *text* for :attr:`LIFETIME_S`; the oldest goes when there are too many."""
        now = time.monotonic()
        with self._lock:
            for key in [key for key, (until, _) in self._entries.items() if until <= now]:
                del self._entries[key]
            while len(self._entries) >= self.LIMIT:
                del self._entries[next(iter(self._entries))]
            self._entries[identifier] = (now + self.LIFETIME_S, text)

    def get(self, identifier: str) -> str | None:
        """Return the text under *identifier*, None when there is none any more."""
        with self._lock:
            until, text = self._entries.get(identifier, (0.0, ""))
        return text if until > time.monotonic() else None


@dataclass(eq=False)
class Services:
    """The one instance of each part."""

    store: Any
    files: FileStore
    hub: HubServer
    authenticator: Authenticator
    signer: Signer
    faults: Faults
    workers: ThreadPoolExecutor
    temporary_data: TemporaryData = field(default_factory=TemporaryData)

    async def run(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Return what *function* returns on a worker thread: SQL and files never stop the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.workers, function, *arguments)

    def component_file_name(self, component_id: str) -> str | None:
        """Return the name under which a component is downloaded, None when it has no row."""
        return None
