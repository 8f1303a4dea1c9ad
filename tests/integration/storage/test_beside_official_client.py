"""What plugins see of locations is what the official client shows them."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


def observe(interpreter: str, client: str, sandbox, folder: pathlib.Path) -> dict[str, object]:
    result = folder / f"{client}.json"
    done = subprocess.run(
        [interpreter, str(HERE / "storage_behaviour.py"), client, str(result)],
        env={**os.environ, **sandbox.environment, "TMPDIR": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    observed: dict[str, object] = json.loads(result.read_text())
    return observed


def test_when_used_as_plugins_do_then_everything_is_observed(sandbox, tmp_path) -> None:
    """The script itself is right: nothing in it failed that should not."""
    observed = observe(sys.executable, "ours", sandbox, tmp_path)
    assert observed["add"] is None
    assert observed["download"] == "hello"
    assert observed["transferred"] == [True, True]
    assert observed["standard frame"] == "PROJECT/seq_a/my_asset/v001/seq.0002.exr"
    assert len(observed["events of the sequence"]) == 4


@pytest.mark.peer
@pytest.mark.timeout(400)
def test_when_both_clients_do_the_same_then_the_same_happens(official_python, sandbox, tmp_path) -> None:
    theirs = observe(official_python, "official", sandbox, tmp_path)
    ours = observe(sys.executable, "ours", sandbox, tmp_path)
    assert ours == theirs
