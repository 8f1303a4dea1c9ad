"""Who is asking: users and their API keys.

Keys are compared and kept as SHA-256 digests. A key belongs to one user; a user may have several.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

if TYPE_CHECKING:
    from ftrackd.sandbox.store import Store

INVALID_CREDENTIALS: Final = (
    "The user or the API key is not valid. Create a key under Settings > API keys and send it in the header "
    "ftrack-api-key, the name of its user in ftrack-user."
)


@dataclass(frozen=True, slots=True)
class Actor:
    """The user on whose behalf something is done; ``name`` is shown to people."""

    user_id: str
    username: str
    name: str


class Authenticator:
    """Checks credentials against the users and keys in *store*.

    *keys*, id of a user to keys, are those given at the start; they are never written anywhere. Who was let
    in is remembered until :meth:`forget`, so that a request costs no query.
    """

    def __init__(self, store: Store, keys: Mapping[str, list[str]]) -> None:
        """Digest the *keys* of the start."""
        self._store = store
        self._keys = {user_id: {_digest(key) for key in given} for user_id, given in keys.items()}
        self._known: dict[tuple[str, str], Actor] = {}
        self._lock = threading.Lock()

    def authenticate(self, username: str | None, api_key: str | None) -> Actor | None:
        """Return the active user with these credentials, or None when they are not valid."""
        if not username or not api_key:
            return None
        digest = _digest(api_key)
        with self._lock:
            known = self._known.get((username, digest))
        if known is not None:
            return known
        actor = self._store.find_user(username)
        if actor is None:
            return None
        with self._lock:
            keys = set(self._keys.get(actor.user_id, ()))
        keys |= self._store.key_digests(actor.user_id)
        if not any(secrets.compare_digest(digest, other) for other in keys):
            return None
        with self._lock:
            self._known[username, digest] = actor
        return actor

    def forget_start_keys(self, user_id: str) -> None:
        """Let the keys that the user was given at the start work no more."""
        with self._lock:
            self._keys.pop(user_id, None)
            self._known.clear()

    def forget(self) -> None:
        """Look everybody up again: users or keys have changed."""
        with self._lock:
            self._known.clear()


def replace_keys(connection: sa.Connection, user_id: str) -> str:
    """Give a user a new key, within the transaction of *connection*, and return it; others are removed."""
    from ftrackd.sandbox.store import users

    api_key = secrets.token_urlsafe(36)
    users.replace_keys(connection, str(uuid.uuid4()), user_id, _digest(api_key))
    return api_key


def _digest(api_key: str) -> str:
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()
