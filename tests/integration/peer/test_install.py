"""The installation of the official clients, where nothing can be fetched."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "bench" / "peer" / "install"


@pytest.fixture
def install(tmp_path):
    """Run the script of a copy of the project that reaches no index; return exit code and what it said."""
    script = tmp_path / "bench" / "peer" / "install"
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}

    def run(*names):
        done = subprocess.run(
            [sys.executable, str(script), *names],
            env={**os.environ, **nowhere},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr.strip()

    return run


def test_when_nothing_can_be_fetched_then_one_line_says_so_and_a_half_is_not_taken_for_whole(
    install, tmp_path
):
    (tmp_path / ".peer" / "python").mkdir(parents=True)
    (tmp_path / ".peer" / "python" / ".installed").touch()
    code, said = install("python")
    assert code == 1
    assert said.startswith("python: ")
    assert "ftrack-python-api" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / ".peer" / "python" / ".installed").exists()


def test_when_the_version_is_there_then_nothing_is_fetched_and_any_other_is_replaced(install, tmp_path):
    version = re.search(r'"ftrack-python-api": "([\d.]+)"', SCRIPT.read_text()).group(1)
    packages = tmp_path / ".peer" / "python" / "lib" / "python3.11" / "site-packages"
    known = packages / f"ftrack_python_api-{version}.dist-info"
    known.mkdir(parents=True)
    for path in ("bin/python", ".installed"):
        there = tmp_path / ".peer" / "python" / path
        there.parent.mkdir(exist_ok=True)
        there.touch()
    assert install("python") == (0, "")
    known.rename(packages / "ftrack_python_api-2.0.0.dist-info")
    code, said = install("python")
    assert code == 1
    assert f"ftrack-python-api=={version}" in said


def test_when_the_newest_is_asked_for_then_it_is_fetched_whatever_is_there(install, tmp_path):
    code, said = install("--latest", "python")
    assert code == 1
    assert "ftrack-python-api" in said
    assert "==" not in said


def test_when_there_is_no_such_peer_then_says_which_there_are(install):
    code, said = install("ruby")
    assert code == 2
    assert "javascript" in said
