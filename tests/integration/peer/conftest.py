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
POSTGRESQL = os.environ.get("FTRACKD_TEST_POSTGRESQL")


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
def run_python(official_python, peer_sandbox, tmp_path):
    """Run a script of this folder with the official Python client."""

    def run(script):
        _run([official_python, str(HERE / "python" / script)], peer_sandbox, tmp_path)

    return run


@pytest.fixture
def run_ours(peer_sandbox, tmp_path):
    """Run scripts of this folder one after the other with our client under the official one's name."""

    def run(scripts):
        program = (
            "import runpy, sys\n"
            "from ftrackd.api import alias\n"
            "alias.install()\n"
            "for script in sys.argv[1:]:\n"
            "    runpy.run_path(script, run_name='__main__')\n"
        )
        paths = [str(HERE / "python" / script) for script in scripts]
        _run([sys.executable, "-c", program, *paths], peer_sandbox, tmp_path)

    return run


@pytest.fixture
def run_javascript(official_javascript, peer_sandbox, tmp_path):
    """Run a script of this folder with the official JavaScript client."""

    def run(script):
        command = ["node", str(HERE / "javascript" / script)]
        _run(command, peer_sandbox, tmp_path, PEER_MODULE=str(official_javascript))

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
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=240)
    if done.returncode:
        pytest.fail(f"{done.stdout}\n{done.stderr}\nThe sandbox logged:\n{sandbox.log}", pytrace=False)
