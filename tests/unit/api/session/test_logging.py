import logging

import pytest

from ftrackd.api.logging import LazyLogMessage as L
from ftrackd.api.logging import deprecation_warning
from ftrackd.api.session import Session


def test_when_nobody_reads_a_message_then_it_is_not_formatted() -> None:
    class Costly:
        def __format__(self, spec: str) -> str:
            raise AssertionError("formatted")

    logger = logging.getLogger("ftrack_api.test")
    logger.setLevel(logging.INFO)
    logger.debug(L("{0}", Costly()))
    assert str(L("{0} has {count}", "Task", count=3)) == "Task has 3"


def test_when_something_old_is_called_then_it_warns_and_works() -> None:
    @deprecation_warning("use the other one")
    def old(value: int) -> int:
        return value + 1

    with pytest.warns(PendingDeprecationWarning, match="use the other one"):
        assert old(1) == 2
    assert old.__name__ == "old"


def test_when_sessions_log_then_they_use_the_names_people_configure(session: Session) -> None:
    assert session.logger.name == "ftrack_api.session.Session"
    assert session.event_hub.logger.name.startswith("ftrack_api.event.hub")
