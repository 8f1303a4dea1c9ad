"""From the bytes of a hub packet to an Event."""

import json

import client
import ftrack_api.event.base
import ftrack_api.event.hub


def _event(entity_count):
    entity = {
        "entityId": "a" * 32,
        "entityType": "task",
        "action": "update",
        "objectTypeId": "11c137c0-ee7e-4f9c-91c5-8c77cec22b2c",
        "keys": ["statusid"],
        "changes": {"statusid": {"new": "44dd9fb2-4164-11df-9218-0019bb4983d8", "old": None}},
        "parents": [{"entityId": "p" * 32, "entityType": "task", "parentId": "x" * 32} for _ in range(5)],
    }
    return {
        "topic": "ftrack.update",
        "id": "1f0d9f4cdd8c4c6ea1ab6b0a7e2f3c55",
        "data": {
            "entities": [entity] * entity_count,
            "pushToken": "e" * 32,
            "user": {"userid": "u", "name": "Anna"},
        },
        "sent": None,
        "source": {"id": "x" * 32, "user": {"username": "anna", "id": "u" * 32}},
        "target": "",
        "inReplyToEvent": None,
    }


def main():
    values = {}
    for name, entity_count in (("one", 1), ("ten", 10)):
        text = json.dumps({"name": "ftrack.event", "args": [_event(entity_count)]}, separators=(",", ":"))
        frame = f"5:::{text}"
        if client.IS_OURS:
            from ftrackd.api.event import codec

            # A socket gives bytes; the official client's gives text. Each decodes what it gets.
            received = frame.encode()

            def decode(received=received):
                return codec.decode_event_data(codec.decode_packet(received).data)[1]

            def event(decode=decode):
                return codec.event_from(decode())
        else:
            hub = ftrack_api.event.hub.EventHub("http://canned.invalid", "anna", "key")

            def decode(frame=frame, hub=hub):
                return hub._decode(frame.split(":", 3)[3])["args"][0]

            def event(decode=decode):
                return ftrack_api.event.base.Event(**decode())

        assert event()["in_reply_to_event"] is None
        seconds = client.each_per_call(decode, event, lambda text=text: json.loads(text))
        for kind, value in zip(("decode", "event", "loads"), seconds, strict=True):
            values[f"{kind}_{name}"] = value
    client.report(**values)


main()
