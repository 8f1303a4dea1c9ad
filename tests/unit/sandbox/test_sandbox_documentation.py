"""docs/sandbox.md names what there is."""

import re
from pathlib import Path

import pytest

from ftrackd.sandbox.faults import HUB_FAULTS, REQUEST_FAULTS
from ftrackd.sandbox.main import build_parser
from ftrackd.sandbox.rpc.endpoint import ACTIONS, READING

TEXT = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text()


@pytest.mark.parametrize("fault", REQUEST_FAULTS + HUB_FAULTS)
def test_when_there_is_a_fault_then_it_is_documented(fault):
    assert f"`{fault}`" in TEXT


@pytest.mark.parametrize("option", re.findall(r"(--[a-z-]+)", build_parser().format_usage()))
def test_when_there_is_an_option_then_it_is_documented(option):
    assert option in TEXT or option == "--log-level"


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_when_there_is_an_action_then_it_is_documented(action):
    assert f"`{action}`" in TEXT or "security_role" in action or action == "generate_signed_url"


def test_reading_actions_exist():
    assert set(ACTIONS) >= READING
