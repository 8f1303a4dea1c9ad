"""Reasons for silence that are read from what a process left behind."""

from __future__ import annotations

from pathlib import Path

import ftrackd
from ftrackd.hosting._silence import explain_stop, registered_twice
from ftrackd.hosting.model import PluginSubscription

API = Path(ftrackd.__file__).parent / "api"
REASON = "import or register() did not return within 30 s"


def test_when_it_hangs_then_the_place_is_named_and_waiting_is_recognised() -> None:
    frame = '  File "/studio/waits.py", line 4 in register'
    head = "Thread 0x01 (most recent call first):"
    place = 'at "/studio/waits.py", line 4 in register'
    assert explain_stop(REASON, f"{head}\n{frame}") == f"{REASON}, {place}"
    waiting = f'{head}\n  File "{API}/event/hub.py", line 7 in wait\n{frame}'
    assert explain_stop(REASON, waiting).startswith(f"{REASON}, {place}: event_hub.wait() is for scripts")
    assert explain_stop(REASON, "") == REASON
    assert explain_stop("its process ended with code 4", "").startswith("while it was loaded its process")


def test_when_everything_of_a_file_is_there_twice_then_it_was_registered_twice() -> None:
    def subscription(expression: str, file: str) -> PluginSubscription:
        return PluginSubscription({"id": "x"}, expression, callback="handle:1", file=file)

    location = [subscription("topic=ftrack.api.session.configure-location", "location.py")] * 2
    actions = [
        *[subscription("topic=ftrack.action.discover", "action.py")] * 2,
        subscription("topic=ftrack.action.launch and data.actionIdentifier=a", "action.py"),
        subscription("topic=ftrack.action.launch and data.actionIdentifier=b", "action.py"),
    ]
    assert registered_twice(actions) == []
    assert registered_twice([*actions, *location]) == ["topic=ftrack.api.session.configure-location"]
