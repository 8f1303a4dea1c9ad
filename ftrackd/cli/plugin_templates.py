"""What ``ftrackd new`` writes."""

from __future__ import annotations

from ftrackd.errors import UsageError

_HEAD = '''\
"""{summary}"""

import logging

import ftrack_api

logger = logging.getLogger("{name}")

'''

_LISTENER = '''
def on_update(session, event):
    """Handle one change of data; an event may come twice, so look before you write."""
    for change in event["data"].get("entities", []):
        if change.get("entity_type") == "Task" and "statusid" in (change.get("keys") or []):
            task = session.get("Task", change["entityId"])
            logger.info("%s is now %s", task["name"], task["status"]["name"])


def register(session, **kw):
    """Called once with the Session; only subscribe here, the rest happens in callbacks."""
    if not isinstance(session, ftrack_api.Session):
        return
    session.event_hub.subscribe("topic=ftrack.update", lambda event: on_update(session, event))
'''

_ACTION = '''
IDENTIFIER = "{name}"


def discover(session, event):
    """Offer the action in the menu when something is selected."""
    if not event["data"].get("selection"):
        return None
    return {{"items": [{{"label": "{title}", "actionIdentifier": IDENTIFIER}}]}}


def launch(session, event):
    """Run the action; the reply is shown to the artist."""
    count = len(event["data"]["selection"])
    return {{"success": True, "message": f"{{count}} selected."}}


def register(session, **kw):
    """Called once with the Session; only subscribe here, the rest happens in callbacks."""
    if not isinstance(session, ftrack_api.Session):
        return
    hub = session.event_hub
    hub.subscribe("topic=ftrack.action.discover", lambda event: discover(session, event))
    hub.subscribe(
        f"topic=ftrack.action.launch and data.actionIdentifier={{IDENTIFIER}}", lambda event:
        launch(session, event)
    )
'''

_LOCATION = '''
import ftrack_api.accessor.disk
import ftrack_api.structure.standard

LOCATION = "{name}"
PREFIX = "/mnt/projects"


def configure_location(session, event):
    """Give the location its accessor and structure; runs in every Session, and again after a reset."""
    location = session.query(f'Location where name is "{{LOCATION}}"').first()
    if location is None:
        logger.warning("no Location is named %s; create it once in ftrack", LOCATION)
        return
    location.accessor = ftrack_api.accessor.disk.DiskAccessor(prefix=PREFIX)
    location.structure = ftrack_api.structure.standard.StandardStructure()
    location.priority = 1


def register(session, **kw):
    """Called once with the Session; only subscribe here, the rest happens in callbacks."""
    if not isinstance(session, ftrack_api.Session):
        return
    session.event_hub.subscribe(
        "topic=ftrack.api.session.configure-location", lambda event: configure_location(session, event)
    )
'''

_KINDS = {
    "listener": ("Listener: logs status changes of tasks.", _LISTENER),
    "action": ("Action: says how many entities are selected.", _ACTION),
    "location": ("Location: a disk with the standard structure.", _LOCATION),
}


def render_plugin(name: str, kind: str) -> str:
    """Return the code of a new plugin; raises FtrackdError for an unknown kind."""
    if kind not in _KINDS:
        raise UsageError(f"no kind of plugin is named {kind!r}; there are {', '.join(sorted(_KINDS))}")
    summary, body = _KINDS[kind]
    if kind != "listener":
        body = body.format(name=name, title=name.replace("_", " ").capitalize())
    return _HEAD.format(summary=summary, name=name) + body
