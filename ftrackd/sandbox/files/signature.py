"""Signed addresses: permission to fetch or upload one thing, for a while, without credentials."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, urlencode

DEFAULT_LIFETIME_S: Final = 24 * 60 * 60.0
WIDGET_LIFETIME_S: Final = 6 * 60.0


class Signer:
    """Signs the path and parameters of an address and checks them again.

    The key lives as long as the process: a restarted sandbox refuses what an earlier one signed.
    """

    def __init__(
        self, *, lifetime_s: float = DEFAULT_LIFETIME_S, clock: Callable[[], float] = time.time
    ) -> None:
        """Make a new key; addresses expire after *lifetime_s* unless stated otherwise."""
        self._key = secrets.token_bytes(32)
        self._lifetime_s = lifetime_s
        self._clock = clock

    def sign(self, path: str, parameters: Mapping[str, str], lifetime_s: float | None = None) -> str:
        """Return *path* with its *parameters*, an expiry in Unix seconds and a signature."""
        expires = self._clock() + (self._lifetime_s if lifetime_s is None else lifetime_s)
        signed = {**parameters, "expires": f"{expires:.3f}"}
        signed["signature"] = self._signature(path, signed)
        return f"{path}?{urlencode(signed, quote_via=quote)}"

    def verify(self, path: str, parameters: Mapping[str, str]) -> bool:
        """Return whether *parameters* carry a valid signature for *path* that has not expired."""
        given = dict(parameters)
        signature = given.pop("signature", "")
        try:
            expires = float(given["expires"])
        except (KeyError, ValueError):
            return False
        if not hmac.compare_digest(signature.encode(), self._signature(path, given).encode()):
            return False
        return self._clock() < expires

    def _signature(self, path: str, parameters: Mapping[str, str]) -> str:
        content = path + "?" + urlencode(sorted(parameters.items()), quote_via=quote)
        return hmac.new(self._key, content.encode(), hashlib.sha256).hexdigest()
