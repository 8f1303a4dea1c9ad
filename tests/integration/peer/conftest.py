"""The official clients in environments of their own, against a sandbox of their own."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa

from ftrackd.testing.sandbox import SandboxProcess

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
POSTGRESQL = os.environ.get("FTRACKD_TEST_POSTGRESQL")


def _install(name):
    """Return the folder of a peer; skip the test with the reason when it cannot be installed here."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "peer" / "install"), name],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        pytest.skip(f"The official client cannot be installed: {done.stderr.strip()}")
    return ROOT / ".peer" / name


@pytest.fixture(
    scope="package",
    params=[
        "sqlite",
        pytest.param(
            "postgresql",
            marks=pytest.mark.skipif(
                not POSTGRESQL, reason="no server: name one with FTRACKD_TEST_POSTGRESQL=postgresql://..."
            ),
        ),
    ],
)
def peer_sandbox(request):
    if request.param == "sqlite":
        with SandboxProcess(seed="minimal") as process:
            yield process
        return
    name = f"peer_{uuid.uuid4().hex[:12]}"
    address = sa.make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    _postgresql(f"CREATE DATABASE {name}")
    try:
        with SandboxProcess(seed="minimal", database=address) as process:
            yield process
    finally:
        _postgresql(f"DROP DATABASE {name}")


def _postgresql(statement):
    """Carry out *statement* outside a transaction, as CREATE DATABASE wants it."""
    url = sa.make_url(POSTGRESQL).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


@pytest.fixture
def run_python(peer_sandbox, tmp_path):
    """Run a script of this folder with the official Python client."""
    folder = _install("python")

    def run(script):
        _run([str(folder / "bin" / "python"), str(HERE / "python" / script)], peer_sandbox, tmp_path)

    return run


@pytest.fixture
def run_javascript(peer_sandbox, tmp_path):
    """Run a script of this folder with the official JavaScript client."""
    folder = _install("javascript")
    module = folder / "node_modules" / "@ftrack" / "api" / "dist" / "ftrack-javascript-api.es.js"

    def run(script):
        _run(["node", str(HERE / "javascript" / script)], peer_sandbox, tmp_path, PEER_MODULE=str(module))

    return run


def _run(command, sandbox, folder, **variables):
    environment = {
        **os.environ,
        **sandbox.environment,
        **variables,
        "FTRACK_API_SCHEMA_CACHE_PATH": str(folder),
        "TMPDIR": str(folder),
    }
    environment.pop("FTRACK_EVENT_PLUGIN_PATH", None)
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.fail(f"{done.stdout}\n{done.stderr}\nThe sandbox logged:\n{sandbox.log}", pytrace=False)
