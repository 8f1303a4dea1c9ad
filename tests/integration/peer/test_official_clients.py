"""The official clients work against the sandbox unchanged."""

import pytest

pytestmark = [pytest.mark.peer, pytest.mark.timeout(400)]


@pytest.mark.parametrize(
    "script", ["session.py", "queries.py", "commit.py", "entities.py", "files.py", "events.py"]
)
def test_when_official_python_client_then_its_script_succeeds(run_python, script):
    run_python(script)


@pytest.mark.parametrize("script", ["session.mjs", "files.mjs", "events.mjs", "reconnect.mjs"])
def test_when_official_javascript_client_then_its_script_succeeds(run_javascript, script):
    run_javascript(script)


@pytest.mark.slow
def test_when_connections_are_lost_then_the_official_python_client_finds_them_again(run_python):
    """Its pause before each attempt is ten seconds."""
    run_python("reconnect.py")
