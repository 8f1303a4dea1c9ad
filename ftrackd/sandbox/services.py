"""What the parts of a running sandbox share."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ftrackd.sandbox.auth import Actor, Authenticator
from ftrackd.sandbox.events.hub import HubServer
from ftrackd.sandbox.events.update import update_event
from ftrackd.sandbox.faults import Faults
from ftrackd.sandbox.files import encoder
from ftrackd.sandbox.files.links import SignedLinks
from ftrackd.sandbox.files.names import file_name
from ftrackd.sandbox.files.signature import Signer
from ftrackd.sandbox.files.store import FileStore
from ftrackd.sandbox.query import load_entities
from ftrackd.sandbox.store import Store, Transaction

_USER_TYPES: Final = frozenset({"User", "ApiKey"})

_Result = TypeVar("_Result")


class TemporaryData:
    """Texts that clients leave for a while, under an id (the legacy type ``tempdata``)."""

    LIFETIME_S: Final = 3600.0
    LIMIT: Final = 10_000

    def __init__(self) -> None:
        """Start empty."""
        self._entries: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def put(self, text: str) -> str:
        """Keep *text* and return its id; the oldest goes when there are too many."""
        now = time.monotonic()
        identifier = str(uuid.uuid4())
        with self._lock:
            for key in [key for key, (until, _) in self._entries.items() if until <= now]:
                del self._entries[key]
            while len(self._entries) >= self.LIMIT:
                del self._entries[next(iter(self._entries))]
            self._entries[identifier] = (now + self.LIFETIME_S, text)
        return identifier

    def get(self, identifier: str) -> str | None:
        """Return the text under *identifier*, None when there is none any more."""
        with self._lock:
            until, text = self._entries.get(identifier, (0.0, ""))
        return text if until > time.monotonic() else None


@dataclass(eq=False)
class Services:
    """The one instance of each part."""

    store: Store
    files: FileStore
    hub: HubServer
    authenticator: Authenticator
    signer: Signer
    faults: Faults
    workers: ThreadPoolExecutor
    temporary_data: TemporaryData = field(default_factory=TemporaryData)
    # Held from the beginning of a transaction until its changes are announced.
    _write_lock: threading.Lock = field(default_factory=threading.Lock)

    async def run(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Return what *function* returns on a worker thread: SQL and files never stop the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.workers, function, *arguments)

    @contextmanager
    def write(
        self, actor: Actor, client_token: str | None = None, push_token: str | None = None
    ) -> Iterator[Transaction]:
        """Provide a transaction of *actor*; once it is committed, ``ftrack.update`` announces its changes.

        Changes are announced in the order in which they were committed.
        """
        with self._write_lock:
            with self.store.transaction(actor) as transaction:
                yield transaction
            changes = transaction.changes
            if any(change.entity_type in _USER_TYPES for change in changes):
                self.authenticator.forget()
            for announcement in transaction.announcements:
                event = update_event(
                    announcement.id,
                    announcement.changes,
                    actor,
                    client_token=client_token,
                    push_token=push_token,
                )
                self.hub.publish_from_thread(event)

    def links(self, server_url: str) -> SignedLinks:
        """Return the maker of addresses of files for a client that reaches this server at *server_url*."""
        return SignedLinks(server_url, self.signer)

    def encode(self, task: encoder.EncodingTask) -> None:
        """Carry out *task* on a worker thread."""
        self.workers.submit(encoder.run, self, task)

    def component_file_name(self, component_id: str) -> str | None:
        """Return the name under which a component is downloaded, None when it has no row."""
        with self.store.reader() as connection:
            found = load_entities(
                connection, self.store.schema, "FileComponent", [component_id], ["name", "file_type"]
            )
        return file_name(found[0]["name"], found[0]["file_type"]) if found else None
