"""The official clients, installed once for all tests that run them."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@functools.cache
def _try_to_install(name: str) -> str:
    """Return why a peer cannot be installed here, "" when it is; without a network it is tried once."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "peer" / "install"), name],
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stderr.strip() or "no reason given" if done.returncode else ""


def _installed(name: str) -> Path:
    if reason := _try_to_install(name):
        pytest.skip(f"The official client cannot be installed: {reason}")
    return ROOT / ".peer" / name


@pytest.fixture
def official_python() -> str:
    """Provide the interpreter that has the official Python client; skip where it cannot be installed."""
    return str(_installed("python") / "bin" / "python")


@pytest.fixture
def official_javascript() -> Path:
    """Provide the official JavaScript client's module; skip where it cannot be installed."""
    folder = _installed("javascript")
    return folder / "node_modules" / "@ftrack" / "api" / "dist" / "ftrack-javascript-api.es.js"
