"""What a new sandbox begins with."""

import io
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from PIL import Image

from ftrackd.sandbox.schema import table
from ftrackd.sandbox.seeds import client_suites, file_content, installation
from ftrackd.sandbox.seeds.ids import seed_id
from ftrackd.sandbox.store import Store


@pytest.fixture(scope="module")
def demo():
    with Store.open(seed="demo") as store:
        yield store


def _all(store, name):
    with store.reader() as connection:
        return [dict(row) for row in connection.execute(sa.select(table(name))).mappings()]


def _names(store, name):
    return {row["name"] for row in _all(store, name)}


def test_when_nothing_is_seeded_then_nothing_is_there():
    with Store.open(seed="none") as store:
        assert _all(store, "context") == _all(store, "status") == _all(store, "resource") == []
        assert "Task" not in store.schema and "TypedContext" in store.schema


def test_when_the_minimum_is_seeded_then_the_built_in_rows_are_there():
    with Store.open(seed="minimal") as store:
        assert {row["id"]: row["name"] for row in _all(store, "location")} == {
            **dict(installation.LOCATIONS),
            seed_id("Location", "test.location"): "test.location",
        }
        assert {"Urgent", "High", "Medium", "Low", "None"} == _names(store, "priority")
        states = {row["id"]: row["short"] for row in _all(store, "state")}
        by_name = {row["name"]: states[row["state_id"]] for row in _all(store, "status")}
        assert by_name["In progress"] == "IN_PROGRESS" and by_name["On Hold"] == "BLOCKED"
        assert {
            "customNumber",
            "NumberField",
            "versiontest",
            "fstart",
            "htest",
            "listbool",
            "teststring",
        } == {row["key"] for row in _all(store, "custom_attribute_configuration")}
        (setting,) = _all(store, "setting")
        assert (setting["name"], setting["group"]) == ("storage_scenario", "STORAGE")
        assert {client_suites.PROJECT, client_suites.TASK} <= {row["id"] for row in _all(store, "context")}


def test_when_the_demo_is_seeded_then_it_is_a_small_production(demo):
    counts = {
        name: len(_all(demo, name))
        for name in ("asset_version", "note", "list_object", "review_session_object", "appointment",
                     "typed_context_link", "metadata", "timelog", "custom_attribute_value")
    }  # fmt: skip
    assert all(counts.values()), counts
    contexts = _all(demo, "context")
    assert {"hare", "tea"} <= {row["name"] for row in contexts if row["context_type"] == "show"}
    tasks = [row for row in contexts if row["object_type_id"] == installation.OBJECT_TYPE_IDS["Task"]]
    assert len({row["status_id"] for row in tasks}) >= 4
    assert seed_id("Task", "hare", "SEQ010", "SH010", "animation") in {row["id"] for row in tasks}


def test_when_references_are_followed_then_none_dangles(demo):
    with demo.reader() as connection:
        assert connection.execute(sa.text("PRAGMA foreign_key_check")).all() == []


def test_when_the_demo_is_seeded_twice_then_ids_are_the_same(demo):
    with Store.open(seed="demo") as other:
        for name in ("context", "asset_version", "component", "note", "resource"):
            assert {row["id"] for row in _all(other, name)} == {row["id"] for row in _all(demo, name)}


def test_when_media_are_asked_for_then_they_are_pictures_of_the_stated_size(demo):
    stored = {row["component_id"] for row in _all(demo, "component_location")}
    checked = 0
    for row in _all(demo, "component"):
        content = file_content(row["id"])
        if content is not None:
            assert row["id"] in stored and row["size"] == len(content)
            checked += 1
            if checked == 1:
                with Image.open(io.BytesIO(content)) as picture:
                    picture.load()
                    assert picture.size == (320, 180)
    versions = _all(demo, "asset_version")
    assert checked == 2 * len(versions)
    assert all(file_content(row["thumbnail_id"]) for row in versions)
    assert file_content("nothing") is None


def test_when_the_user_of_the_seed_is_looked_up_then_it_is_the_known_one(demo):
    assert demo.find_user("demo").user_id == client_suites.USER


def test_when_the_demo_has_an_expression_then_it_is_worked_out(demo):
    configuration = seed_id("CustomAttributeConfiguration", "task", "Shot", "frames")
    shot = seed_id("Shot", "hare", "SEQ010", "SH010")
    values = {
        row["entity_id"]: row["value"]
        for row in _all(demo, "custom_attribute_value")
        if row["configuration_id"] == configuration
    }
    assert values[shot] == "96"


def test_when_the_demo_is_seeded_then_its_dates_and_authors_agree(demo):
    """Who is assigned has published, after the task began; what is approved lies in the past."""
    tasks = {row["id"]: row for row in _all(demo, "context") if row["status_id"]}
    assigned = {(row["context_id"], row["resource_id"]) for row in _all(demo, "appointment")}
    now = datetime.now(UTC).isoformat()
    versions = [row for row in _all(demo, "asset_version") if row["task_id"]]
    assert len(versions) > 20
    for version in versions:
        task = tasks[version["task_id"]]
        assert (task["id"], version["user_id"]) in assigned
        assert task["start_date"] < version["date"] < now
        if task["status_id"] == installation.APPROVED:
            assert task["end_date"] < now
