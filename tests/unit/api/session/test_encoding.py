import datetime
import json
from typing import Any

import arrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftrackd.api.session import OperationPayload, Session

from .canned_server import CannedServer, rows

_MOMENTS = st.datetimes(
    timezones=st.sampled_from([datetime.UTC, datetime.timezone(datetime.timedelta(hours=-7))])
)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | _TEXTS | _MOMENTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS.map("k".__add__), inner, max_size=3),
    max_leaves=12,
)
_FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def _moments_as_arrow(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return arrow.get(value)
    if isinstance(value, list):
        return [_moments_as_arrow(item) for item in value]
    if isinstance(value, dict):
        return {key: _moments_as_arrow(item) for key, item in value.items()}
    return value


@_FIXTURES
@given(value=_VALUES)
def test_when_data_is_encoded_and_decoded_then_it_is_the_same(session: Session, value: Any) -> None:
    """Dates come back as arrow dates of the same moment and offset."""
    decoded = session.decode(session.encode(value))
    assert decoded == _moments_as_arrow(value)


@_FIXTURES
@given(moment=st.datetimes(), form=st.sampled_from(["seconds", "microseconds"]))
def test_when_the_server_sends_a_naive_date_then_it_is_utc(
    session: Session, moment: datetime.datetime, form: str
) -> None:
    text = moment.isoformat(timespec=form)
    decoded = session.decode(json.dumps({"__type__": "datetime", "value": text}))
    assert isinstance(decoded, arrow.Arrow)
    assert decoded.isoformat(timespec=form) == text + "+00:00"
    assert decoded == arrow.get(text)


def test_when_a_tagged_date_is_null_then_it_is_none(session: Session) -> None:
    assert session.decode('{"__type__": "datetime", "value": null}') is None


@pytest.mark.parametrize(
    "text", ["2026-01-02", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+05:30", "2026-01"]
)
def test_when_a_date_has_another_form_then_it_is_read_as_arrow_reads_it(session: Session, text: str) -> None:
    decoded = session.decode(json.dumps({"__type__": "date", "value": text}))
    assert decoded == arrow.get(text)
    assert decoded.isoformat() == arrow.get(text).isoformat()


def test_when_a_tag_is_unknown_then_the_mapping_is_left_as_it_is(session: Session) -> None:
    assert session.decode('{"__type__": "hologram", "value": 1}') == {"__type__": "hologram", "value": 1}


def test_when_text_is_encoded_then_it_is_sorted_and_spaced_as_ever(session: Session) -> None:
    assert session.encode([{"b": 1, "a": "ä"}]) == '[{"a": "\\u00e4", "b": 1}]'
    payload = OperationPayload({"b": 1, "a": datetime.date(2020, 1, 2)})
    assert session.encode(payload) == '{"a": {"__type__": "datetime", "value": "2020-01-02"}, "b": 1}'


@pytest.fixture
def task(server: CannedServer, session: Session) -> Any:
    server.answer = lambda request: rows(
        "Task",
        {
            "id": "t1",
            "name": "anim",
            "time_logged": 3,
            "created_at": {"__type__": "datetime", "value": "2026-01-02T03:04:05"},
            "status": {"__entity_type__": "Status", "id": "s1", "name": "Ready"},
            "scopes": [{"__entity_type__": "Scope", "id": "a", "name": "x"}],
            "metadata": [{"__entity_type__": "Metadata", "parent_id": "t1", "key": "k", "value": "v"}],
        },
    )
    found = session.query("Task").one()
    server.answer = lambda request: rows("Task")
    return found


_RELATIONS = {
    "metadata": [{"__entity_type__": "Metadata", "key": "k", "parent_id": "t1"}],
    "scopes": [{"__entity_type__": "Scope", "id": "a"}],
    "status": {"__entity_type__": "Status", "id": "s1"},
}


def test_when_only_what_is_set_is_encoded_then_relations_are_references(session: Session, task: Any) -> None:
    task["name"] = "comp"
    assert json.loads(session.encode(task)) == {
        "__entity_type__": "Task",
        "id": "t1",
        "name": "comp",
        "time_logged": 3,
        "created_at": {"__type__": "datetime", "value": "2026-01-02T03:04:05+00:00"},
        **_RELATIONS,
    }


def test_when_only_changes_are_encoded_then_the_rest_is_left_out(session: Session, task: Any) -> None:
    assert len(task["scopes"]) == 1
    assert json.loads(session.encode(task, "modified_only")) == {"__entity_type__": "Task", "id": "t1"}
    task["name"] = "comp"
    task["status"] = None
    task["metadata"].collection.clear()
    assert json.loads(session.encode({"task": task}, "modified_only")) == {
        "task": {"__entity_type__": "Task", "id": "t1", "name": "comp", "status": None, "metadata": []}
    }


def test_when_what_the_server_sent_is_encoded_then_computed_values_are_left_out(
    session: Session, task: Any
) -> None:
    task["name"] = "comp"
    encoded = json.loads(session.encode(task, "persisted_only"))
    assert encoded["name"] == "anim"
    assert "time_logged" not in encoded
    assert {name: encoded[name] for name in _RELATIONS} == _RELATIONS


def test_when_everything_is_encoded_then_missing_values_are_loaded(
    session: Session, task: Any, server: CannedServer
) -> None:
    server.answer = lambda request: rows("Task", {"id": "t1", "sort": 7.5})
    with session.auto_populating(False):
        assert json.loads(session.encode(task, "all"))["sort"] == 7.5
        assert session.auto_populate is False


def test_when_collections_are_encoded_alone_then_they_are_references(session: Session, task: Any) -> None:
    assert json.loads(session.encode([task["scopes"], task["metadata"]])) == [
        _RELATIONS["scopes"],
        _RELATIONS["metadata"],
    ]


def test_when_a_strategy_is_unknown_then_it_is_named(session: Session) -> None:
    with pytest.raises(ValueError, match=r"'most'.*set_only"):
        session.encode({}, "most")


def test_when_a_value_cannot_be_written_then_it_is_named(session: Session) -> None:
    with pytest.raises(TypeError, match="of type object cannot be written"):
        session.encode([object()])


def test_when_an_entity_is_referred_to_then_type_and_key_do_it(session: Session, task: Any) -> None:
    assert session.entity_reference(task) == {"__entity_type__": "Task", "id": "t1"}
    nameless = session.types["Task"](session, reconstructing=True)
    assert session.entity_reference(nameless)["id"].name == "NOT_SET"


def test_when_an_entity_is_decoded_then_it_is_detached_and_merges(session: Session, task: Any) -> None:
    decoded = session.decode(session.encode(task, "persisted_only"))
    assert decoded == task
    assert decoded is not task
    assert decoded["status"]["name"] == "Ready"
    assert session.merge(decoded) is task
    assert session.merge([decoded, 3]) == [task, 3]
    assert session.merge(decoded["scopes"]) == list(task["scopes"])
    assert session.merge("text") == "text"
    assert session.merge(task["metadata"])[0]["value"] == "v"


def test_when_an_entity_of_another_session_is_merged_then_it_becomes_one_of_this(
    session: Session, task: Any, server: CannedServer
) -> None:
    with Session(server.url, "key", "jane", plugin_paths=[], schema_cache_path=False) as other:
        merged = other.merge(task)
        assert merged is not task
        assert merged.session is other
        assert merged["name"] == "anim"
        assert merged["status"].session is other
