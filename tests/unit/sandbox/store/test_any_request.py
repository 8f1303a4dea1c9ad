"""Whatever a client sends is carried out or answered with an error that is meant for it."""

import contextlib

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftrackd.sandbox.errors import RequestError
from ftrackd.sandbox.seeds.client_suites import PROJECT, TASK, USER
from ftrackd.sandbox.seeds.ids import seed_id
from ftrackd.sandbox.store import Actor, Store

ACTOR = Actor(USER, "demo", "Demo User")
SHOT = seed_id("Shot", "client_tests", "SH010")


@pytest.fixture(scope="module")
def shared():
    with Store.open(seed="minimal") as store:
        yield store


IDS = st.sampled_from([TASK, PROJECT, SHOT, USER, "nothing", ""])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["Task", "task", "show", "assignment", "2020-01-01", "1.5", "TypedContext"])
    | IDS
)
REFERENCES = st.builds(
    lambda entity_type, entity_id: {"__entity_type__": entity_type, "id": entity_id},
    st.sampled_from(["Task", "Project", "User", "Note", "Metadata", "Nonsense", "Context", "Status"]),
    IDS | st.none() | st.integers(),
)
TAGGED = st.builds(lambda value: {"__type__": "datetime", "value": value}, SCALARS)
VALUES = st.one_of(
    SCALARS,
    REFERENCES,
    TAGGED,
    st.lists(SCALARS | REFERENCES, max_size=3),
    st.dictionaries(st.text(max_size=3), SCALARS, max_size=2),
)


@st.composite
def requests(draw, store):
    kind = store.schema[draw(st.sampled_from(sorted(store.schema.types)))]
    names = draw(st.lists(st.sampled_from(sorted(kind.attributes)), max_size=5, unique=True))
    data = {name: draw(VALUES) for name in names}
    # Often with what makes it likely to succeed.
    for name, value in (
        ("parent_id", SHOT),
        ("context_id", TASK),
        ("user_id", USER),
        ("project_id", PROJECT),
    ):
        if name in kind.attributes and name not in data and draw(st.booleans()):
            data[name] = value
    key = draw(st.lists(IDS | SCALARS, min_size=0, max_size=3) | IDS)
    return draw(st.sampled_from(["create", "update", "delete"])), kind.name, key, data


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_when_anything_is_requested_then_it_is_done_or_refused(shared, data):
    action, entity_type, key, values = data.draw(requests(shared))

    class Undo(Exception):
        pass

    with contextlib.suppress(Undo, RequestError), shared.transaction(ACTOR) as transaction:
        if action == "create":
            made = transaction.create(entity_type, values)
            transaction.update(entity_type, made, values)
            transaction.delete(entity_type, made)
        elif action == "update":
            transaction.update(entity_type, key, values)
        else:
            transaction.delete(entity_type, key)
        for change in transaction.changes:
            change.to_payload()
        assert transaction.connection.execute(sa.text("PRAGMA foreign_key_check")).all() == []
        raise Undo
