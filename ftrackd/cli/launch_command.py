"""``ftrackd launch``: the web interface's conversation with an action, in the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from ftrackd.api.event.base import Event
from ftrackd.cli.output import print_json
from ftrackd.errors import FtrackdError
from ftrackd.testing.events import selection_of

LARGEST_CONVERSATION = 20
"""Forms in a row after which an action is taken to be going round in circles."""


def run_action(
    session: Any, action: str, entities: Sequence[Any], given: Mapping[str, str], wait_s: float
) -> bool:
    """Discover, launch and answer the action's forms; return whether it says it succeeded.

    ``given`` are values for form fields by name; fields without one are asked for.
    Raises FtrackdError when no plugin offers the action or none replies within ``wait_s`` seconds.
    """
    selection = selection_of(entities)
    item = _discover(session, action, selection, wait_s)
    data: dict[str, Any] = {**item, "selection": selection}
    for _ in range(LARGEST_CONVERSATION):
        reply = _first_reply(session, "ftrack.action.launch", data, wait_s)
        if not (isinstance(reply, Mapping) and reply.get("items") is not None):
            return _show(reply)
        if reply.get("title"):
            print(reply["title"])
        data = {**data, "values": {**data.get("values", {}), **_fill(reply["items"], given)}}
    raise FtrackdError(f"{action}: {LARGEST_CONVERSATION} forms in a row; giving up")


def _discover(session: Any, action: str, selection: list[dict[str, Any]], wait_s: float) -> Mapping[str, Any]:
    offered: list[Mapping[str, Any]] = []

    def fits(reply: Any) -> bool:
        items = reply.get("items", []) if isinstance(reply, Mapping) else []
        offered.extend(items)
        return any(action in (item.get("actionIdentifier"), item.get("label")) for item in items)

    _collect(session, "ftrack.action.discover", {"selection": selection}, wait_s, fits)
    for item in offered:
        if action in (item.get("actionIdentifier"), item.get("label")):
            return item
    names = ", ".join(sorted(str(item.get("actionIdentifier")) for item in offered)) or "none"
    raise FtrackdError(f"no plugin offers {action!r} for this selection; offered: {names}")


def _first_reply(session: Any, topic: str, data: Mapping[str, Any], wait_s: float) -> Any:
    replies = _collect(session, topic, data, wait_s, lambda _: True)
    if not replies:
        raise FtrackdError(f"no reply to {topic} within {wait_s:g} s")
    return replies[0]


def _collect(session: Any, topic: str, data: Mapping[str, Any], wait_s: float, is_enough: Any) -> list[Any]:
    replies: list[Any] = []
    done: list[bool] = []

    def on_reply(event: Any) -> None:
        replies.append(event["data"])
        if is_enough(event["data"]):
            done.append(True)

    session.event_hub.publish(Event(topic=topic, data=dict(data)), on_reply=on_reply)
    deadline = time.monotonic() + wait_s
    while not done and time.monotonic() < deadline:
        session.event_hub.wait(0.05)
    return replies


def _fill(items: Sequence[Mapping[str, Any]], given: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in items:
        name = item.get("name")
        if item.get("type") == "label" or not name:
            print(item.get("value") or item.get("label") or "")
        elif item.get("type") == "hidden":
            values[name] = item.get("value")
        else:
            values[name] = _value(item, given.get(name))
    return values


def _value(item: Mapping[str, Any], given: str | None) -> Any:
    label = item.get("label") or item["name"]
    if item.get("type") == "enumerator":
        return _choice(label, item, given)
    text = given if given is not None else typer.prompt(label, default=str(item.get("value") or ""))
    if item.get("type") == "boolean":
        return text.lower() in ("1", "true", "yes", "on")
    if item.get("type") == "number":
        try:
            return json.loads(text or "0")
        except ValueError as error:
            raise FtrackdError(f"{label}: {text!r} is not a number") from error
    return text


def _choice(label: str, item: Mapping[str, Any], given: str | None) -> Any:
    choices = item.get("data") or []
    if given is None:
        print(f"{label}: {', '.join(str(choice['label']) for choice in choices)}")
        given = typer.prompt(label, default=str(item.get("value") or ""))
    wanted = [part.strip() for part in given.split(",")] if item.get("multi_select") else [given]
    picked = []
    for text in wanted:
        match = next((c["value"] for c in choices if text in (c["label"], str(c["value"]))), None)
        if match is None:
            raise FtrackdError(f"{label}: no choice is named {text!r}")
        picked.append(match)
    return picked if item.get("multi_select") else picked[0]


def _show(reply: Any) -> bool:
    if isinstance(reply, bool):
        reply = {"success": reply}
    if not isinstance(reply, Mapping):
        print_json(reply)
        return True
    print(reply.get("message") or json.dumps(reply))
    return bool(reply.get("success", True))
