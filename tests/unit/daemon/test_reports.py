"""What operators read."""

import pytest

from ftrackd.daemon.reports import letter_document
from ftrackd.delivery.journal import DeadLetter

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
