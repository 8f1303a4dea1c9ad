"""What operators read."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ftrackd.daemon.errors import DaemonError
from ftrackd.daemon.lifecycle import Lifecycle
from ftrackd.daemon.parts import Parts
from ftrackd.daemon.reports import Reports, letter_document
from ftrackd.delivery.journal import DeadLetter, JournalStats, PluginBacklog

STACK = 'Thread 0x7f (most recent call first):\n  File "<frozen runpy>", line 198 in _run_module_as_main'
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in cb\nValueError: as asked'


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (f"a callback ran longer than 2 s\n{STACK}", "a callback ran longer than 2 s"),
        (TRACEBACK, "ValueError: as asked"),
        ("its process died by SIGSEGV", "its process died by SIGSEGV"),
        ("", ""),
    ],
)
def test_when_a_dead_letter_is_listed_then_the_reason_says_what_happened(error: str, reason: str) -> None:
    letter = DeadLetter(
        delivery_id=1,
        plugin="p",
        event_id="e",
        topic="t",
        payload=b"{}",
        attempts=1,
        error=error,
        error_id=None,
        held=False,
        received_at=0.0,
        parked_at=0.0,
    )
    assert letter_document(letter)["reason"] == reason


class _Kept:
    """Delivery with one plugin's backlog."""

    def __init__(self, **counts: int) -> None:
        none = {"ready": 0, "claimed": 0, "delayed": 0, "held": 0, "parked": 0}
        self.backlog = PluginBacklog(plugin="gone", oldest_at=None, **{**none, **counts})
        self.forgotten: list[str] = []

    def stats(self) -> JournalStats:
        return JournalStats(events=1, size_bytes=1, plugins=(self.backlog,))

    def forget(self, plugin: str) -> int:
        self.forgotten.append(plugin)
        return self.backlog.waiting + self.backlog.parked


def _reports(kept: _Kept, *, is_live: bool = True) -> Reports:
    lifecycle = Lifecycle(lambda *_: None)
    lifecycle.connecting()
    if is_live:
        lifecycle.ready()
    parts: Any = SimpleNamespace(lifecycle=lifecycle, delivery=kept, host=SimpleNamespace(statuses=list))
    return Reports(cast(Parts, parts), lends_credentials=False)


def test_when_forgotten_then_what_waits_and_its_dead_letters_are_closed() -> None:
    kept = _Kept(ready=1, delayed=2, held=4, parked=8)
    assert _reports(kept).forget({"plugin": "gone", "dry_run": True}) == (
        200,
        {"plugin": "gone", "count": 15},
    )
    assert kept.forgotten == []
    assert _reports(kept).forget({"plugin": "gone"}) == (200, {"plugin": "gone", "count": 15})
    assert kept.forgotten == ["gone"]


def test_while_the_plugins_are_still_looked_for_then_nothing_is_forgotten() -> None:
    kept = _Kept(ready=1)
    with pytest.raises(DaemonError, match="is connecting and does not know its plugins"):
        _reports(kept, is_live=False).forget({"plugin": "gone"})
    assert kept.forgotten == []


def test_while_a_removed_plugin_still_runs_something_then_nothing_is_forgotten() -> None:
    kept = _Kept(ready=1, claimed=1)
    with pytest.raises(DaemonError, match="still runs"):
        _reports(kept).forget({"plugin": "gone"})
    assert kept.forgotten == []
