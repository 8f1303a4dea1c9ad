"""Rows of many shapes become the entities of a session."""

from typing import Any

import pytest

from ftrackd.api import exception
from ftrackd.api.session import Session

from .canned_server import CannedServer, rows


def _nested(entity_type: str, key: str, **values: Any) -> dict[str, Any]:
    return {"__entity_type__": entity_type, "id": key, **values}


def _answer(server: CannedServer, *data: dict[str, Any]) -> None:
    server.answer = lambda request: {**rows("Task"), "data": [dict(row) for row in data]}


def test_when_rows_are_of_several_types_then_they_stay_in_their_order(
    session: Session, server: CannedServer
) -> None:
    _answer(
        server,
        _nested("Task", "t1", name="a"),
        _nested("Shot", "s1", name="b"),
        {"count": 3},
        _nested("Task", "t2", name="c"),
        _nested("Shot", "s2", name="d"),
    )
    found = session.query("select name from TypedContext").all()
    assert found[2] == {"count": 3}
    del found[2]
    assert [(each.entity_type, each["name"]) for each in found] == [
        ("Task", "a"),
        ("Shot", "b"),
        ("Task", "c"),
        ("Shot", "d"),
    ]


def test_when_a_relation_has_values_of_all_kinds_then_each_row_has_its_own(
    session: Session, server: CannedServer
) -> None:
    _answer(
        server,
        _nested("Task", "t1", parent=_nested("Shot", "s1", name="shot")),
        _nested("Task", "t2", parent=None),
        _nested("Task", "t3", parent=_nested("Project", "p1", name="project")),
        _nested("Task", "t4", parent=_nested("Shot", "s1", name="shot", unheard_of=1)),
        _nested("Task", "t5"),
    )
    tasks = session.query("select parent.name from Task").all()
    server.calls.clear()
    shot, project = session.get("Shot", "s1"), session.get("Project", "p1")
    assert [task["parent"] for task in tasks[:4]] == [shot, None, project, shot]
    assert tasks[0]["parent"] is tasks[3]["parent"] is shot
    assert (shot["name"], project["name"]) == ("shot", "project")
    assert server.calls == []


def test_when_a_row_is_nested_and_found_then_both_are_one_object_with_all_values(
    session: Session, server: CannedServer
) -> None:
    _answer(
        server,
        _nested("Task", "t1", name="one", parent=_nested("Task", "t2", description="from a reference")),
        _nested("Task", "t2", name="two", children=[_nested("Task", "t1", bid=3.0)]),
    )
    one, two = session.query("Task").all()
    server.calls.clear()
    assert one["parent"] is two
    assert two["children"][0] is one
    assert (one["name"], one["bid"]) == ("one", 3.0)
    assert (two["name"], two["description"]) == ("two", "from a reference")
    assert server.calls == []


def test_when_collections_come_nested_then_each_owner_has_its_members_once(
    session: Session, server: CannedServer
) -> None:
    first, second = _nested("Note", "n1", content="first"), _nested("Note", "n2", content="second")
    _answer(
        server,
        _nested("Task", "t1", notes=[first, second, first]),
        _nested("Task", "t2", notes=[]),
        _nested("Task", "t3", notes=[second]),
    )
    tasks = session.query("select notes.content from Task").all()
    contents = [[note["content"] for note in task["notes"]] for task in tasks]
    assert contents == [["first", "second"], [], ["second"]]
    assert tasks[0]["notes"][1] is tasks[2]["notes"][0]


def test_when_known_entities_come_again_then_local_values_stay_and_the_rest_is_new(
    session: Session, server: CannedServer
) -> None:
    _answer(server, _nested("Task", "t1", name="old", bid=1.0, status=_nested("Status", "s1", name="open")))
    task = session.query("Task").first()
    task["name"] = "mine"
    assert task["status"]["name"] == "open"
    _answer(server, _nested("Task", "t1", name="new", bid=2.0, status=_nested("Status", "s2", name="done")))
    assert session.query("Task").first() is task
    assert (task["name"], task["bid"], task["status"]["name"]) == ("mine", 2.0, "done")
    session.rollback()
    assert task["name"] == "new"


def test_when_a_nested_row_is_of_no_known_type_then_the_error_names_it(
    session: Session, server: CannedServer
) -> None:
    _answer(server, _nested("Task", "t1", parent=_nested("Starship", "s1")))
    with pytest.raises(exception.UnrecognisedEntityTypeError, match="Starship"):
        session.query("Task").all()


def test_when_a_nested_row_lacks_its_key_then_the_error_says_so(
    session: Session, server: CannedServer
) -> None:
    _answer(server, _nested("Task", "t1", parent={"__entity_type__": "Shot", "name": "nobody"}))
    with pytest.raises(exception.ServerError, match="without its primary key"):
        session.query("Task").all()


def test_when_keys_are_no_text_or_several_then_rows_are_found_again(
    session: Session, server: CannedServer
) -> None:
    metadata = {"__entity_type__": "Metadata", "parent_id": "t1", "key": "k", "value": "v"}
    _answer(server, _nested("Task", "t1", metadata=[metadata]), _nested("Task", 7, name="seven"))  # type: ignore[arg-type]
    task, seven = session.query("Task").all()
    server.calls.clear()
    assert session.get("Metadata", ["t1", "k"])["value"] == "v"
    assert task["metadata"]["k"] == "v"
    assert session.get("Task", "7") is seven
    assert server.calls == []
