"""Action: transfers components from one location to another, with a Job that shows how far it is.

Offered for versions, components, and for everything above them. The transfer runs in a thread of its own,
so that the menu answers at once. What is at the target already is left alone: an interrupted transfer is
continued by launching it again.
"""

import logging

import ftrack_api

from .selection import find_components, is_supported
from .transfer import TransferQueue, count_components

logger = logging.getLogger("ftrackd.plugins.transfer_components")

IDENTIFIER = "com.ftrackd.transfer-components"

#: Take each component from the best location that has it.
ANY_LOCATION = "any"

#: Components are only looked at where they are; there is nothing to transfer to these.
NO_TARGETS = {
    ftrack_api.symbol.ORIGIN_LOCATION_ID,
    ftrack_api.symbol.UNMANAGED_LOCATION_ID,
    ftrack_api.symbol.REVIEW_LOCATION_ID,
}


class TransferComponentsAction:
    """Offers the action, asks where from and where to, and queues the transfer."""

    def __init__(self, session):
        self.session = session
        self.queue = TransferQueue(session)

    def register(self):
        """Subscribe to discover and launch, and look for transfers that a crash left behind."""
        hub = self.session.event_hub
        hub.subscribe("topic=ftrack.action.discover", self.discover)
        hub.subscribe(f"topic=ftrack.action.launch and data.actionIdentifier={IDENTIFIER}", self.launch)
        hub.subscribe("topic=ftrack.api.session.ready", lambda event: self.queue.close_abandoned_jobs())

    def discover(self, event):
        """Offer the action when all that is selected can have components."""
        selection = event["data"].get("selection") or []
        if not selection or not all(is_supported(item) for item in selection):
            return None
        return {
            "items": [
                {
                    "label": "Transfer components",
                    "description": "Copy files from one location to another.",
                    "actionIdentifier": IDENTIFIER,
                    "icon": "default",
                }
            ]
        }

    def launch(self, event):
        """Ask for the locations first, then queue the transfer."""
        data = event["data"]
        components = find_components(self.session, data.get("selection") or [])
        if not components:
            return {"success": False, "message": "There are no components in the selection."}
        values = data.get("values")
        if not values:
            return self.form(components)
        target = self.session.get("Location", values["target_id"])
        source = None
        if values.get("source_id") not in (None, ANY_LOCATION):
            source = self.session.get("Location", values["source_id"])
        if target is None or not target.accessor:
            return {"success": False, "message": "The target location is not accessible from here."}
        if source is not None and (source == target or not source.accessor):
            return {"success": False, "message": "Choose an accessible source other than the target."}
        user = self.session.get("User", event["source"]["user"]["id"])
        self.queue.add(components, source, target, user)
        return {
            "success": True,
            "message": f"Transferring {count_components(components)} to {target['name']}. "
            "The job shows how far it is.",
        }

    def form(self, components):
        """Return the form that asks for the locations."""
        locations = [location for location in self.session.query("Location") if location.accessor]
        locations.sort(key=lambda location: location.priority)
        choices = [
            {"label": location["label"] or location["name"], "value": location["id"]}
            for location in locations
        ]
        targets = [choice for choice in choices if choice["value"] not in NO_TARGETS]
        if not targets:
            return {"success": False, "message": "No location to transfer to is configured here."}
        any_location = {"label": "Wherever they are", "value": ANY_LOCATION}
        return {
            "title": f"Transfer {count_components(components)}",
            "submit_button_label": "Transfer",
            "items": [
                {
                    "type": "enumerator",
                    "label": "From",
                    "name": "source_id",
                    "value": ANY_LOCATION,
                    "data": [any_location, *choices],
                },
                {
                    "type": "enumerator",
                    "label": "To",
                    "name": "target_id",
                    "value": targets[0]["value"],
                    "data": targets,
                },
            ],
        }


#: The actions that were registered, to be ended with the plugin.
_actions = []


def register(session, **kw):
    """Subscribe."""
    if not isinstance(session, ftrack_api.Session):
        return
    action = TransferComponentsAction(session)
    action.register()
    _actions.append(action)


def unregister(session):
    """End running transfers between two chunks; their jobs say so."""
    for action in [action for action in _actions if action.session is session]:
        action.queue.close()
        _actions.remove(action)
