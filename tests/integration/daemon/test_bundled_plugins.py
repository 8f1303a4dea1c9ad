"""The bundled listeners, the whole way; docs/testing.md shows this test to authors of plugins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftrackd.testing.daemon import DaemonProcess

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"


def metadata(session: Any, parent_id: str) -> Any:
    query = f'select value from Metadata where key is "progress" and parent_id is "{parent_id}"'
    return session.query(query).first()


def test_the_progress_of_tasks_is_written_above_them(
    run_plugins: Callable[..., DaemonProcess], sandbox_session: Any, task: Any
) -> None:
    daemon = run_plugins(PLUGINS / "task_progress.py")
    ended_up = sandbox_session.create("Folder", {"name": "elsewhere", "parent": task["project"]})
    moved = sandbox_session.create("Task", {"name": "moved", "parent": task["parent"], "type": task["type"]})
    sandbox_session.commit()
    before = sandbox_session.query(
        f'select status.state.short from Task where parent_id is "{task["parent_id"]}"'
    )
    done = sum(1 for sibling in before if sibling["status"]["state"]["short"] == "DONE")
    task["status"] = sandbox_session.query('Status where name is "Approved"').one()
    sandbox_session.commit()
    wanted = f"{done + 1}/{len(before)}"

    def written() -> bool:
        sandbox_session.reset()
        found = metadata(sandbox_session, task["parent_id"])
        return found is not None and found["value"] == wanted

    daemon.wait_for(written, what=f"progress {wanted}")
    moved["parent"] = ended_up
    sandbox_session.commit()
    wanted = f"{done + 1}/{len(before) - 1}"
    daemon.wait_for(written, what=f"progress {wanted} without the task that was moved away")


def test_a_task_that_begins_takes_the_object_above_with_it(
    run_plugins: Callable[..., DaemonProcess], sandbox_session: Any
) -> None:
    """An episode may be in progress by its schema; a folder has no statuses at all."""
    daemon = run_plugins(PLUGINS / "cascade_status.py")
    project = sandbox_session.query("Project").first()
    task_type = sandbox_session.query("Type").first()
    tasks = []
    for entity_type in ("Folder", "Episode"):
        parent = sandbox_session.create(entity_type, {"name": f"cascade_{entity_type}", "parent": project})
        tasks.append(sandbox_session.create("Task", {"name": "task", "parent": parent, "type": task_type}))
    sandbox_session.commit()
    episode_id = tasks[1]["parent_id"]
    for task in tasks:
        task["status"] = sandbox_session.query('Status where name is "In progress"').one()
        sandbox_session.commit()

    def begun() -> bool:
        sandbox_session.reset()
        return bool(sandbox_session.get("Episode", episode_id)["status"]["state"]["short"] == "IN_PROGRESS")

    daemon.wait_for(begun, what="the episode in progress")
    daemon.wait_for(lambda: daemon.control.get("/status")["journal"]["open"] == 0, what="handled")
    assert daemon.control.get("/dead") == []
