"""Keeps secrets out of everything that leaves the process as text."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "[secret]"

_KEYS_IN_TEXT = re.compile(
    r"""(?ix) ( (?: ftrack-)? api[-_]?key | password | token | dsn )   # a name that announces a secret
        ( ["']? \s* [=:] \s* ["']? )                              # = or : in a URL, a header, JSON or a repr
        (?! \[secret\] | None\b | null\b | SecretStr )
        ( [^\s"'&,;)}\]]{6,} )"""
)


class Redactor:
    """Replaces known secrets, in any of their usual encodings, and values whose name announces a secret."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= 4 for form in _forms(secret)}
        ordered = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(form) for form in ordered)) if ordered else None

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return _KEYS_IN_TEXT.sub(rf"\1\2{MASK}", text)


def _forms(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, quote(secret, safe=""), quote_plus(secret), encoded, encoded.rstrip("=")}


class RedactingFormatter(logging.Formatter):
    """Formats by another formatter and redacts the finished line, tracebacks included."""

    def __init__(self, inner: logging.Formatter, redact: Redactor) -> None:
        super().__init__()
        self._inner = inner
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the redacted line for ``record``."""
        return self._redact(self._inner.format(record))
