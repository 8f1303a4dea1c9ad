"""The shape of answers, paging, aggregates and search."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from ftrackd.sandbox import query
from ftrackd.sandbox.query import (
    QueryAttributeError,
    QueryEntityTypeError,
    UnsupportedQueryError,
    execute,
    load_entities,
    parse,
    search,
)
from ftrackd.sandbox.schema.model import Schema

from . import world
from .conftest import POSTGRESQL, Ask


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every entity in an answer, in document order."""
    if isinstance(value, dict):
        if "__entity_type__" in value:
            yield value
        for member in value.values():
            yield from walk(member)
    elif isinstance(value, list):
        for member in value:
            yield from walk(member)


@pytest.fixture
def statements(connection: sa.Connection) -> Iterator[list[str]]:
    """The SQL that runs during a test."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    sa.event.listen(connection.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(connection.engine, "before_cursor_execute", note)


def test_bare_type_answers_with_default_and_system_projections(ask: Ask) -> None:
    (row,) = ask("Task where id is t-anim")
    assert row == {
        "__entity_type__": "Task",
        "id": "t-anim",
        "context_type": "task",
        "object_type_id": "ot-task",
        "project_id": "p-alpha",
        "name": "anim",
    }


def test_when_base_type_is_queried_then_rows_have_their_concrete_types(ask: Ask) -> None:
    types = {row["id"]: row["__entity_type__"] for row in ask("Context")}
    assert types["p-alpha"] == "Project"
    assert types["c-hero"] == "AssetBuild"
    assert types["t-anim"] == "Task"
    components = {row["id"]: row["__entity_type__"] for row in ask("Component")}
    assert components["co-main"] == "SequenceComponent"
    assert components["co-0001"] == "FileComponent"
    assert {row["__entity_type__"] for row in ask("Resource")} == {"User", "Group"}


def test_scalars_have_the_types_of_json(ask: Ask) -> None:
    (row,) = ask("select bid, sort, start_date, end_date from Task where id is t-anim")
    assert row["bid"] == 3600.0
    assert row["end_date"] == {"__type__": "datetime", "value": "2026-01-20T18:30:00"}
    (version,) = ask(
        "select version, is_published, is_latest_version, comment from AssetVersion where id is v-geo2"
    )
    assert version["version"] == 2
    assert version["is_published"] is False
    assert version["is_latest_version"] is False
    assert version["comment"] == ""
    (empty,) = ask("select end_date, status_id, status.name from Task where id is t-model")
    assert (empty["end_date"], empty["status_id"], empty["status"]) == (None, None, None)


def test_when_path_leads_through_references_then_they_are_nested(ask: Ask) -> None:
    (row,) = ask("select status.state.short, parent.parent.name from Task where id is t-anim")
    assert row["status"] == {
        "__entity_type__": "Status",
        "id": "st-ok",
        "state": {"__entity_type__": "State", "id": "state-done", "short": "DONE"},
    }
    assert row["parent"]["__entity_type__"] == "Shot"
    assert row["parent"]["parent"]["__entity_type__"] == "Sequence"
    assert row["parent"]["parent"]["name"] == "sq010"


def test_when_relation_is_projected_then_key_and_system_projections_come(ask: Ask) -> None:
    (row,) = ask("select status, user, components, thumbnail from AssetVersion where version is 10")
    assert row["user"] == {"__entity_type__": "User", "id": "u-jane", "resource_type": "user"}
    (component,) = row["components"]
    assert component["__entity_type__"] == "SequenceComponent"
    assert component["id"] == "co-main"
    assert row["thumbnail"]["__entity_type__"] == "FileComponent"
    assert row["status"] is None


def test_empty_collections_are_empty_lists(ask: Ask) -> None:
    (row,) = ask("select notes, metadata, custom_attributes, lists, scopes.name from Shot where id is c-lone")
    assert row["notes"] == row["metadata"] == row["lists"] == row["scopes"] == []
    assert [value["key"] for value in row["custom_attributes"]] == ["fps"]


def test_mapped_collections_carry_key_and_value(ask: Ask) -> None:
    (row,) = ask("select metadata, custom_attributes from Task where id is t-anim")
    assert {item["key"]: item["value"] for item in row["metadata"]} == {"k": "v", "other": "w"}
    assert row["metadata"][0] == {
        "__entity_type__": "Metadata",
        "parent_id": "t-anim",
        "parent_type": "Task",
        "key": "k",
        "value": "v",
    }
    values = {item["key"]: item["value"] for item in row["custom_attributes"]}
    assert values == {"fps": 30, "frames": 12, "ready": True, "tags": ["hair", "cloth"]}
    first = row["custom_attributes"][0]
    assert first["__entity_type__"] == "ContextCustomAttributeValue"
    assert (first["configuration_id"], first["entity_id"]) == ("cf-fps", "t-anim")


def test_when_entity_occurs_again_then_it_is_a_bare_reference(ask: Ask) -> None:
    rows = ask("select parent.name, project.full_name from Task where parent.name is sh010 order by name")
    assert rows[0]["parent"]["name"] == "sh010"
    assert rows[1]["parent"] == {"__entity_type__": "Shot", "id": "c-sh010"}
    assert rows[0]["project"]["full_name"] == "Alpha"
    assert rows[1]["project"] == {"__entity_type__": "Project", "id": "p-alpha"}
    scopes = [scope for row in ask("select scopes.name from Task order by name") for scope in row["scopes"]]
    assert sorted(scope.get("name", "") for scope in scopes) == ["", "extra", "main"]


def test_when_places_ask_differently_then_the_first_occurrence_has_everything(ask: Ask) -> None:
    (row,) = ask("select parent.project.name, project.full_name from Task where id is t-anim")
    # The schema lists the parent before the project.
    assert row["parent"]["project"]["full_name"] == "Alpha"
    assert row["parent"]["project"]["name"] == "alpha"
    assert row["project"] == {"__entity_type__": "Project", "id": "p-alpha"}


def test_when_a_row_occurs_inside_an_earlier_row_then_both_are_complete(ask: Ask) -> None:
    rows = ask("select name, parent.children from Task where parent.name is sh010 order by name")
    assert [row["name"] for row in rows] == ["anim", "comp"]
    inside = rows[0]["parent"]["children"]
    assert inside[0] == {"__entity_type__": "Task", "id": "t-anim"}
    assert inside[1]["name"] == "comp"


def test_when_entities_form_a_long_chain_then_the_answer_nests_within_bounds(schema: Schema) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        world.populate(connection)
        for number in range(300):
            row = {
                "id": f"x{number}",
                "name": f"x{number}",
                "context_type": "task",
                "object_type_id": "ot-task",
            }
            world.insert(connection, "context", row)
            if number:
                link = {"id": f"link{number}", "from_id": f"x{number}", "to_id": f"x{number - 1}"}
                world.insert(connection, "typed_context_link", link)
        text = "select name, incoming_links.from.name from Task where name like 'x%'"
        rows = execute(connection, schema, text).rows
        assert [row["name"] for row in rows] == [f"x{number}" for number in range(300)]
        depth, level = 0, rows[:1]
        while level:
            depth += 1
            level = [
                link["from"] for row in level for link in row.get("incoming_links", ()) if "from" in link
            ]
        assert depth < 30
    engine.dispose()


def test_when_version_contains_itself_then_its_data_is_there_once(ask: Ask) -> None:
    (row,) = ask("select version, asset.versions.version from AssetVersion where version is 10")
    assert [item.get("version") for item in row["asset"]["versions"]] == [1, 2, None]
    json.dumps(row)


def test_every_entity_at_any_depth_has_type_and_key(ask: Ask, schema: Schema) -> None:
    rows = ask(
        "select children.children.children.assignments.resource, children.children.status.state.name, "
        "children.children.assets.versions.components.component_locations, children.children.metadata "
        "from Project"
    )
    seen = set()
    for entity in walk(rows):
        entity_type = schema[entity["__entity_type__"]]
        seen.add(entity_type.name)
        assert all(entity.get(name) is not None for name in entity_type.primary_key)
    assert {"Project", "Shot", "Task", "User", "Group", "AssetVersion", "ComponentLocation"} <= seen


def test_collections_hold_no_entity_twice(ask: Ask) -> None:
    (row,) = ask("select descendants.name, descendants.parent.name from Project where name is alpha")
    keys = [item["id"] for item in row["descendants"]]
    assert len(keys) == len(set(keys)) == 8
    assert "p-alpha" not in keys


def test_when_attribute_belongs_to_some_subtypes_then_only_their_rows_have_it(ask: Ask) -> None:
    rows = {row["id"]: row for row in ask("select bid, full_name, status.name from Context")}
    assert "bid" not in rows["p-alpha"]
    assert rows["p-alpha"]["full_name"] == "Alpha"
    assert rows["t-anim"]["bid"] == 3600.0
    assert "full_name" not in rows["t-anim"]
    assert rows["t-anim"]["status"]["name"] == "Approved"
    assert "status" not in rows["p-alpha"]
    texts = {row["id"]: row.get("status") for row in ask("select status from Context")}
    assert texts["p-alpha"] == "active"
    assert texts["t-anim"]["id"] == "st-ok"
    parents = {
        row["id"]: row["parent"] for row in ask("select parent.name, parent.version from StatusChange")
    }
    assert parents["ch1"]["name"] == "anim"
    assert parents["ch2"]["version"] == 10


def test_casts_reach_attributes_of_subtypes(ask: Ask) -> None:
    rows = ask("select asset.parent[Shot].parent[Sequence].name from AssetVersion where version is 1")
    assert rows[0]["asset"]["parent"]["parent"]["name"] == "sq010"


def test_when_cast_then_only_entities_of_that_type_get_the_attribute(ask: Ask) -> None:
    rows = ask("select parent[Shot].bid, parent[Shot].status.name, parent.name from TypedContext")
    parents: dict[str, dict[str, Any]] = {}
    for row in rows:
        for entity in walk(row):
            parents.setdefault(entity["id"], {}).update(entity)
    assert parents["c-sh010"]["bid"] is None
    assert parents["c-sh010"]["status"]["id"] == "st-wip"
    assert parents["p-alpha"]["name"] == "alpha"
    assert not {"bid", "status"} & set(parents["p-alpha"])
    assert not {"bid", "status"} & set(parents["c-hero"])


def test_when_ids_differ_in_case_then_they_are_the_same(schema: Schema) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        world.populate(connection)
        connection.exec_driver_sql("UPDATE context SET parent_id = 'C-SH010' WHERE id = 't-anim'")
        rows = execute(connection, schema, "select parent.name from Task where id is t-anim").rows
        assert rows[0]["parent"]["name"] == "sh010"
        rows = execute(connection, schema, "select children.name from Shot where id is C-SH010").rows
        assert [child["name"] for child in rows[0]["children"]] == ["anim", "comp"]
    engine.dispose()


def test_links_and_urls_are_made_by_the_server(ask: Ask) -> None:
    (row,) = ask("select link, thumbnail_url, asset.parent.link from AssetVersion where version is 10")
    assert [item["name"] for item in row["link"]] == ["alpha", "sq010", "sh010", "geo v010"]
    assert row["link"][-1]["type"] == "AssetVersion"
    assert row["thumbnail_url"]["url"].startswith("http://server/component/thumbnail?id=co-thumb")
    assert [item["name"] for item in row["asset"]["parent"]["link"]] == ["alpha", "sq010", "sh010"]
    (without,) = ask("select thumbnail_url, link from Task where id is t-model")
    assert without["thumbnail_url"] is None
    assert [item["id"] for item in without["link"]] == ["p-alpha", "c-hero", "t-model"]


def test_computed_references_are_followed(ask: Ask) -> None:
    rows = {row["id"]: row for row in ask("select latest_version.version from Asset")}
    assert rows["as-geo"]["latest_version"]["version"] == 10
    assert rows["as-tex"]["latest_version"] is None


def test_when_projection_repeats_then_it_counts_once(ask: Ask) -> None:
    (row,) = ask("select name, name, parent, parent.name from Task where id is t-anim")
    assert row["name"] == "anim"
    assert row["parent"]["name"] == "sh010"


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("name", ["anim", "Anim2", "comp", "model"]),
        ("name descending", ["model", "comp", "Anim2", "anim"]),
        ("bid desc, name", ["Anim2", "anim", "comp", "model"]),
        ("status.name, name", ["model", "anim", "Anim2", "comp"]),
        ("priority.sort limit 2", ["model", "anim"]),
        ("parent[Shot].name desc, name", ["Anim2", "anim", "comp", "model"]),
        ("project.full_name, parent.name asc, name offset 1 limit 2", ["anim", "comp"]),
    ],
)
def test_order_is_kept(ask: Ask, order: str, names: list[str]) -> None:
    assert [row["name"] for row in ask(f"Task order by {order}")] == names


def test_when_base_type_is_ordered_by_attribute_of_subtypes_then_others_are_null(ask: Ask) -> None:
    rows = ask("Context where project_id is p-alpha order by full_name desc, bid desc limit 2")
    assert [row["id"] for row in rows] == ["p-alpha", "t-anim2"]


@pytest.mark.parametrize("order", ["", " order by status_id", " order by name descending"])
def test_pages_hold_every_entity_once(connection: sa.Connection, schema: Schema, order: str) -> None:
    offset: int | None = 0
    keys: list[str] = []
    while offset is not None:
        answer = execute(connection, schema, f"select id from Context{order} offset {offset} limit 3")
        keys += [row["id"] for row in answer.rows]
        offset = answer.next_offset
    assert len(keys) == len(set(keys)) == 11


def test_next_offset_is_given_for_full_pages_alone(connection: sa.Connection, schema: Schema) -> None:
    def next_offset(text: str) -> int | None:
        return execute(connection, schema, text).next_offset

    assert next_offset("Task limit 3") == 3
    assert next_offset("Task offset 1 limit 3") == 4
    assert next_offset("Task limit 1 offset 2") == 3
    assert next_offset("Task limit 4") == 4
    assert next_offset("Task limit 5") is None
    assert next_offset("Task offset 4 limit 4") is None
    assert next_offset("Task limit 0") is None
    assert next_offset("Task") is None
    assert execute(connection, schema, "Task offset 2").rows
    assert execute(connection, schema, "Task limit 5").metadata == {"next": {"offset": None}}


def test_a_tree_is_answered_as_its_text(connection: sa.Connection, schema: Schema) -> None:
    text = "select name from Task where name is anim"
    assert execute(connection, schema, parse(text)) == execute(connection, schema, text)


def test_when_many_relations_are_projected_then_statements_stay_few(ask: Ask, statements: list[str]) -> None:
    rows = ask(
        "select name, description, bid, sort, start_date, end_date, created_at, status_id, type_id, "
        "status.name, status.color, status.state.short, type.name, priority.name, priority.value, "
        "parent.name, project.full_name, object_type.name, thumbnail_id, assignments.resource_id from Task"
    )
    assert len(rows) == 4
    # The tasks; status, state, type, priority, parent, project, object type; the assignments.
    assert len(statements) == 9


class TestAggregates:
    def test_groups_are_counted(self, ask: Ask) -> None:
        rows = ask("select count(id) from Task group by project_id, status_id")
        assert rows == [
            {"project_id": "p-alpha", "status_id": None, "count_id": 1},
            {"project_id": "p-alpha", "status_id": "st-ok", "count_id": 1},
            {"project_id": "p-alpha", "status_id": "st-wip", "count_id": 2},
        ]

    def test_functions(self, ask: Ask) -> None:
        (row,) = ask("select count(id), sum(bid), avg(bid), min(bid), max(end_date), max(name) from Task")
        assert row["count_id"] == 4
        assert row["sum_bid"] == 10800.0
        assert row["avg_bid"] == 3600.0
        assert row["min_bid"] == 0.0
        assert row["max_end_date"] == {"__type__": "datetime", "value": "2026-01-20T18:30:00"}
        assert row["max_name"] == "model"
        (row,) = ask("select sum(version), avg(version), max(version) from AssetVersion")
        assert json.dumps(row) == '{"sum_version": 13, "avg_version": 4.333333333333333, "max_version": 10}'

    def test_criteria_order_and_paths(self, ask: Ask) -> None:
        rows = ask(
            "select status.name, count(id) from Task where bid >= 0 group by status.name "
            "order by status.name desc limit 1"
        )
        assert rows == [{"status.name": "In progress", "count_id": 2}]

    def test_criteria_may_follow_references_that_nothing_else_does(self, ask: Ask) -> None:
        assert ask("select count(id) from Task where status.name is Approved") == [{"count_id": 1}]

    def test_grouped_booleans_are_booleans(self, ask: Ask) -> None:
        rows = ask("select count(id) from AssetVersion group by is_published")
        assert rows == [{"is_published": False, "count_id": 1}, {"is_published": True, "count_id": 2}]

    def test_when_names_differ_in_case_alone_then_they_are_one_group(
        self, connection: sa.Connection, ask: Ask
    ) -> None:
        with connection.begin_nested() as savepoint:
            connection.execute(sa.text("UPDATE context SET name = 'ANIM' WHERE id = 't-model'"))
            rows = ask("select count(id), min(id) from Task group by name order by name desc")
            (row,) = ask("select min(name), max(name) from Task")
            savepoint.rollback()
        assert rows == [
            {"name": "comp", "count_id": 1, "min_id": "t-comp"},
            {"name": "Anim2", "count_id": 1, "min_id": "t-anim2"},
            {"name": "ANIM", "count_id": 2, "min_id": "t-anim"},
        ]
        assert row["min_name"].lower() == "anim"
        assert row["max_name"] == "comp"

    def test_when_variable_values_are_grouped_then_they_are_answered_as_they_are(self, ask: Ask) -> None:
        query = (
            "select count(value), max(value) from ContextCustomAttributeValue "
            "where key in (frames, ready, tags) group by key, value order by key, value desc"
        )
        assert [(row["key"], row["value"], row["count_value"], row["max_value"]) for row in ask(query)] == [
            ("frames", 100, 3, 100),
            ("frames", 12, 1, 12),
            ("ready", True, 1, 1),
            ("ready", False, 3, 0),
            ("tags", ["none"], 3, None),
            ("tags", ["hair", "cloth"], 1, None),
        ]

    @pytest.mark.parametrize(
        "text",
        [
            "select name, count(id) from Task group by status_id",
            "select count(id) from Task group by status_id order by name",
            "select count(id) from User",
            "select sum(name) from Task",
            "select avg(end_date) from Task",
            "select max(is_published) from AssetVersion",
            "select count(children.id) from Task",
            "select count(id) from Task group by children.id",
        ],
    )
    def test_when_it_makes_no_sense_then_it_is_refused(self, ask: Ask, text: str) -> None:
        with pytest.raises(UnsupportedQueryError):
            ask(text)


class TestLoadEntities:
    def test_entities_come_in_order_of_keys(self, connection: sa.Connection, schema: Schema) -> None:
        rows = load_entities(
            connection, schema, "Context", ["t-comp", "gone", "p-alpha", ["T-ANIM"]], ["name", "parent.name"]
        )
        assert [(row["__entity_type__"], row["name"]) for row in rows] == [
            ("Task", "comp"),
            ("Project", "alpha"),
            ("Task", "anim"),
        ]

    def test_composite_keys(self, connection: sa.Connection, schema: Schema) -> None:
        rows = load_entities(connection, schema, "Metadata", [("t-comp", "k"), ("t-anim", "k")], ["value"])
        assert [row["value"] for row in rows] == ["w", "v"]
        keys = [("cf-fps", "t-anim")]
        (value,) = load_entities(connection, schema, "ContextCustomAttributeValue", keys, ["value"])
        assert value["value"] == 30

    def test_without_projections_there_is_the_key(self, connection: sa.Connection, schema: Schema) -> None:
        assert load_entities(connection, schema, "Scope", ["sc-main"]) == [
            {"__entity_type__": "Scope", "id": "sc-main"}
        ]
        assert load_entities(connection, schema, "Scope", []) == []

    def test_other_types_are_not_found(self, connection: sa.Connection, schema: Schema) -> None:
        assert load_entities(connection, schema, "Shot", ["t-anim"]) == []

    def test_unknown_names_are_errors(self, connection: sa.Connection, schema: Schema) -> None:
        with pytest.raises(QueryAttributeError):
            load_entities(connection, schema, "Task", ["t-anim"], ["naem"])
        with pytest.raises(QueryEntityTypeError):
            load_entities(connection, schema, "Taks", ["t-anim"])


class TestSearch:
    @pytest.mark.parametrize(
        ("expression", "arguments", "expected"),
        [
            ("Context", {"terms": ["ANIM"]}, {"t-anim", "t-anim2"}),
            ("Context", {"terms": ["sh010"]}, {"c-sh010"}),
            ("Context", {"terms": ["sh010", "comp"]}, {"t-comp"}),
            ("Context", {"terms": ["sq010 anim"]}, {"t-anim", "t-anim2"}),
            ("Context", {"terms": ["alpha"]}, {"p-alpha"}),
            ("Context", {"terms": ["alpha", "model"]}, {"t-model"}),
            ("Context", {"terms": ["%"]}, set()),
            ("Context", {"terms": ["_"]}, set()),
            ("Context", {"terms": [], "context_id": "c-sh010"}, {"c-sh010", "t-anim", "t-comp"}),
            ("Context", {"terms": ["a"], "context_id": "c-sq010"}, {"t-anim", "t-anim2"}),
            ("Context", {"terms": ["o"], "object_type_ids": ["ot-shot"]}, {"c-lone"}),
            ("Context where name like 'a%'", {"terms": ["2"]}, {"t-anim2"}),
            ("TypedContext", {"terms": ["sh0"], "entity_type": "Shot"}, {"c-sh010", "c-sh020"}),
            ("AssetVersion", {"terms": ["geo"]}, {"v-geo1", "v-geo2", "v-geo10"}),
            ("AssetVersion", {"terms": ["geo"], "context_id": "c-hero"}, set()),
            ("Asset", {"terms": ["tex"], "context_id": "c-hero"}, {"as-tex"}),
            ("User", {"terms": ["jane"]}, {"u-jane"}),
            ("Note", {"terms": ["sec"]}, {"n2"}),
        ],
    )
    def test_words_are_found(
        self,
        connection: sa.Connection,
        schema: Schema,
        expression: str,
        arguments: dict[str, Any],
        expected: set[str],
    ) -> None:
        answer = search(connection, schema, expression, **arguments)
        assert {row["id"] for row in answer.rows} == expected

    def test_projections_order_and_pages_hold(self, connection: sa.Connection, schema: Schema) -> None:
        expression = "select name, parent.name from Task order by name desc limit 1"
        answer = search(connection, schema, expression, terms=["anim"])
        assert [(row["name"], row["parent"]["name"]) for row in answer.rows] == [("Anim2", "sh020")]
        assert answer.next_offset == 1

    @pytest.mark.parametrize(
        ("expression", "arguments"),
        [
            ("Task", {"terms": [], "entity_type": "User"}),
            ("Appointment", {"terms": ["x"]}),
            ("Status", {"terms": [], "context_id": "c-hero"}),
            ("Status", {"terms": [], "object_type_ids": ["ot-shot"]}),
        ],
    )
    def test_when_it_cannot_be_searched_then_it_is_refused(
        self, connection: sa.Connection, schema: Schema, expression: str, arguments: dict[str, Any]
    ) -> None:
        with pytest.raises(UnsupportedQueryError):
            search(connection, schema, expression, **arguments)


def test_what_the_package_offers_is_listed_in_order() -> None:
    assert query.__all__ == sorted(query.__all__)
    assert all(hasattr(query, name) for name in query.__all__)


@pytest.mark.skipif(
    not POSTGRESQL, reason="no server: name one with FTRACKD_TEST_POSTGRESQL=postgresql://..."
)
def test_when_a_server_is_named_then_the_tests_of_queries_run_on_it_too(connection: sa.Connection) -> None:
    assert connection.dialect.name in ("sqlite", "postgresql")
    assert connection.scalar(sa.text("select count(*) from context")) == 11
