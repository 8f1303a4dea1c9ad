"""Looking for garbage waits while an answer becomes objects."""

import gc
from collections.abc import Iterator

import pytest

from ftrackd.api._collector import CollectorPaused


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    gc.enable()


def test_when_an_answer_is_read_then_no_garbage_is_looked_for_until_its_end() -> None:
    looked: list[str] = []

    def note(phase: str, _: object) -> None:
        looked.append(phase)

    gc.callbacks.append(note)
    try:
        with CollectorPaused(), CollectorPaused():
            kept = [[number] for number in range(50_000)]
            assert looked == []
        further = [[number] for number in range(50_000)]
        assert looked, "and then it is looked for again"
    finally:
        gc.callbacks.remove(note)
    assert len(kept) == len(further)


def test_when_it_fails_within_then_garbage_is_looked_for_again() -> None:
    with pytest.raises(KeyError), CollectorPaused():
        raise KeyError
    assert gc.isenabled()


def test_when_somebody_switched_the_collector_off_then_it_stays_off() -> None:
    gc.disable()
    with CollectorPaused():
        pass
    assert not gc.isenabled()
