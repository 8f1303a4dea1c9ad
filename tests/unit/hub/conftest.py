"""What the tests of the hub share."""

import pytest
from hypothesis import HealthCheck, settings

from ftrackd.api.event import _process

# A busy machine is no failure.
settings.register_profile("hub", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hub")


@pytest.fixture(autouse=True)
def no_hub_stays_connected():
    """End the hubs of a test that failed half-way, so that the next one isn't disturbed by them."""
    yield
    for hub in _process.members():
        hub.close()
