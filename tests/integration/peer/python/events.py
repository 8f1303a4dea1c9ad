"""The event hub: subscriptions, replies, actions, updates."""

import threading
import time
import uuid

import ftrack_api
import ftrack_api.event.base


def open_session():
    session = ftrack_api.Session(auto_connect_event_hub=True, plugin_paths=[], schema_cache_path=False)
    wait_for(lambda: session.event_hub.connected, "the hub to connect")
    return session


def wait_for(condition, what, pump=None, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"Waited in vain for {what}."
        if pump is not None:
            pump.event_hub.wait(0.05)
        else:
            time.sleep(0.01)


topic = f"peer.{uuid.uuid4().hex}"
listener, asker = open_session(), open_session()
stop = threading.Event()


def listen():
    while not stop.is_set():
        listener.event_hub.wait(0.1)


received, updates, replies, problems = [], [], [], []
listener.event_hub.subscribe(f"topic={topic}.*", received.append)
listener.event_hub.subscribe("topic=ftrack.update", updates.append)
listener.event_hub.subscribe(
    f"topic=ftrack.action.discover and source.user.username={asker.api_user} and data.mark={topic}",
    lambda event: {"items": [{"label": "Peer", "actionIdentifier": topic}]},
)
listener.event_hub.subscribe(
    f"topic=ftrack.action.launch and data.actionIdentifier={topic}",
    lambda event: {"success": True, "message": event["source"]["user"]["id"]},
)
listener.event_hub.subscribe(f'topic={topic}.private and source.user.username="nobody"', problems.append)

# Published after the subscriptions on the same connection, so its return proves that they are in force.
ready = []
listener.event_hub.subscribe(f"topic={topic}-ready", ready.append)
listener.event_hub.publish(ftrack_api.event.base.Event(topic=f"{topic}-ready"))
wait_for(lambda: ready, "the subscriptions", pump=listener)
thread = threading.Thread(target=listen)
thread.start()

Event = ftrack_api.event.base.Event
try:
    for number in range(20):
        asker.event_hub.publish(Event(topic=f"{topic}.count", data={"number": number, "text": "ü\U0001f600"}))
    wait_for(lambda: len(received) >= 20, "twenty events")
    assert [event["data"]["number"] for event in received] == list(range(20))
    assert received[0]["source"]["user"]["username"] == asker.api_user

    asker.event_hub.publish(
        Event(topic="ftrack.action.discover", data={"selection": [], "mark": topic}), on_reply=replies.append
    )
    wait_for(lambda: replies, "the reply to discover", pump=asker)
    item = replies[0]["data"]["items"][0]
    asker.event_hub.publish(
        Event(topic="ftrack.action.launch", data={**item, "selection": []}), on_reply=replies.append
    )
    wait_for(lambda: len(replies) == 2, "the reply to launch", pump=asker)
    user = asker.query(f"User where username is {asker.api_user}").one()
    assert replies[1]["data"] == {"success": True, "message": user["id"]}, replies[1]

    # A target that nobody meets.
    asker.event_hub.publish(Event(topic=f"{topic}.count", target="id=nobody"))
    # A change of a row is announced.
    project = asker.create(
        "Project", {"name": topic, "full_name": topic, "project_schema": asker.query("ProjectSchema").first()}
    )
    asker.commit()
    folder = asker.create("Folder", {"name": "a", "parent": project})
    asker.commit()
    folder["name"] = "b"
    asker.commit()

    def changes():
        return [
            entity
            for event in list(updates)
            for entity in event["data"]["entities"]
            if entity["entityId"] == folder["id"]
        ]

    wait_for(lambda: len(changes()) == 2, "two updates of the folder")
    added, renamed = changes()
    assert (added["action"], added["entityType"], added["entity_type"]) == ("add", "task", "Folder")
    assert renamed["changes"]["name"] == {"old": "a", "new": "b"}
    assert [parent["entityType"] for parent in renamed["parents"]] == ["task", "show"]
    assert len(received) == 20 and not problems
    asker.delete(project)
    asker.commit()
finally:
    stop.set()
    thread.join()
listener.close()
asker.close()
