"""Who is asking: users and their API keys.

Keys are compared and kept as SHA-256 digests. A key belongs to one user; a user may have several.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

INVALID_CREDENTIALS: Final = (
    "The user or the API key is not valid. Create a key under Settings > API keys and send it in the header "
    "ftrack-api-key, the name of its user in ftrack-user."
)


@dataclass(frozen=True, slots=True)
class Actor:
    """The user on whose behalf something is done."""

    user_id: str
    username: str
    name: str


class UserDirectory(Protocol):
    """Where users are looked up, and where keys survive a restart."""

    def find_user(self, username: str) -> Actor | None:
        """Return the active user called *username*."""

    def key_digests(self, user_id: str) -> set[str]:
        """Return the digests of the keys that *user_id* was given."""

    def replace_keys(self, user_id: str, digest: str) -> None:
        """Make *digest* the only key of *user_id*."""


class Authenticator:
    """Checks credentials.

    *keys* are those given at start, user name to keys; they are never written anywhere.
    """

    def __init__(self, directory: UserDirectory, keys: Mapping[str, list[str]]) -> None:
        """Digest the *keys* of the start."""
        self._directory = directory
        self._keys = {username: {_digest(key) for key in given} for username, given in keys.items()}
        self._lock = threading.Lock()

    def authenticate(self, username: str | None, api_key: str | None) -> Actor | None:
        """Return the user with these credentials, or None when they are not valid."""
        if not username or not api_key:
            return None
        actor = self._directory.find_user(username)
        if actor is None:
            return None
        digest = _digest(api_key)
        with self._lock:
            given = self._keys.get(actor.username, set())
            known = given | self._directory.key_digests(actor.user_id)
        return actor if any(secrets.compare_digest(digest, other) for other in known) else None

    def reset_key(self, actor: Actor) -> str:
        """Give *actor* a new key and return it; every earlier one stops working."""
        api_key = secrets.token_urlsafe(36)
        with self._lock:
            self._keys.pop(actor.username, None)
            self._directory.replace_keys(actor.user_id, _digest(api_key))
        return api_key


def _digest(api_key: str) -> str:
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()
