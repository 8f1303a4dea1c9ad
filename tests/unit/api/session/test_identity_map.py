"""One object for each entity, and no more of them than wanted."""

import gc
import weakref
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ftrackd.api._identity_map import IdentityMap
from ftrackd.api.cache import StringKeyMaker
from ftrackd.api.entity.base import Entity
from ftrackd.api.session import Session

from .canned_server import CannedServer, echo, rows


class Thing:
    """As little of an entity as the map needs."""

    def __init__(self, key: str) -> None:
        self.entity_type = "Thing"
        self.key = key
        self.pinned = False

    def _is_pinned(self) -> bool:
        return self.pinned

    def _map_key(self) -> str:
        return self.key

    def _primary_values(self) -> tuple[str]:
        return (self.key,)


class Machine(RuleBasedStateMachine):
    """Compares a bounded map with a dictionary of what is held or pinned."""

    def __init__(self) -> None:
        super().__init__()
        self.map = IdentityMap(StringKeyMaker().key)
        self.map.set_limit(4)
        self.held: dict[str, Any] = {}

    @rule(key=st.sampled_from("abcdefghijkl"), hold=st.booleans(), pin=st.booleans())
    def fetch(self, key: str, hold: bool, pin: bool) -> None:
        thing: Any = self.map.find("Thing", key)
        if thing is None:
            thing = Thing(key)
            self.map.add("Thing", key, thing)
        assert self.held.get(key, thing) is thing
        thing.pinned = thing.pinned or pin
        if hold or thing.pinned:
            self.held[key] = thing

    @rule(key=st.sampled_from("abcdefghijkl"))
    def discard(self, key: str) -> None:
        self.map.discard("Thing", key)
        self.held.pop(key, None)

    @rule(key=st.sampled_from("abcdefghijkl"))
    def let_go(self, key: str) -> None:
        if key in self.held and not self.held[key].pinned:
            del self.held[key]

    @rule()
    def sweep(self) -> None:
        self.map.sweep()
        pinned = sum(thing.pinned for thing in self.held.values())
        assert len(self.map) <= max(4 * 1.25, 4 + pinned + 1)

    @invariant()
    def held_entities_are_found(self) -> None:
        for key, thing in self.held.items():
            assert self.map.peek("Thing", key) is thing
            assert self.map.get(f"('Thing', ['{key}'])") is thing


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestMachine = Machine.TestCase


def _many(server: CannedServer, session: Session, start: int, count: int = 50) -> list[Any]:
    server.answer = lambda request: rows(
        "Task",
        *(
            {"id": f"t{n}", "name": f"n{n}", "parent": {"__entity_type__": "Project", "id": "p"}}
            for n in range(start, start + count)
        ),
    )
    return session.query("Task").all()


def test_when_there_is_no_limit_then_everything_stays(session: Session, server: CannedServer) -> None:
    _many(server, session, 0)
    reference = weakref.ref(session.get("Task", "t1"))
    gc.collect()
    assert reference() is not None


def test_when_there_is_a_limit_then_months_of_rows_do_not_grow_the_session(
    session: Session, server: CannedServer
) -> None:
    session.identity_map_limit = 100
    for start in range(0, 5000, 50):
        _many(server, session, start)
    gc.collect()
    assert sum(1 for _ in session._identity_map.entities()) <= 125
    server.calls.clear()
    assert session.get("Task", "t4999")["name"] == "n4999"
    assert server.calls == []


def test_when_rows_refer_to_each_other_then_they_are_still_let_go(
    session: Session, server: CannedServer
) -> None:
    """Counting references would keep a parent and its children alive for ever."""
    session.identity_map_limit = 10
    server.answer = lambda request: rows(
        "Folder",
        {
            "id": "f",
            "children": [
                {"__entity_type__": "Task", "id": "c", "parent": {"__entity_type__": "Folder", "id": "f"}}
            ],
        },
    )
    reference = weakref.ref(session.query("Folder").first())
    for start in range(0, 500, 50):
        _many(server, session, start)
    gc.collect()
    assert reference() is None


def test_when_somebody_holds_an_entity_then_it_stays_the_one_object(
    session: Session, server: CannedServer
) -> None:
    session.identity_map_limit = 10
    held = _many(server, session, 0)[0]
    for start in range(50, 1000, 50):
        _many(server, session, start)
    assert session.get("Task", "t0") is held
    assert _many(server, session, 0)[0] is held


def test_when_an_entity_is_configured_or_changed_then_it_is_never_let_go(
    session: Session, server: CannedServer
) -> None:
    session.identity_map_limit = 10
    session.create("Location", {"id": "l1", "name": "studio"}, reconstructing=True).priority = 1
    _many(server, session, 0)[3]["name"] = "changed"
    origin = session.get("Location", "ce9b348f-8809-11e3-821c-20c9d081909b").accessor
    for start in range(50, 1000, 50):
        _many(server, session, start)
    gc.collect()
    assert session.get("Location", "l1").priority == 1
    assert session.get("Location", "ce9b348f-8809-11e3-821c-20c9d081909b").accessor is origin
    assert session.get("Task", "t3")["name"] == "changed"
    session.rollback()


def test_when_more_are_changed_than_may_stay_then_not_every_answer_looks_at_them(
    session: Session, server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.identity_map_limit = 100
    for number in range(400):
        session.create("Task", {"name": str(number)})
    looks = Counter[str]()
    is_pinned = Entity._is_pinned

    def look(entity: Entity) -> bool:
        looks["all"] += 1
        return is_pinned(entity)

    monkeypatch.setattr(Entity, "_is_pinned", look)
    for start in range(0, 3000, 10):
        _many(server, session, start, 10)
    assert looks["all"] < 300 * 200
    session.rollback()
    for start in range(3000, 4000, 10):
        _many(server, session, start, 10)
    gc.collect()
    assert sum(1 for _ in session._identity_map.entities()) <= 125


def test_when_the_limit_is_lifted_then_what_is_left_stays(session: Session, server: CannedServer) -> None:
    session.identity_map_limit = 10
    held = _many(server, session, 0)
    session.identity_map_limit = None
    keys = [task["id"] for task in held]
    del held
    gc.collect()
    server.calls.clear()
    assert [session.get("Task", key)["id"] for key in keys] == keys
    assert server.calls == []
    with pytest.raises(ValueError, match="at least 1"):
        session.identity_map_limit = 0


def test_when_an_entity_is_fetched_again_then_it_is_the_same_object_with_new_values(
    session: Session, server: CannedServer
) -> None:
    server.answer = lambda request: rows("Task", {"id": "t1", "name": "old"})
    task = session.query("Task").first()
    server.answer = lambda request: rows("Task", {"id": "t1", "name": "new"})
    assert session.query("Task").first() is task
    assert task["name"] == "new"


def test_when_an_entity_was_deleted_then_it_is_not_served_any_more(
    session: Session, server: CannedServer
) -> None:
    server.answer = lambda request: rows("Task", {"id": "t1", "name": "old"})
    task = session.query("Task").first()
    server.answer = lambda request: (
        {"action": "delete", "data": True} if request["action"] == "delete" else rows("Task")
    )
    session.delete(task)
    session.commit()
    assert session.get("Task", "t1") is None


def test_when_the_server_makes_another_type_of_it_then_the_object_follows(
    session: Session, server: CannedServer
) -> None:
    """Created as Component, answered as FileComponent: still one object."""
    component = session.create("Component", {"name": "main"})
    server.answer = lambda request: {
        "action": "create",
        "data": {
            "__entity_type__": "FileComponent",
            "id": component["id"],
            "name": "main",
            "system_type": "file",
        },
    }
    session.commit()
    assert component.entity_type == "FileComponent"
    assert session.get("FileComponent", component["id"]) is component
    assert component["system_type"] == "file"


def test_when_a_key_has_several_values_then_all_are_needed(session: Session, server: CannedServer) -> None:
    server.answer = lambda request: rows("Metadata", {"parent_id": "p", "key": "k", "value": "v"})
    found = session.get("Metadata", ["p", "k"])
    assert found["value"] == "v"
    server.calls.clear()
    assert session.get("Metadata", {"parent_id": "p", "key": "k"}.values()) is found
    assert server.calls == []
    with pytest.raises(ValueError, match="composed of 2 values"):
        session.get("Metadata", "p")
    with pytest.raises(ValueError, match="composed of 1 values"):
        session.get("Task", ["a", "b"])


def test_when_a_key_has_quotes_then_the_query_escapes_them(session: Session, server: CannedServer) -> None:
    assert session.get("Task", 'a" or name is "x') is None
    assert server.expressions[-1].endswith(r'where (id is "a\" or name is \"x") offset 0 limit 500')
    with pytest.raises(ValueError, match="ends with a backslash"):
        session.get("Task", "a b\\")


def test_when_a_value_cannot_stand_in_a_query_then_ensure_changes_nothing(
    session: Session, server: CannedServer
) -> None:
    """Not even with a close match: a second ensure would make a second user."""
    server.calls.clear()
    with pytest.raises(ValueError, match="ends with a backslash"):
        session.ensure("User", {"username": "a studio\\", "first_name": "Jane"})
    assert server.calls == []
    assert len(session.recorded_operations) == 0
    assert (
        session.ensure("User", {"username": "jane", "first_name": "J\\"}, ["username"])["first_name"] == "J\\"
    )


def test_when_the_map_was_cleared_then_a_held_entity_still_shows_what_it_committed(
    session: Session, server: CannedServer
) -> None:
    """Clearing the local cache before each event is a habit; so is holding an entity over it."""
    server.answer = lambda request: rows("Task", {"id": "1", "name": "old"})
    held = session.query("select name from Task").one()
    session._local_cache.clear()
    server.answer = echo
    held["name"] = "new"
    session.commit()
    assert held["name"] == "new"
    found = session.get("Task", "1")
    assert found["name"] == "new"
    found["name"] = "newer"
    session.commit()
    assert found["name"] == "newer"


def test_when_deliveries_come_for_months_then_nothing_of_them_stays(
    session: Session, server: CannedServer
) -> None:
    """Each creates, changes, reads collections and commits, or leaves changes behind."""
    session.identity_map_limit = 100

    def deliver(number: int) -> None:
        tasks = _many(server, session, number * 50)
        server.answer = lambda request: echo(request)
        with session.unit_of_work(f"delivery {number}"):
            for task in tasks:
                task["description"] = "changed"
                assert task["parent"]["id"] == "p"
                with session.auto_populating(False):
                    assert list(task["notes"]) == []
                session.create("Note", {"content": task["name"]})
            if number % 2:
                session.commit()
        server.calls.clear()

    for number in range(4):
        deliver(number)
    gc.collect()
    before = len(gc.get_objects())
    for number in range(4, 44):
        deliver(number)
    gc.collect()
    assert sum(1 for _ in session._identity_map.entities()) <= 130
    assert session._units.default.changed == {}
    assert len(gc.get_objects()) - before < 2000
