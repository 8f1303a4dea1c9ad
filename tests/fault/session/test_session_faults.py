"""The session against a sandbox that fails: nothing recorded is lost, nothing is done twice."""

import threading
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest

from ftrackd.api import _session_request, exception
from ftrackd.api.session import Session
from ftrackd.testing.sandbox import SandboxProcess


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """A sandbox of its own, because its faults are nobody else's, with rows that outlast a restart."""
    database = f"sqlite:///{tmp_path_factory.mktemp('world')}/rows.db"
    with SandboxProcess(seed="minimal", database=database) as process:
        yield process


@pytest.fixture
def session(world: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(_session_request, "BACK_OFF_BASE_S", 0.02)
    made = Session(world.url, world.api_key, world.api_user, plugin_paths=[], schema_cache_path=False)
    try:
        yield made
    finally:
        world.clear_faults()
        made.rollback()
        made.close()


def _names(world: SandboxProcess, prefix: str) -> Counter[str]:
    """Return how often each scope with `prefix` is on the server, asked without the client library."""
    expression = f'select name from Scope where name like "{prefix}%"'
    rows = world.call({"action": "query", "expression": expression}, headers=_credentials(world))[0]["data"]
    return Counter(row["name"] for row in rows)


def _credentials(world: SandboxProcess) -> dict[str, str]:
    return {
        "ftrack-user": world.api_user,
        "ftrack-api-key": world.api_key,
        "content-type": "application/json",
    }


def test_when_a_proxy_fails_in_passing_then_queries_do_not_notice(
    world: SandboxProcess, session: Session
) -> None:
    world.fault("fail_requests", path="/api", status=502, count=2)
    assert session.query("Status").first() is not None


def test_when_connections_are_cut_then_queries_do_not_notice(world: SandboxProcess, session: Session) -> None:
    world.fault("drop_requests", path="/api", count=2)
    assert session.query("Status").first() is not None


@pytest.mark.parametrize("fault", ["fail_requests", "drop_requests"])
def test_when_a_commit_fails_then_it_can_be_repeated_by_the_caller(
    world: SandboxProcess, session: Session, fault: str
) -> None:
    name = f"once_{uuid.uuid4().hex}"
    session.create("Scope", {"name": name})
    world.fault(fault, path="/api", count=1)
    with pytest.raises((exception.ServerError, exception.NetworkError)):
        session.commit()
    assert len(session.recorded_operations) == 1
    assert _names(world, name) == {}
    session.commit()
    assert _names(world, name) == {name: 1}


def test_when_only_the_answer_is_lost_then_nothing_is_done_twice(
    world: SandboxProcess, session: Session
) -> None:
    """New entities get their id here: the second time the server knows it and refuses."""
    name = f"twice_{uuid.uuid4().hex}"
    session.create("Scope", {"name": name})
    world.fault("drop_requests", path="/api", count=1, after=True)
    with pytest.raises(exception.ServerConnectionError) as caught:
        session.commit()
    assert caught.value.sent is True
    assert _names(world, name) == {name: 1}
    with pytest.raises(exception.ServerError):
        session.commit()
    session.rollback()
    assert _names(world, name) == {name: 1}


def test_when_the_server_is_killed_then_the_session_goes_on_with_the_next_one(
    world: SandboxProcess, session: Session
) -> None:
    name = f"killed_{uuid.uuid4().hex}"
    scope = session.create("Scope", {"name": name})
    world.kill()
    with pytest.raises(exception.NetworkError):
        session.commit()
    assert session.created == [scope]
    world.restart(kill=True)
    session.commit()
    assert _names(world, name) == {name: 1}


def test_when_threads_hammer_one_session_then_each_row_is_there_exactly_once(
    world: SandboxProcess, session: Session
) -> None:
    """With a share of the commits failing, shared and own units of work, and real rows to count."""
    prefix = uuid.uuid4().hex
    world.fault("fail_requests", path="/api", share=0.2, status=503)

    def commit() -> None:
        while len(session.recorded_operations):
            try:
                session.commit()
            except (exception.ServerError, exception.NetworkError):
                continue

    def shared(number: int) -> None:
        for turn in range(15):
            session.create("Scope", {"name": f"{prefix}_{number}_{turn}"})
            if turn % 4 == 0:
                commit()
        commit()

    def own(number: int) -> None:
        with session.unit_of_work(f"lane {number}"):
            shared(number)

    threads = [threading.Thread(target=shared if number % 2 else own, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    commit()
    world.clear_faults()
    assert _names(world, prefix) == Counter(
        f"{prefix}_{number}_{turn}" for number in range(4) for turn in range(15)
    )
