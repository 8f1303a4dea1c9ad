"""Nobody's commit touches somebody else's changes, and nothing recorded is lost."""

import gc
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from ftrackd.api import exception, symbol
from ftrackd.api.session import Session

from .canned_server import CannedServer, echo, rows


def _task(session: Session, server: CannedServer, key: str = "t1") -> Any:
    server.answer = lambda request: rows("Task", {"id": key, "name": "anim", "description": "old"})
    task = session.query(f"select name from Task where id is {key}").one()
    server.answer = echo
    server.calls.clear()
    return task


def _in_threads(work: Callable[[int], None], count: int) -> None:
    """Run `work` in `count` threads to their ends, with the number of each, and raise what one raises."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def _in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread to its end and raise what it raises."""
    _in_threads(lambda number: work(), 1)


def test_when_a_unit_is_entered_then_its_changes_are_its_own(session: Session, server: CannedServer) -> None:
    task = _task(session, server)
    task["name"] = "script"
    with session.unit_of_work("lane") as unit:
        assert task["name"] == "anim"
        assert session.modified == []
        task["name"] = "lane"
        assert unit.pending_count == 1
        assert unit.describe() == "1 update of Task"
        session.commit()
        assert unit.pending_count == 0
    assert [batch[0]["entity_data"]["name"] for batch in server.calls] == ["lane"]
    assert task["name"] == "script"
    assert session.modified == [task]
    session.commit()
    assert server.calls[-1][0]["entity_data"]["name"] == "script"


def test_when_a_unit_ends_uncommitted_then_its_changes_are_gone(
    session: Session, server: CannedServer
) -> None:
    task = _task(session, server)
    with session.unit_of_work("lane") as unit:
        task["name"] = "lost"
        made = session.create("Task", {"id": "new"})
        assert unit.describe() == "1 update of Task, 1 creation of Task"
    assert task["name"] == "anim"
    assert task._local is None
    assert session.get("Task", "new") is None
    assert session.created == []
    assert made["id"] is not None
    assert all(batch[0]["action"] == "query" for batch in server.calls)


def test_when_a_unit_rolls_back_then_others_keep_their_changes(
    session: Session, server: CannedServer
) -> None:
    task = _task(session, server)
    task["description"] = "script"
    with session.unit_of_work("lane") as unit:
        task["name"] = "lane"
        unit.rollback()
        assert (task["name"], unit.pending_count) == ("anim", 0)
        session.rollback()
    assert task["description"] == "script"


def test_when_a_unit_was_used_then_the_next_one_has_nothing_of_it(
    session: Session, server: CannedServer
) -> None:
    task = _task(session, server)
    for use in (lambda: None, lambda: session.create("Task"), lambda: session.recorded_operations.clear()):
        with session.unit_of_work("first") as first:
            mine = session.recorded_operations = type(first.operations)()
            use()
        with session.unit_of_work("second") as second:
            assert (second.name, second.pending_count, second.describe()) == ("second", 0, "nothing")
            assert second.operations is not mine
            task["name"] = "lost"
        with session.unit_of_work("third") as third:
            assert (task["name"], third.pending_count) == ("anim", 0)


def test_when_a_unit_ends_in_another_thread_then_that_is_no_error(session: Session) -> None:
    entered = session.unit_of_work("lane")
    entered.__enter__()
    _in_thread(lambda: entered.__exit__(None, None, None))
    with session.unit_of_work("next") as unit:
        assert session.recorded_operations is unit.operations
    assert session.recorded_operations is not unit.operations


def test_when_units_are_nested_then_the_inner_one_counts(session: Session) -> None:
    with session.unit_of_work("outer") as outer:
        session.create("Task")
        with session.unit_of_work("inner") as inner:
            session.create("Note")
            assert session.recorded_operations is inner.operations
        assert session.recorded_operations is outer.operations
        assert outer.pending_count == 1


def test_when_threads_have_units_then_each_sees_its_own_values(
    session: Session, server: CannedServer
) -> None:
    session.unit_of_work_per_thread = True
    task = _task(session, server)
    task["name"] = "main"
    seen = []

    def work() -> None:
        seen.append(task["name"])
        task["name"] = "thread"
        session.commit()
        seen.append(task["name"])

    _in_thread(work)
    assert seen == ["anim", "thread"]
    assert task["name"] == "main"
    assert len(session.recorded_operations) == 1


def test_when_a_script_uses_threads_then_they_share_one_unit(session: Session, server: CannedServer) -> None:
    """As it always was: a script's threads record into one stack that anybody commits."""
    task = _task(session, server)
    _in_thread(lambda: task.__setitem__("name", "thread"))
    assert task["name"] == "thread"
    session.commit()
    assert server.calls[-1][0]["entity_data"]["name"] == "thread"


def test_when_a_thread_ends_with_changes_then_they_are_reported_and_gone(
    session: Session, server: CannedServer, caplog: pytest.LogCaptureFixture
) -> None:
    session.unit_of_work_per_thread = True
    task = _task(session, server)
    with caplog.at_level(logging.WARNING, logger="ftrack_api"):
        _in_thread(lambda: task.__setitem__("name", "thread"))
        gc.collect()
    assert "Dropped uncommitted changes" in caplog.text
    assert "1 update of Task" in caplog.text
    assert not task._local


def test_when_settings_are_changed_in_a_thread_then_no_other_thread_inherits_them(session: Session) -> None:
    """Thread identifiers are used again; a new thread must not get a dead one's settings."""

    def switch_off() -> None:
        session.record_operations = False
        session.auto_populate = False

    found = []
    for _ in range(20):
        _in_thread(switch_off)
        _in_thread(lambda: found.append((session.record_operations, session.auto_populate)))
    assert set(found) == {(True, True)}


class _Pause:
    """Holds the server's answer to changes until a test lets it go."""

    def __init__(self, server: CannedServer) -> None:
        self.arrived = threading.Event()
        self.go = threading.Event()
        server.answer = self._answer

    def _answer(self, request: dict[str, Any]) -> Any:
        if request["action"] != "query":
            self.arrived.set()
            assert self.go.wait(20)
        return echo(request)


def test_when_changes_are_recorded_during_a_commit_then_they_wait_for_the_next(
    session: Session, server: CannedServer
) -> None:
    """The official client wipes them: nothing is sent and nothing raised."""
    task = _task(session, server)
    pause = _Pause(server)
    task["name"] = "first"
    committing = threading.Thread(target=session.commit)
    committing.start()
    assert pause.arrived.wait(20)
    task["description"] = "meanwhile"
    task["name"] = "second"
    pause.go.set()
    committing.join(20)
    assert (task["name"], task["description"]) == ("second", "meanwhile")
    assert session.modified == [task]
    assert len(session.recorded_operations) == 2
    session.commit()
    sent = [batch[0]["entity_data"] for batch in server.calls]
    assert [data.get("name") for data in sent] == ["first", "second"]
    assert sent[1]["description"] == "meanwhile"


def test_when_a_collection_changes_during_a_commit_then_the_change_waits(
    session: Session, server: CannedServer
) -> None:
    task = session.create("Task", {"name": "x"})
    first = session.create("Scope", {"name": "a"})
    task["scopes"].append(first)
    pause = _Pause(server)
    committing = threading.Thread(target=session.commit)
    committing.start()
    assert pause.arrived.wait(20)
    second = session.create("Scope", {"name": "b"})
    task["scopes"].append(second)
    pause.go.set()
    committing.join(20)
    assert list(task["scopes"]) == [first, second]
    session.commit()
    assert [scope["id"] for scope in server.calls[-1][-1]["entity_data"]["scopes"]] == [
        first["id"],
        second["id"],
    ]


def test_when_many_threads_use_one_session_then_every_operation_is_sent_exactly_once(
    session: Session, server: CannedServer
) -> None:
    threads, rounds = 6, 25
    names = [f"{number}-{turn}" for number in range(threads) for turn in range(rounds)]

    def work(number: int) -> None:
        for turn in range(rounds):
            session.create("Task", {"name": f"{number}-{turn}"})
            if turn % 3 == number % 3:
                session.commit()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    session.commit()
    sent = Counter(request["entity_data"]["name"] for batch in server.calls for request in batch)
    assert sent == Counter(names)
    assert len(session.recorded_operations) == 0
    assert session.created == []


def test_when_some_commits_fail_then_still_every_operation_is_sent_once(
    session: Session, server: CannedServer
) -> None:
    accepted: Counter[str] = Counter()
    refusals = iter([True, False] * 1000)
    guard = threading.Lock()

    def answer(request: dict[str, Any]) -> Any:
        with guard:
            if next(refusals):
                return {"exception": "ValidationError", "content": "not now", "error_code": None}
            accepted[request["entity_data"]["name"]] += 1
        return echo(request)

    # One request for each batch, so that the refusal of a part is the refusal of the whole.
    server.answer = answer

    def work(number: int) -> None:
        with session.unit_of_work(f"lane {number}"):
            for turn in range(20):
                session.create("Task", {"name": f"{number}-{turn}"})
                while len(session.recorded_operations):
                    try:
                        session.commit()
                    except exception.ServerError:
                        continue

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert accepted == Counter(f"{number}-{turn}" for number in range(4) for turn in range(20))


def test_when_the_server_refuses_then_everything_stays_for_the_caller(
    session: Session, server: CannedServer
) -> None:
    task = _task(session, server)
    made = session.create("Task", {"name": "new"})
    task["name"] = "changed"
    server.answer = lambda request: {"exception": "ValidationError", "content": "no", "error_code": "bad"}
    with pytest.raises(exception.ServerError):
        session.commit()
    assert (session.created, session.modified) == ([made], [task])
    assert (made["name"], task["name"]) == ("new", "changed")
    session.rollback()
    assert task["name"] == "anim"
    assert (session.created, session.modified) == ([], [])
    server.answer = echo
    assert (made["name"], list(made["children"])) == ("new", [])
    assert session.get("Task", made["id"]) is None
    assert {made: 1}[made] == 1
    server.calls.clear()
    session.commit()
    assert server.calls == []


def test_when_nothing_remains_to_send_then_nothing_stays_recorded(
    session: Session, server: CannedServer
) -> None:
    """The official client keeps such operations for ever."""
    made = session.create("Task", {"id": "new"})
    session.delete(made)
    task = _task(session, server)
    del task["name"]
    session.commit()
    assert server.calls == []
    assert len(session.recorded_operations) == 0
    assert session.deleted == []
    assert session.get("Task", "new") is None


def test_when_operations_are_pushed_by_hand_then_commit_sends_them(
    session: Session, server: CannedServer
) -> None:
    from ftrackd.api import operation

    key = {"configuration_id": "c1", "entity_id": "t1"}
    session.recorded_operations.push(
        operation.UpdateEntityOperation("ContextCustomAttributeValue", key, "value", symbol.NOT_SET, 7)
    )
    session.commit()
    assert server.calls == [
        [
            {
                "action": "update",
                "entity_type": "ContextCustomAttributeValue",
                "entity_key": ["c1", "t1"],
                "entity_data": {"__entity_type__": "ContextCustomAttributeValue", "value": 7},
            }
        ]
    ]


def test_when_one_entity_of_thousands_changes_then_only_it_is_touched(
    session: Session, server: CannedServer
) -> None:
    """The cost of a commit does not depend on how much is cached."""
    server.answer = lambda request: rows("Task", *({"id": f"t{n}", "name": "x"} for n in range(500)))
    tasks = session.query("select name from Task").all()
    touched = []
    server.answer = echo
    original = type(tasks[0])._drop_unit
    try:
        type(tasks[0])._drop_unit = lambda self, token: (touched.append(self), original(self, token))[1]
        tasks[7]["name"] = "y"
        session.commit()
    finally:
        del type(tasks[0])._drop_unit
    assert touched == [tasks[7]]


def test_when_nothing_is_recorded_then_a_commit_changes_nothing(
    session: Session, server: CannedServer
) -> None:
    """Values set without recording stay, as do collections that somebody holds."""
    task = _task(session, server)
    members = task["children"]
    with session.operation_recording(False):
        task["name"] = "only here"
    server.calls.clear()
    session.commit()
    assert server.calls == []
    assert task["name"] == "only here"
    assert task["children"] is members
    session.rollback()
    assert task["name"] == "anim"


def test_when_a_unit_ends_uncommitted_then_what_was_created_can_still_be_named(
    session: Session, server: CannedServer
) -> None:
    task = _task(session, server)
    with session.unit_of_work("callback"):
        made = session.create("Task", {"name": "new", "parent": task, "children": [task]})
    assert (made["name"], made["parent"], list(made["children"])) == ("new", task, [task])
    assert session.created == []


def test_when_an_entity_is_created_during_a_commit_then_it_keeps_its_values(
    session: Session, server: CannedServer
) -> None:
    session.create("Task", {"name": "first"})
    pause = _Pause(server)
    committing = threading.Thread(target=session.commit)
    committing.start()
    assert pause.arrived.wait(20)
    made = session.create("Task", {"name": "meanwhile"})
    before = made["priority_id"]
    pause.go.set()
    committing.join(20)
    assert (made["name"], made["priority_id"]) == ("meanwhile", before)
    assert session.created == [made]


@pytest.mark.parametrize("intrusion", ["commit", "rollback"])
def test_when_another_thread_comes_in_the_midst_of_a_creation_then_that_is_sent_whole(
    session: Session, server: CannedServer, intrusion: str
) -> None:
    """Half of it the server would refuse, and with it all that the other thread did."""
    task = _task(session, server)

    class Intruder(Mapping[str, str]):
        """Metadata that lets another thread change and commit something while it is read."""

        def __getitem__(self, key: str) -> str:
            def intrude() -> None:
                task["name"] = "other"
                getattr(session, intrusion)()

            _in_thread(intrude)
            return "value"

        def __iter__(self) -> Iterator[str]:
            return iter(["key"])

        def __len__(self) -> int:
            return 1

    made = session.create("Task", {"name": "new", "metadata": Intruder(), "parent": task})
    assert (session.created[0], made["name"]) == (made, "new")
    session.commit()
    *earlier, last = [batch for batch in server.calls if batch[0]["action"] != "query"]
    sent = [request["entity_data"]["name"] for batch in earlier for request in batch]
    assert sent == (["other"] if intrusion == "commit" else [])
    assert (last[0]["action"], last[0]["entity_data"]["name"]) == ("create", "new")
    assert {"metadata", "parent"} <= {name for request in last for name in request["entity_data"]}


@pytest.mark.usefixtures("frantic")
def test_when_threads_add_to_one_collection_then_all_members_stay(
    session: Session, server: CannedServer
) -> None:
    """Also when each came by the collection while the others did."""
    for number in range(20):
        task = session.create("Task", {"id": f"t{number}"}, reconstructing=True)
        task.attributes.get("scopes").set_remote_value(task, [])
        start = threading.Barrier(4)

        def work(thread: int, task: Any = task, start: threading.Barrier = start) -> None:
            start.wait(20)
            for turn in range(5):
                task["scopes"].append(
                    session.create("Scope", {"id": f"{thread}-{turn}"}, reconstructing=True)
                )

        _in_threads(work, 4)
        assert len(task["scopes"]) == 20
        last = list(session.recorded_operations)[-1]
        assert len(last.new_value) == 20  # type: ignore[attr-defined]  # an update


@pytest.mark.usefixtures("frantic")
def test_when_collections_are_read_during_commits_then_commits_do_not_mind(
    session: Session, server: CannedServer
) -> None:
    tasks = [session.create("Task", {"id": f"t{number}"}, reconstructing=True) for number in range(300)]
    for task in tasks:
        task.attributes.get("scopes").set_remote_value(task, [])
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            for task in tasks:
                list(task["scopes"])

    reading = threading.Thread(target=read)
    reading.start()
    try:
        for turn in range(60):
            tasks[0]["name"] = str(turn)
            session.commit()
    finally:
        ended.set()
        reading.join(20)
    assert len(server.calls) == 60
