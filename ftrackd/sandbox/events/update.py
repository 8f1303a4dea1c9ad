"""The ``ftrack.update`` event that announces what a transaction changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.store import Change, event_data

UPDATE_TOPIC: Final = "ftrack.update"
APPLICATION_ID: Final = "ftrack.client.web"
SERVER_ID: Final = "ftrackd.sandbox"


def update_event(
    event_id: str,
    changes: Sequence[Change],
    actor: Actor | None,
    *,
    client_token: str | None = None,
    push_token: str | None = None,
) -> dict[str, Any]:
    """Return the event for *changes*, with the tokens of the request that made them.

    The rows of the event log name *event_id* too.
    """
    data = event_data(changes, actor)
    data["clientToken"] = client_token
    if push_token is not None:
        data["pushToken"] = push_token
    source: dict[str, Any] = {"id": client_token or SERVER_ID, "applicationId": APPLICATION_ID}
    if actor is not None:
        source["user"] = {"username": actor.username, "id": actor.user_id}
    if client_token is not None:
        source["clientToken"] = client_token
    return {
        "topic": UPDATE_TOPIC,
        "id": event_id,
        "data": data,
        "source": source,
        "target": "",
        "sent": None,
        "inReplyToEvent": None,
    }
