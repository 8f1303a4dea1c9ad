"""What an author of plugins finds in pytest when ftrackd is installed."""

import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from ftrackd.testing.daemon import DaemonProcessError

ROOT = Path(__file__).parents[3]

PLUGIN = """
def register(session):
    def describe(event):
        for change in event["data"]["entities"]:
            if change["entityType"] == "task" and "name" in (change["keys"] or ()):
                folder = session.get("Folder", change["entityId"])
                if folder is not None:
                    folder["description"] = f"renamed to {folder['name']}"
        session.commit()

    session.event_hub.subscribe("topic=ftrack.update", describe)
"""


def test_when_a_plugin_runs_then_its_effect_is_seen_through_the_session(
    sandbox_session, run_plugins, tmp_path
):
    (tmp_path / "describe.py").write_text(PLUGIN)
    run_plugins(tmp_path)
    project = sandbox_session.query("Project").first()
    folder = sandbox_session.create("Folder", {"name": uuid.uuid4().hex, "parent": project})
    sandbox_session.commit()
    folder["name"] = "other"
    sandbox_session.commit()
    deadline = time.monotonic() + 15
    query = f"select description from Folder where id is {folder['id']}"
    operation = {"action": "query", "expression": query}
    while (sandbox_session.call([operation])[0]["data"][0]["description"] or "") != "renamed to other":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    sandbox_session.delete(folder)
    sandbox_session.commit()


def test_when_a_plugin_takes_long_to_import_then_it_is_waited_for(run_plugins, tmp_path):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(1)\ndef register(session): pass\n")
    daemon = run_plugins(tmp_path, settings={"HOSTING__LATE_START_S": "0.1"})
    assert daemon.plugin("slow")["state"] == "running"
    assert "live; still starting: slow" in daemon.log


def test_when_a_plugin_cannot_be_loaded_then_the_test_says_why(run_plugins, tmp_path):
    (tmp_path / "broken.py").write_text("def register(session):\n    raise ValueError('no such studio')\n")
    with pytest.raises(DaemonProcessError, match=r"(?s)broken was not loaded.*no such studio"):
        run_plugins(tmp_path)


def test_when_the_documented_examples_are_typed_in_then_they_pass(tmp_path):
    """An author's first hour, in an empty folder: a plugin with `import ftrack_api`, and tests beside it."""
    text = (ROOT / "docs" / "testing.md").read_text()
    plugin, *tests = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "my_plugin.py").write_text(plugin)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "task_progress.py").write_text(
        (ROOT / "plugins" / "task_progress.py").read_text()
    )
    for number, content in enumerate(tests):
        (tmp_path / f"test_{number}.py").write_text(content)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
