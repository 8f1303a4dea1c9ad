"""A canned server and a session on it."""

import sys
from collections.abc import Iterator

import pytest

from ftrackd.api.session import Session

from .canned_server import CannedServer


@pytest.fixture
def server() -> Iterator[CannedServer]:
    """A server that answers what the test tells it to."""
    canned = CannedServer()
    yield canned
    canned.stop()


@pytest.fixture
def session(server: CannedServer) -> Iterator[Session]:
    """A session on the canned server, whose start is not among the calls."""
    with Session(server.url, "key", "jane", plugin_paths=[], schema_cache_path=False) as made:
        server.calls.clear()
        yield made


@pytest.fixture
def frantic() -> Iterator[None]:
    """Switch threads as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
