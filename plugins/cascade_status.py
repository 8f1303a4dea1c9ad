"""Listener: lets the status of tasks show on the object above them.

When a task begins, its parent goes to the first status with the state "in progress" that the project's
schema allows for it; when all tasks are done, to the first one that is done. A parent whose schema has no
such status is left alone.
"""

import logging

import ftrack_api

logger = logging.getLogger("ftrackd.plugins.cascade_status")


def wanted_state(states):
    """Return the state that a parent should have, by the states of its tasks; None for no wish."""
    if states and all(state == "DONE" for state in states):
        return "DONE"
    if any(state in ("IN_PROGRESS", "DONE") for state in states):
        return "IN_PROGRESS"
    return None


def allowed_statuses(parent):
    """Return the statuses that the project's schema has for the type of parent; folders, say, have none."""
    try:
        return parent["project"]["project_schema"].get_statuses(parent.entity_type)
    except ValueError:
        return []


def cascade(session, parent_id):
    """Set the status of one parent when it should have another."""
    parent = session.get("TypedContext", parent_id)
    if parent is None or parent["status"] is None:
        return
    tasks = session.query(f'select status.state.short from Task where parent_id is "{parent_id}"').all()
    state = wanted_state([task["status"]["state"]["short"] for task in tasks if task["status"]])
    if state is None or parent["status"]["state"]["short"] == state:
        return
    status = next((status for status in allowed_statuses(parent) if status["state"]["short"] == state), None)
    if status is None:
        return
    parent["status"] = status
    session.commit()
    logger.info("%s %s is now %s", parent.entity_type, parent["name"], status["name"])


def on_update(session, event):
    """Handle ``ftrack.update``."""
    parents = {
        change["parentId"]
        for change in event["data"].get("entities", [])
        if change.get("entity_type") == "Task" and "statusid" in (change.get("keys") or [])
    }
    for parent_id in parents:
        cascade(session, parent_id)


def register(session, **kw):
    """Subscribe."""
    if not isinstance(session, ftrack_api.Session):
        return
    session.event_hub.subscribe("topic=ftrack.update", lambda event: on_update(session, event))
