"""The hub finds its connection again after faults; it waits ten seconds before it tries."""

import json
import os
import time
import urllib.request
import uuid

import ftrack_api
import ftrack_api.event.base


def ask(fault=None):
    request = urllib.request.Request(
        os.environ["FTRACK_SERVER"] + "/sandbox/faults",
        data=json.dumps({"fault": fault}).encode() if fault else None,
        headers={
            "ftrack-user": os.environ["FTRACK_API_USER"],
            "ftrack-api-key": os.environ["FTRACK_API_KEY"],
        },
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def wait_for(condition, what, seconds=25):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"Waited in vain for {what}."
        session.event_hub.wait(0.1)


session = ftrack_api.Session(auto_connect_event_hub=True, plugin_paths=[], schema_cache_path=False)
topic = uuid.uuid4().hex
received = []
session.event_hub.subscribe(f"topic={topic}", received.append)
# The newest subscription is in force once its own event comes back.
session.event_hub.publish(ftrack_api.event.base.Event(topic=topic))
wait_for(lambda: len(received) == 1, "the subscriptions")
subscriptions = ask()["subscriptions"]
for count, fault in enumerate(("drop_sockets", "disconnect_sockets", "restart_hub"), start=2):
    ask(fault)
    wait_for(lambda: ask()["subscriptions"] == 0, "the connection to be lost")
    wait_for(lambda: ask()["subscriptions"] == subscriptions, "the subscriptions to come back")
    session.event_hub.publish(ftrack_api.event.base.Event(topic=topic))
    wait_for(lambda: len(received) == count, "an event")
session.close()
