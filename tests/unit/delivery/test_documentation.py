"""The manual and the public names agree with the code."""

import re
from pathlib import Path

import ftrackd.delivery
from ftrackd.delivery import failpoints
from ftrackd.delivery.ports import DeliveryListener
from ftrackd.settings import DeliverySettings

MANUAL = (Path(__file__).parents[3] / "docs" / "delivery.md").read_text()


def test_when_a_failpoint_exists_then_the_manual_lists_it_and_no_other():
    listed = re.findall(r"^\| `([a-z_.]+)` \|", MANUAL.split("## Faults on purpose")[1], re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == failpoints.NAMES


def test_when_a_failpoint_exists_then_the_code_passes_it():
    source = "".join(path.read_text() for path in Path(ftrackd.delivery.__file__).parent.glob("*.py"))
    assert set(re.findall(r'failpoint\("([a-z_.]+)"\)', source)) == failpoints.NAMES


def test_when_the_manual_names_a_setting_then_it_exists():
    known = set(DeliverySettings.model_fields)
    for name in (
        "retry_delay_s",
        "max_attempts",
        "intake_limit",
        "claim_batch",
        "on_park",
        "catch_up_limit_h",
    ):
        assert name in known
        assert f"`{name}" in MANUAL


def test_when_a_name_is_public_then_it_is_there():
    assert ftrackd.delivery.__all__ == sorted(ftrackd.delivery.__all__)
    assert all(hasattr(ftrackd.delivery, name) for name in ftrackd.delivery.__all__)


def test_when_a_listener_overrides_nothing_then_every_call_is_harmless():
    listener = DeliveryListener()
    listener.stored("e", ("p",))
    listener.closed([])
    listener.interactive_ended("p", b"{}", "expired", None)
