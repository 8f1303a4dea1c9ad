"""Which certificates a socket trusts."""

from __future__ import annotations

import os
import ssl
from typing import Final

#: Where requests, and so every other request of the client, look for other authorities.
_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts what the client's requests trust, and the system's authorities.

    Raises:
        OSError: when the file or directory that the environment names does not do.
    """
    named = next((path for name in _VARIABLES if (path := os.environ.get(name))), None)
    if named is not None:
        return _trusting(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), named)
    import requests.utils  # here for the reason that request_session gives

    # A slim container may have no authorities of its own; requests brings some along.
    return _trusting(ssl.create_default_context(), requests.utils.DEFAULT_CA_BUNDLE_PATH)


def _trusting(context: ssl.SSLContext, path: str) -> ssl.SSLContext:
    if os.path.isdir(path):
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)
    return context
