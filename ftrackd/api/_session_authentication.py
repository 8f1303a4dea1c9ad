"""Credentials for requests."""

from __future__ import annotations

from typing import Any

import requests.auth


class SessionAuthentication(requests.auth.AuthBase):
    """Attaches the API key and the user of a session to each request."""

    def __init__(self, api_key: str, api_user: str) -> None:
        self.api_key = api_key
        self.api_user = api_user
        super().__init__()

    def __call__(self, request: Any) -> Any:
        request.headers.update({"ftrack-api-key": self.api_key, "ftrack-user": self.api_user})
        return request
