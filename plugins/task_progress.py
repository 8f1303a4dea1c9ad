"""Listener: keeps the share of finished tasks on the object above them.

When the status of a task changes, or a task is added or removed, the metadata key ``progress`` of its
parent says how many of its tasks are done, for instance ``3/5``. Setting the same text again changes
nothing, so an event that is delivered twice does no harm.
"""

import logging

import ftrack_api

logger = logging.getLogger("ftrackd.plugins.task_progress")

KEY = "progress"


def parents_of_changed_tasks(event):
    """Return the ids of the objects whose tasks changed."""
    parents = set()
    for change in event["data"].get("entities", []):
        if change.get("entity_type") != "Task":
            continue
        if change["action"] in ("add", "remove", "move") or "statusid" in (change.get("keys") or []):
            parents.add(change["parentId"])
        # A task that was moved is missing where it was.
        old_parent = (change.get("changes") or {}).get("parent_id", {}).get("old")
        if old_parent:
            parents.add(old_parent)
    return parents


def update_progress(session, parent_id):
    """Write the progress of one parent when it differs."""
    parent = session.get("TypedContext", parent_id)
    if parent is None:
        return  # removed in the meantime, or a project, which has no tasks of its own to count
    tasks = session.query(f'select status.state.short from Task where parent_id is "{parent_id}"').all()
    done = sum(1 for task in tasks if task["status"] and task["status"]["state"]["short"] == "DONE")
    text = f"{done}/{len(tasks)}"
    if parent["metadata"].get(KEY) == text:
        return
    parent["metadata"][KEY] = text
    session.commit()
    logger.info("%s %s: %s tasks done", parent.entity_type, parent["name"], text)


def on_update(session, event):
    """Handle ``ftrack.update``."""
    for parent_id in parents_of_changed_tasks(event):
        update_progress(session, parent_id)


def register(session, **kw):
    """Subscribe."""
    if not isinstance(session, ftrack_api.Session):
        return
    session.event_hub.subscribe("topic=ftrack.update", lambda event: on_update(session, event))
