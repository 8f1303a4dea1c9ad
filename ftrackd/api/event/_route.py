"""How a socket reaches the server: as the client's other requests do, which `requests` makes."""

from __future__ import annotations

import os
import ssl
import urllib.parse
from typing import Any, Final

#: Where requests look for other authorities.
_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXY_PORTS: Final = {"http": 80, "https": 443}
_SOCKS_PORT: Final = 1080
_NOWHERE: Final = "nowhere.invalid"


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


def proxy_options(url: str) -> dict[str, Any]:
    """Return the options with which a WebSocket goes through the proxy that requests to `url` take, or none.

    The WebSocket client's own look at the environment knows neither ALL_PROXY nor a system's settings, and
    reads NO_PROXY differently.

    Raises:
        ValueError: when the proxy's address is none.
    """
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url))
    if not proxy:
        # A proxy that no host goes through, so that the environment is not looked at.
        return {"http_proxy_host": _NOWHERE, "http_no_proxy": ["*"]}
    parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    user, password = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
    return {
        "proxy_type": parts.scheme,
        "http_proxy_host": parts.hostname,
        "http_proxy_port": parts.port or _PROXY_PORTS.get(parts.scheme, _SOCKS_PORT),
        "http_proxy_auth": (user, password) if user else None,
        # The exceptions have been looked at already.
        "http_no_proxy": [_NOWHERE],
    }


def _trusting(context: ssl.SSLContext, path: str) -> ssl.SSLContext:
    if os.path.isdir(path):
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)
    return context
