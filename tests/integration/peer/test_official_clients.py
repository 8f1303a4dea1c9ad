"""The official clients work against the sandbox unchanged, and scripts for them with ours."""

import pytest

pytestmark = [pytest.mark.peer, pytest.mark.timeout(400)]

PYTHON_SCRIPTS = (
    "session.py",
    "queries.py",
    "commit.py",
    "entities.py",
    "files.py",
    "surface.py",
    "events.py",
)


@pytest.mark.parametrize("script", PYTHON_SCRIPTS)
def test_when_official_python_client_then_its_script_succeeds(run_python, script):
    run_python(script)


@pytest.mark.parametrize("script", ["session.mjs", "files.mjs", "surface.mjs", "events.mjs", "reconnect.mjs"])
def test_when_official_javascript_client_then_its_script_succeeds(run_javascript, script):
    run_javascript(script)


def test_when_our_client_stands_in_for_the_official_one_then_its_scripts_succeed_too(run_ours):
    run_ours(PYTHON_SCRIPTS)


@pytest.mark.slow
def test_when_connections_are_lost_then_the_official_python_client_finds_them_again(run_python):
    """Its pause before each attempt is ten seconds."""
    run_python("reconnect.py")
