"""A script sees of our session what the official client shows it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftrackd.testing.sandbox import SandboxProcess

HERE = Path(__file__).parent


def _observe(interpreter: str, client: str, folder: Path) -> dict[str, Any]:
    """Run the script with `client` on a sandbox of its own and return what it wrote down."""
    result = folder / f"{client}.json"
    with SandboxProcess(seed="demo") as sandbox:
        done = subprocess.run(
            [interpreter, str(HERE / "session_behaviour.py"), client, str(result)],
            env={**os.environ, **sandbox.environment},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert done.returncode == 0, done.stderr
    observed: dict[str, Any] = json.loads(result.read_text())
    return observed


def test_when_a_script_runs_then_it_sees_what_it_should(tmp_path: Path) -> None:
    """The script itself is right: what should succeed does."""
    seen = _observe(sys.executable, "ours", tmp_path)
    assert seen["a loaded value"] == {"result": "'model'", "changes": [], "queries": 0}
    assert seen["replacing metadata"]["result"][2] == {"z": "'9'"}
    assert seen["a query"]["result"]
    raised = {name for name, entry in seen.items() if str(entry["result"]).startswith("raises")}
    assert {"an unknown attribute", "one of none", "no timer"} <= raised
    assert len(raised) < 25


@pytest.mark.peer
@pytest.mark.timeout(400)
def test_when_both_clients_run_one_script_then_they_do_the_same(official_python: str, tmp_path: Path) -> None:
    """The same results and errors, the same changes on the wire, and never more queries."""
    theirs = _observe(official_python, "official", tmp_path)
    ours = _observe(sys.executable, "ours", tmp_path)
    assert list(ours) == list(theirs)
    different = {
        name: (ours[name], theirs[name])
        for name in theirs
        if (ours[name]["result"], ours[name]["changes"]) != (theirs[name]["result"], theirs[name]["changes"])
    }
    assert different == {}
    slower = {name for name in theirs if ours[name]["queries"] > theirs[name]["queries"]}
    assert slower == set()
