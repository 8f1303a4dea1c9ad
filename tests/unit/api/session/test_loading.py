"""No N+1: what a query did not project is loaded for all entities that came with it."""

import re
from typing import Any

import pytest

from ftrackd.api import exception, symbol
from ftrackd.api.session import Session

from .canned_server import CannedServer, echo, rows


class World:
    """Tasks with statuses and children, as a server that understands the few queries loading makes."""

    def __init__(self, count: int) -> None:
        self.tasks = {
            f"t{number}": {
                "id": f"t{number}",
                "name": f"task {number}",
                "sort": number,
                "status": {"__entity_type__": "Status", "id": f"s{number % 7}"},
                "children": [{"__entity_type__": "Task", "id": f"c{number}"}],
            }
            for number in range(count)
        }
        self.statuses = {
            f"s{number}": {"id": f"s{number}", "name": f"status {number}"} for number in range(7)
        }

    def __call__(self, request: dict[str, Any]) -> Any:
        expression = request["expression"]
        match = re.match(r"select (.*?) from (\w+)(.*)", expression)
        assert match is not None
        source = self.tasks if match[2] == "Task" else self.statuses
        keys = re.findall(r'"([^"]+)"', match[3]) if " in " in match[3] else list(source)
        names = {name.strip().split(".")[0] for name in match[1].split(",")} | {"id"}
        start = re.search(r"offset (\d+)", expression)
        offset = int(start[1]) if start else 0
        limit = int(re.search(r"limit (\d+)", expression)[1])  # type: ignore[index]
        found = [source[key] for key in keys if key in source]
        page = [{name: row[name] for name in names & row.keys()} for row in found[offset : offset + limit]]
        following = offset + limit if len(page) == limit else None
        return rows(match[2], *page, next_offset=following)


@pytest.fixture
def world(server: CannedServer) -> World:
    server.answer = World(100)
    return server.answer


def test_when_a_hundred_tasks_are_asked_for_their_status_then_three_calls_are_made(
    world: World, session: Session, server: CannedServer
) -> None:
    """The official client makes 201."""
    names = [task["status"]["name"] for task in session.query("Task")]
    assert names == [f"status {number % 7}" for number in range(100)]
    assert len(server.calls) == 3


def test_when_a_collection_is_read_on_one_of_many_then_it_is_loaded_for_one(
    world: World, session: Session, server: CannedServer
) -> None:
    """The descendants of one project must not fetch those of all projects."""
    tasks = session.query("Task").all()
    assert len(tasks[5]["children"]) == 1
    assert re.findall(r'"t\d+"', server.expressions[-1]) == ['"t5"']


def test_when_a_collection_is_read_in_a_loop_then_a_handful_of_calls_is_made(
    world: World, session: Session, server: CannedServer
) -> None:
    for task in session.query("Task"):
        assert [child["id"] for child in task["children"]] == [task["id"].replace("t", "c")]
    assert len(server.calls) <= 5


def test_when_an_entity_came_alone_then_it_is_loaded_alone(
    world: World, session: Session, server: CannedServer
) -> None:
    session.query("Task").all()
    task = session.query('select name from Task where id in ("t3")').one()
    assert task["sort"] == 3
    assert re.findall(r'"t\d+"', server.expressions[-1]) == ['"t3"']


def test_when_values_are_there_or_set_here_then_they_are_kept(
    world: World, session: Session, server: CannedServer
) -> None:
    tasks = session.query("select id, name from Task").all()
    tasks[1]["sort"] = -1
    assert tasks[0]["sort"] == 0
    assert tasks[1]["sort"] == -1
    assert tasks[1].attributes.get("sort").get_remote_value(tasks[1]) == 1


def test_when_a_large_result_is_read_then_it_is_loaded_in_chunks(
    session: Session, server: CannedServer
) -> None:
    server.answer = World(1200)
    tasks = session.query("Task", page_size=2000).all()
    server.calls.clear()
    assert [task["sort"] for task in tasks] == list(range(1200))
    sizes = [len(re.findall(r'"t\d+"', expression)) for expression in server.expressions]
    assert sizes == [500, 500, 200]


def test_when_the_server_gives_no_value_then_only_the_first_question_is_for_all(
    world: World, session: Session, server: CannedServer
) -> None:
    tasks = session.query("Task").all()
    server.calls.clear()
    assert tasks[0]["description"] is symbol.NOT_SET
    assert tasks[1]["description"] is symbol.NOT_SET
    sizes = [len(re.findall(r'"t\d+"', expression)) for expression in server.expressions]
    assert sizes == [100, 1]


def test_when_many_entities_were_created_then_reading_them_takes_one_call(
    session: Session, server: CannedServer
) -> None:
    tasks = [session.create("Task", {"id": f"t{number}", "name": "x"}) for number in range(50)]
    world = World(50)
    server.answer = lambda request: echo(request) if request["action"] == "create" else world(request)
    session.commit()
    server.calls.clear()
    assert [task["sort"] for task in tasks] == list(range(50))
    assert len(server.calls) == 1


def test_when_many_entities_expired_then_reading_them_takes_one_call(
    world: World, session: Session, server: CannedServer
) -> None:
    tasks = session.query("select sort from Task").all()
    assert tasks[0]["name"] == "task 0"
    changes = [{"entityId": task["id"], "entity_type": "Task", "keys": ["name"]} for task in tasks]
    session.expire_changes({"topic": "ftrack.update", "data": {"entities": changes}})
    server.calls.clear()
    assert [task["name"] for task in tasks] == [f"task {number}" for number in range(100)]
    assert len(server.calls) == 1


def test_when_one_of_many_is_refused_then_the_one_asked_for_is_loaded(
    world: World, session: Session, server: CannedServer
) -> None:
    tasks = session.query("Task").all()

    def answer(request: dict[str, Any]) -> Any:
        if '"t9"' in request["expression"]:
            return {"exception": "PermissionError", "content": "not t9", "error_code": None}
        return world(request)

    server.answer = answer
    assert tasks[0]["sort"] == 0
    with pytest.raises(exception.PermissionDeniedError):
        tasks[9]["sort"]


def test_when_new_entities_are_read_then_no_call_is_made(
    world: World, session: Session, server: CannedServer
) -> None:
    task = session.create("Task", {"name": "x"})
    assert task["sort"] is not None
    assert task["status"] is symbol.NOT_SET
    assert list(task["children"]) == []
    session.populate([task], "sort, status")
    assert server.calls == []


def test_when_entities_are_populated_then_one_call_loads_all(
    world: World, session: Session, server: CannedServer
) -> None:
    tasks = session.query("Task").all()
    server.calls.clear()
    session.populate(tasks, "sort,status")
    assert [task["sort"] for task in tasks[:3]] == [0, 1, 2]
    assert tasks[3]["status"]["id"] == "s3"
    assert len(server.calls) == 1
    session.populate(session.query("Task"), "name")
    session.populate(tuple(tasks), "name")
    session.populate(tasks[0], "name")


def test_when_keys_have_several_values_then_they_are_asked_for_together(
    session: Session, server: CannedServer
) -> None:
    server.answer = lambda request: rows(
        "Metadata", *({"parent_id": 'a "quoted" id', "key": key} for key in ("a", "b"))
    )
    first, second = session.query("select key from Metadata").all()
    server.answer = lambda request: rows(
        "Metadata", *({"parent_id": 'a "quoted" id', "key": key, "value": key * 2} for key in ("a", "b"))
    )
    assert (first["value"], second["value"]) == ("aa", "bb")
    parent = r'parent_id is "a \"quoted\" id"'
    assert f'where ({parent} and key is "a") or ({parent} and key is "b")' in server.expressions[-1]


def test_when_the_key_of_one_cannot_stand_in_a_query_then_the_others_are_loaded(
    session: Session, server: CannedServer
) -> None:
    """Somebody's metadata key that has blanks and ends with a backslash is no reason to refuse all others."""
    keys = ["a", "b \\", "c"]
    server.answer = lambda request: rows("Metadata", *({"parent_id": "p", "key": key} for key in keys))
    first, odd, last = session.query("select key from Metadata").all()
    server.calls.clear()
    server.answer = lambda request: rows(
        "Metadata", *({"parent_id": "p", "key": key, "value": key * 2} for key in ("a", "c"))
    )
    assert (first["value"], last["value"]) == ("aa", "cc")
    assert len(server.calls) == 1
    with pytest.raises(ValueError, match="ends with a backslash"):
        odd["value"]


def test_when_a_row_was_not_merged_then_it_gets_what_is_loaded(
    world: World, session: Session, server: CannedServer
) -> None:
    """What `call` returns is detached; reading more of it must work all the same."""
    answer = session.call([{"action": "query", "expression": "select name from Task limit 1"}])
    row = answer[0]["data"][0]
    assert row["name"] == "task 0"
    assert row["sort"] == 0
    assert session.get("Task", "t0") is not row
