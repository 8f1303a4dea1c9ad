"""What criteria find."""

import pytest
import sqlalchemy as sa

from ftrackd.sandbox.query import (
    QueryAttributeError,
    QueryEntityTypeError,
    QueryError,
    QueryTooComplexError,
    QueryValueError,
    UnsupportedQueryError,
    execute,
)
from ftrackd.sandbox.schema.model import Schema

from .conftest import Ask

TASKS = {"t-anim", "t-comp", "t-anim2", "t-model"}
VERSIONS = {"v-geo1", "v-geo2", "v-geo10"}

FINDINGS = {
    # Types and hierarchies
    "Task": TASKS,
    "Shot": {"c-sh010", "c-sh020", "c-lone"},
    "Project": {"p-alpha", "p-beta"},
    "TypedContext": TASKS | {"c-sh010", "c-sh020", "c-lone", "c-sq010", "c-hero"},
    "Context where name is alpha": {"p-alpha"},
    "Resource": {"u-jane", "u-tom", "g-anim"},
    "User": {"u-jane", "u-tom"},
    "Component": {"co-thumb", "co-main", "co-0001", "co-0002"},
    "ContainerComponent": {"co-main"},
    # Equality
    'Task where id is "t-anim"': {"t-anim"},
    "Task where id is t-anim": {"t-anim"},
    "Task where id is T-ANIM": {"t-anim"},
    "Task where name is ANIM": {"t-anim"},
    "Task where name is 'anim2'": {"t-anim2"},
    "Task where name = anim": {"t-anim"},
    # Size of texts, without regard to case either
    "Task where name > ANIM": TASKS - {"t-anim"},
    "Task where name >= ANIM2 and name <= COMP": {"t-anim2", "t-comp"},
    "Project where status before HIDDEN": {"p-alpha"},
    # Texts of nested queries
    "Status where name in (select name from State)": {"st-wip"},
    "Priority where name in (select name from Priority where name is NONE)": {"pr-none"},
    "Task where name != anim": TASKS - {"t-anim"},
    "Task where description is_not x": TASKS,
    r"""Task where description is "say \"hi\" it's C:\temp 100%" """: {"t-anim"},
    "User where username is jane.doe@studio.com": {"u-jane"},
    # Null
    "Task where status_id is None": {"t-model"},
    "Task where status_id is_not none": TASKS - {"t-model"},
    "Task where status is None": {"t-model"},
    "Task where status != none": TASKS - {"t-model"},
    "Task where priority.name is 'None'": {"t-comp", "t-anim2"},
    "Task where priority.name is None": {"t-model"},
    "Task where status.name is_not Approved": TASKS - {"t-anim"},
    "Task where not status.name is Approved": TASKS - {"t-anim"},
    "Task where not (status.name is Approved or name is comp)": {"t-anim2", "t-model"},
    "Task where not bid > 0": {"t-comp", "t-model"},
    "Task where not not bid > 0": {"t-anim", "t-anim2"},
    # Types of values
    'AssetVersion where version is "10"': {"v-geo10"},
    "AssetVersion where version is 10": {"v-geo10"},
    "AssetVersion where version > 2": {"v-geo10"},
    "AssetVersion where version >= 2": {"v-geo2", "v-geo10"},
    "AssetVersion where version less_than 2": {"v-geo1"},
    "AssetVersion where version in (1, '2')": {"v-geo1", "v-geo2"},
    "AssetVersion where version like '1%'": {"v-geo1", "v-geo10"},
    "AssetVersion where is_published is True": {"v-geo1", "v-geo10"},
    "AssetVersion where is_published is 'true'": {"v-geo1", "v-geo10"},
    "AssetVersion where is_published = False": {"v-geo2"},
    "AssetVersion where is_published is 0": {"v-geo2"},
    "AssetVersion where is_published in (True, False)": VERSIONS,
    "AssetVersion where is_latest_version is True": {"v-geo10"},
    "AssetVersion where is_latest_version is false": {"v-geo1", "v-geo2"},
    "Task where bid is 3600": {"t-anim"},
    "Task where bid is '3600.0'": {"t-anim"},
    "Task where time_logged > 80": {"t-anim"},
    "Task where bid like '3600'": {"t-anim"},
    "Task where bid like '%00'": {"t-anim", "t-anim2"},
    "User where is_active like 1": {"u-jane"},
    # Date-times
    "Task where start_date is 2026-01-10": {"t-anim"},
    "Task where end_date is '2026-01-20 18:30:00'": {"t-anim"},
    "Task where end_date is '2026-01-20T18:30:00.999'": {"t-anim"},
    "Task where end_date is '2026-01-20T20:30:00+02:00'": {"t-anim"},
    "Task where end_date is 2026-01-20T18:30:00Z": {"t-anim"},
    "Task where end_date > 2026-01-20": {"t-anim"},
    "Task where end_date > '2026-01-20T18:30:00.5'": set(),
    "Task where end_date >= '2026-01-20T18:30:00.5'": set(),
    "Task where end_date < '2026-01-20T18:30:00.5'": {"t-anim"},
    "Task where end_date before 2026-01-21 and start_date after 2026-01-09": {"t-anim"},
    "Task where timelogs.start >= '2026-01-12T11:00:00+02:00'": {"t-anim"},
    "Task where end_date like '2026-01-%'": {"t-anim"},
    # Lists
    "Task where id in (t-anim,t-comp)": {"t-anim", "t-comp"},
    "Task where name in ('ANIM',)": {"t-anim"},
    "Task where id in ()": set(),
    "Task where id not_in ()": TASKS,
    "Task where scopes.name in ()": set(),
    "Task where scopes.name not_in ()": {"t-anim", "t-comp"},
    "Task where id not in (t-anim)": TASKS - {"t-anim"},
    "Task where status.name not_in ('Approved')": {"t-comp", "t-anim2"},
    "Task where not status.name in ('Approved')": {"t-comp", "t-anim2", "t-model"},
    "Task where status_id in (None, 'st-ok')": {"t-anim", "t-model"},
    "Task where status_id not_in (None, 'st-ok')": {"t-comp", "t-anim2"},
    f"Task where id in ({','.join(f'x{number}' for number in range(3000))},t-comp,T-ANIM)": {
        "t-anim",
        "t-comp",
    },
    f"AssetVersion where version in ({','.join(map(str, range(5, 3000)))})": {"v-geo10"},
    # Patterns
    "Task where name like 'anim%'": {"t-anim", "t-anim2"},
    "Task where name like 'ANIM_'": {"t-anim2"},
    "Task where name like 'anim'": {"t-anim"},
    "Task where description like '%100\\%'": {"t-anim"},
    "Task where name not_like 'anim%'": {"t-comp", "t-model"},
    "Task where description not_like '%hi%'": TASKS - {"t-anim"},
    # References
    "Task where parent.name is sh010": {"t-anim", "t-comp"},
    "Task where parent.parent.parent.name is alpha": {"t-anim", "t-comp", "t-anim2"},
    "Task where project.full_name is Alpha and parent.parent.name is alpha": {"t-model"},
    "Task where status is st-ok": {"t-anim"},
    "Task where status in (st-ok, none)": {"t-anim", "t-model"},
    "Task where status.state.short is DONE": {"t-anim"},
    "Task where status has (name is Approved and state.short is DONE)": {"t-anim"},
    "Task where status has ()": TASKS - {"t-model"},
    "Task where not status has (name is Approved)": TASKS - {"t-anim"},
    "AssetVersion where task is None": {"v-geo1", "v-geo2"},
    "AssetVersion where asset.parent.project_id is p-alpha": VERSIONS,
    "AssetVersion where asset.parent.ancestors.id in (c-sq010)": VERSIONS,
    "Asset where latest_version.version is 10": {"as-geo"},
    "Asset where latest_version is None": {"as-tex"},
    # Casts and subtypes
    "Task where parent[Shot].name is sh010": {"t-anim", "t-comp"},
    "Task where parent[AssetBuild].name is sh010": set(),
    "Task where parent[AssetBuild].name is_not sh010": {"t-model"},
    "Task where parent[AssetBuild].description is None": {"t-model"},
    "Task where parent[Shot] has (parent[Sequence] has (name is sq010))": {"t-anim", "t-comp", "t-anim2"},
    "Context where bid > 0": {"t-anim", "t-anim2"},
    "Context where status is active": {"p-alpha"},
    "Context where status is st-ok": {"t-anim"},
    "Context where status.name is Approved": {"t-anim"},
    "Context where full_name is_not x": {"p-alpha", "p-beta"},
    "Resource where username is tom": {"u-tom"},
    "Resource where username is_not tom": {"u-jane"},
    "Resource where not username is tom": {"u-jane", "g-anim"},
    "Component where padding is 4": {"co-main"},
    "StatusChange where parent.name is anim": {"ch1"},
    "StatusChange where parent.version is 10": {"ch2"},
    "Project where children[Sequence] any (name like 's%')": {"p-alpha"},
    "Project where children[Shot].name is lone": {"p-beta"},
    # Collections
    "Task where assignments any ()": {"t-anim", "t-comp"},
    "Task where not assignments any ()": {"t-anim2", "t-model"},
    "Task where assignments any (resource.username = 'jane.doe@studio.com')": {"t-anim"},
    "Task where assignments.resource.username is jane.doe@studio.com": {"t-anim"},
    "Task where assignments.resource_id is g-anim": {"t-comp"},
    "Task where allocations.resource_id is u-tom": {"t-comp"},
    "Task where assignments.resource_id is u-tom": set(),
    "Task where assignments.resource[Group].name is Animators": {"t-comp"},
    "Task where assignments.resource.memberships any (user.username is 'x')": set(),
    "Task where not timelogs any (duration > 50)": TASKS - {"t-anim"},
    "Task where timelogs.duration is 60 and timelogs.duration is 30": {"t-anim"},
    "Task where timelogs any (duration is 60 and user.username is tom)": set(),
    "Task where timelogs any (duration is 60) and timelogs any (user.username is tom)": {"t-anim"},
    "Project where children any (children any (name is sh020))": {"p-alpha"},
    "Project where children.children.name is sh020": {"p-alpha"},
    "Project where descendants.name is comp": {"p-alpha"},
    "Task where ancestors any (id=c-sq010) or id is 't-model'": TASKS,
    "Task where ancestors.name is sq010": {"t-anim", "t-comp", "t-anim2"},
    "Task where ancestors any(name=hero)": {"t-model"},
    "Task where ancestors.name is alpha": set(),
    "Task where scopes.name is main": {"t-anim", "t-comp"},
    "Task where not scopes any (name is extra)": TASKS - {"t-comp"},
    "AssetVersion where components.component_locations.location_id is loc-disk": {"v-geo10"},
    "Component where component_locations.location.name is studio.disk": {"co-main"},
    "Component where container.name is main": {"co-0001", "co-0002"},
    "ContainerComponent where members any (file_type is '.exr')": {"co-main"},
    "AssetVersion where lists.name is dailies": {"v-geo10"},
    "AssetVersionList where items.version is 10": {"li-dailies"},
    "Task where incoming_links any (from.name is anim)": {"t-comp"},
    "Task where notes.content is first": {"t-anim"},
    "Note where replies any (author.first_name is Tom)": {"n1"},
    "Note where author has (first_name is 'Jane' and last_name is 'Doe')": {"n1"},
    "Task where thumbnail is None and status_changes any (status.name is Approved)": {"t-anim"},
    # Metadata
    "Task where metadata any (key=k and value=v)": {"t-anim"},
    "Task where metadata any (key=k and value=w)": {"t-comp"},
    "Task where metadata.key is k and metadata.value is w": {"t-anim", "t-comp"},
    "User where metadata any (key is k)": {"u-jane"},
    # Names of entity types
    "Note where parent_type is Task": {"n1"},
    "Note where parent_type is TypedContext": {"n1"},
    "Note where parent_type is Context": {"n1"},
    "Note where parent_type is task": {"n1"},
    "Note where parent_type in ('AssetVersion', 'Shot')": {"n2"},
    "Note where parent_type is_not TypedContext": {"n2", "n3"},
    "Note where parent_type is Unknown": set(),
    # Custom attributes
    "Task where custom_attributes any (key is frames and value is 12)": {"t-anim"},
    'Task where custom_attributes any (key is frames and value is "100")': TASKS - {"t-anim"},
    "Task where custom_attributes any (key is frames and value > 50)": TASKS - {"t-anim"},
    "Task where custom_attributes any (key is frames and value in (12, 13))": {"t-anim"},
    "Task where custom_attributes.key is 'frames' and custom_attributes.value is 12": {"t-anim"},
    "Task where custom_attributes.configuration.key is fps": TASKS,
    "Shot where custom_attributes.configuration.key is frames": set(),
    "Task where custom_attributes any (key is fps and value is 30)": TASKS - {"t-model"},
    "Task where custom_attributes any (key is fps and value is 24)": {"t-model"},
    "Sequence where custom_attributes any (key is fps and value is 30)": {"c-sq010"},
    "Task where custom_attributes any (key is ready and value is True)": {"t-anim"},
    "Task where custom_attributes any (key is ready and value is false)": TASKS - {"t-anim"},
    "Task where custom_attributes any (key is tags and value like '%hair%')": {"t-anim"},
    "Task where custom_attributes any (key is tags and value is_not none)": TASKS,
    "Task where custom_attributes any (key is tags and value is 'HAIR, Cloth')": {"t-anim"},
    "Task where custom_attributes any (key is tags and value > 'HAI' and value < 'HAZ')": {"t-anim"},
    "Task where custom_attributes.value in ('NONE')": TASKS - {"t-anim"},
    "Task where custom_attributes any (key is tags and value not_in (12, none))": TASKS,
    "Task where custom_attributes any (key is tags and value not_in (12, 'hair, cloth'))": TASKS - {"t-anim"},
    "Task where custom_attributes any (key is frames and value not_in (12, x))": TASKS - {"t-anim"},
    "Task where not custom_attributes any (key is frames and value is 12)": TASKS - {"t-anim"},
    "Task where custom_attribute_links any (configuration.key is supervisor and to_id is u-jane)": {"t-anim"},
    "Task where custom_attribute_links any (user has (first_name is Jane))": {"t-anim"},
    "User where custom_attribute_links_from any (context has (name is anim))": {"u-jane"},
    # Nested queries
    "Task where id in (select task_id from AssetVersion where version > 2)": {"t-anim"},
    "Task where not id not_in (t-anim)": {"t-anim"},
    "Task where not status.name not_in ('Approved')": {"t-anim", "t-model"},
    "Task where id not_in (select task_id from AssetVersion)": TASKS - {"t-anim"},
    "Task where id in (select task from AssetVersion)": {"t-anim"},
    "Task where id in (Task where name is comp)": {"t-comp"},
    "Task where parent in (select id from Shot order by name descending limit 1)": {"t-anim2"},
    "Task where parent_id in (select asset.context_id from AssetVersion)": {"t-anim", "t-comp"},
    "AssetVersion where task in (Task where parent.id in (Shot where name is sh010))": {"v-geo10"},
    # Words and precedence
    'Setting where name is "storage_scenario"and group is "STORAGE"': {"storage_scenario"},
    "Task where name is anim or name is comp and bid > 5": {"t-anim"},
    "Task where (name is anim or name is comp) and bid > 5": {"t-anim"},
    "Task where (name is anim or name is comp) and bid >= 0": {"t-anim", "t-comp"},
}


@pytest.mark.parametrize(("text", "expected"), FINDINGS.items(), ids=[text[:70] for text in FINDINGS])
def test_query_finds(ask: Ask, text: str, expected: set[str]) -> None:
    rows = ask(text)
    keys = [row["name" if "storage_scenario" in expected else "id"] for row in rows]
    assert len(keys) == len(set(keys)), "an entity was found twice"
    assert set(keys) == expected


def test_when_custom_attribute_values_are_queried_then_stored_and_effective_differ(ask: Ask) -> None:
    stored = ask("select value, entity_id from CustomAttributeValue where configuration.key is fps")
    assert [(row["entity_id"], row["value"]) for row in stored] == [("c-sq010", 30)]
    effective = ask("select value from ContextCustomAttributeValue where key is fps and entity_id is t-anim")
    assert [(row["key"], row["value"]) for row in effective] == [("fps", 30)]


def test_when_composite_keys_are_chained_then_all_are_found(ask: Ask) -> None:
    pairs = " or ".join(f'(parent_id is "x{number}"and key is "k")' for number in range(4900))
    rows = ask(f'Metadata where {pairs} or (parent_id is "t-anim"and key is "k")')
    assert [(row["parent_id"], row["key"]) for row in rows] == [("t-anim", "k")]


@pytest.mark.parametrize(
    ("text", "kind", "position", "words"),
    [
        ("Taks", QueryEntityTypeError, 0, ["'Taks'", "Task"]),
        ("select id from Taks", QueryEntityTypeError, 15, ["Task"]),
        ("Task where naem is x", QueryAttributeError, 11, ["naem", "name"]),
        ("Task where status.naem is x", QueryAttributeError, 11, ["Status", "name"]),
        ("select naem from Task", QueryAttributeError, 7, ["naem", "name"]),
        ("Task order by naem", QueryAttributeError, 14, ["naem", "name"]),
        ("Context where usrname is x", QueryAttributeError, 14, ["Context", "usrname"]),
        ("Task where parent[Shto].name is x", QueryEntityTypeError, 11, ["Shto", "Shot"]),
        ("Task where parent[User].name is x", UnsupportedQueryError, 11, ["User", "Context"]),
        ("Task where name[Shot] is x", UnsupportedQueryError, 11, ["cast"]),
        ("select name[Shot] from Task", UnsupportedQueryError, 7, ["cast"]),
        ("Task where name.first is x", UnsupportedQueryError, 11, ["no relation"]),
        ("select name.first from Task", UnsupportedQueryError, 7, ["no relation"]),
        ("Task where name any (id is x)", UnsupportedQueryError, 11, ["no relation"]),
        ("Task where children is x", UnsupportedQueryError, 11, ["any"]),
        ("Task where link is x", UnsupportedQueryError, 11, ["link"]),
        ("Task order by link", UnsupportedQueryError, 14, ["link"]),
        ("Task where thumbnail_url is x", UnsupportedQueryError, 11, ["thumbnail_url"]),
        ("Task order by children.name", UnsupportedQueryError, 14, ["collection", "children"]),
        ("select custom_attribute_links from Task", UnsupportedQueryError, 7, ["criteria only"]),
        ("AssetVersion where version is x", QueryValueError, 30, ["version", "whole number", "'x'"]),
        ("AssetVersion where version is 1.5", QueryValueError, 30, ["whole number"]),
        ("Task where bid > high", QueryValueError, 17, ["number", "'high'"]),
        ("Task where bid > nan", QueryValueError, 17, ["number"]),
        ("AssetVersion where is_published is maybe", QueryValueError, 35, ["True or False"]),
        ("Task where end_date > tomorrow", QueryValueError, 22, ["date", "'tomorrow'"]),
        ("Task where end_date in (2026-13-01)", QueryValueError, 24, ["date"]),
        ("Task where name > None", QueryValueError, 18, ["None"]),
        ("Task where name like None", QueryValueError, 21, ["None"]),
        ("Task where id in (select id, name from Task)", UnsupportedQueryError, 39, ["one attribute"]),
        ("Task where id in (select version from AssetVersion)", UnsupportedQueryError, 11, ["integer"]),
        ("Task where bid in (select is_published from AssetVersion)", UnsupportedQueryError, 11, ["boolean"]),
        ("Task where id in (select count(id) from Task)", UnsupportedQueryError, 40, ["aggregated"]),
        ("select name from User group by name", UnsupportedQueryError, 17, ["User"]),
    ],
)
def test_when_names_or_values_are_wrong_then_error_says_where(
    ask: Ask, text: str, kind: type[QueryError], position: int, words: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        ask(text)
    assert caught.value.position == position
    assert f"at character {position}" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_when_paths_need_too_many_joins_then_error_is_typed(ask: Ask) -> None:
    with pytest.raises(QueryTooComplexError):
        ask(f"Task where {'.'.join(['parent'] * 70)}.name is x")


@pytest.mark.parametrize(
    ("opening", "depth"),
    [
        ("children any (", 8),
        ("status has (tasks any (", 8),
        ("id in (select id from Task where ", 8),
        ("(not (", 20),
    ],
)
def test_when_criteria_nest_deep_then_an_answer_comes(ask: Ask, opening: str, depth: int) -> None:
    closing = ")" * opening.count("(") * depth
    rows = ask(f"Task where {opening * depth}name is comp{closing}")
    assert {row["id"] for row in rows} <= TASKS


@pytest.mark.parametrize(
    "opening", ["children any (", "status has (tasks any (", "id in (select id from Task where ", "(not ("]
)
def test_when_criteria_nest_too_deep_then_error_is_typed(ask: Ask, opening: str) -> None:
    depth = 50
    closing = ")" * opening.count("(") * depth
    with pytest.raises(QueryTooComplexError):
        ask(f"Task where {opening * depth}name is comp{closing}")


def test_when_text_is_an_attack_then_it_is_only_text(connection: sa.Connection, schema: Schema) -> None:
    text = "x'; drop table context; --"
    assert execute(connection, schema, f'Task where name is "{text}"').rows == []
    assert execute(connection, schema, f'Task where name in ("{text}", "{text}")').rows == []
    assert execute(connection, schema, f'Task where name like "{text}"').rows == []
    assert len(execute(connection, schema, "Task").rows) == 4
