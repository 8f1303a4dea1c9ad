"""Action: sets one status on all selected tasks.

Shows how an action answers discover, asks with a form, and replies with a message.
"""

import logging

import ftrack_api

logger = logging.getLogger("ftrackd.plugins.set_status_action")

IDENTIFIER = "com.ftrackd.set-status"


class SetStatusAction:
    """Offers the action for a selection of tasks and runs it."""

    def __init__(self, session):
        self.session = session

    def register(self):
        """Subscribe to discover and launch."""
        hub = self.session.event_hub
        hub.subscribe("topic=ftrack.action.discover", self.discover)
        hub.subscribe(f"topic=ftrack.action.launch and data.actionIdentifier={IDENTIFIER}", self.launch)

    def discover(self, event):
        """Offer the action when only tasks are selected."""
        if not self.tasks(event):
            return None
        return {"items": [{"label": "Set status", "actionIdentifier": IDENTIFIER, "icon": "default"}]}

    def launch(self, event):
        """Ask for the status first, then set it."""
        tasks = self.tasks(event)
        if not tasks:
            return {"success": False, "message": "Select one task or more."}
        values = event["data"].get("values")
        if not values:
            return self.form(tasks)
        status = self.session.get("Status", values["status_id"])
        for task in tasks:
            task["status"] = status
        self.session.commit()
        count = "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
        logger.info("%s set to %s", count, status["name"])
        return {"success": True, "message": f"{count} set to {status['name']}."}

    def form(self, tasks):
        """Return the form that asks for a status."""
        schema = tasks[0]["project"]["project_schema"]
        choices = [{"label": status["name"], "value": status["id"]} for status in schema.get_statuses("Task")]
        return {
            "title": f"Set status of {len(tasks)} tasks",
            "items": [{"type": "enumerator", "name": "status_id", "label": "Status", "data": choices}],
        }

    def tasks(self, event):
        """Return the selected tasks, or nothing when something else is selected too."""
        selection = event["data"].get("selection") or []
        entities = [
            self.session.get("TypedContext", item["entityId"])
            for item in selection
            if item.get("entityType", "").lower() in ("task", "typedcontext")
        ]
        tasks = [entity for entity in entities if entity is not None and entity.entity_type == "Task"]
        return tasks if len(tasks) == len(selection) else []


def register(session, **kw):
    """Subscribe."""
    if not isinstance(session, ftrack_api.Session):
        return
    SetStatusAction(session).register()
