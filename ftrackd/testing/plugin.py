"""Fixtures that pytest finds when ftrackd is installed.

``sandbox`` is a server to develop against, ``sandbox_session`` a Session connected to it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ftrackd.testing.sandbox import SandboxProcess


@pytest.fixture(scope="session")
def sandbox() -> Iterator[SandboxProcess]:
    """Provide a sandbox with the demo production, one for each test process; tests make their own rows in
    it.
    """
    from ftrackd.testing.sandbox import SandboxProcess

    with SandboxProcess(seed="demo") as process:
        yield process


@pytest.fixture
def sandbox_session(sandbox: SandboxProcess) -> Iterator[Any]:
    """Provide a Session on the sandbox; its event hub connects on ``session.event_hub.connect()``."""
    session = importlib.import_module("ftrackd.api.session").Session(
        server_url=sandbox.url,
        api_user=sandbox.api_user,
        api_key=sandbox.api_key,
        auto_connect_event_hub=False,
        plugin_paths=[],
        schema_cache_path=False,
    )
    try:
        yield session
    finally:
        session.close()
