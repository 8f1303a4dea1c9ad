"""What the tests of the hub share."""

import pytest

from ftrackd.api.event import _process


@pytest.fixture(autouse=True)
def no_hub_stays_connected():
    """End the hubs of a test that failed half-way, so that the next one isn't disturbed by them."""
    yield
    for hub in _process.members():
        hub.close()
