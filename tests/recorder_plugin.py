"""A plugin for tests: writes a line for each event it handles to the file in RECORDER_FILE."""

import json
import os
import time

import ftrack_api

VERSION = 1


def record(event):
    line = {"version": VERSION, "topic": event["topic"], "id": event["id"], "pid": os.getpid()}
    changes = event["data"].get("entities") or []
    line["changes"] = [
        [c["entityId"], c.get("keys"), (c.get("changes") or {}).get("description", {}).get("new")]
        for c in changes
        if c.get("entity_type") == "Task"
    ]
    line["number"] = event["data"].get("number")
    time.sleep(float(os.environ.get("RECORDER_DELAY_S", "0")))
    with open(os.environ["RECORDER_FILE"], "a") as file:
        # Begun on a line of its own: a kill may have cut the one before.
        file.write("\n" + json.dumps(line) + "\n")


def offer(event):
    return {"items": [{"label": "Recorder", "actionIdentifier": "recorder"}]}


def launch(event):
    if event["data"].get("explode"):
        raise RuntimeError("as asked")
    return {"success": True, "message": f"{len(event['data']['selection'])} selected"}


def register(session, **kw):
    if not isinstance(session, ftrack_api.Session):
        return
    hub = session.event_hub
    hub.subscribe("topic=ftrack.update", record)
    hub.subscribe("topic=studio.count", record)
    hub.subscribe("topic=ftrack.action.discover", offer)
    hub.subscribe("topic=ftrack.action.launch and data.actionIdentifier=recorder", launch)
