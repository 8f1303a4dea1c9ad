"""Whatever is asked of whatever there is, an answer or a query error comes back."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrackd.sandbox.query import QueryError, QuerySyntaxError, execute, print_query, search
from ftrackd.sandbox.query.tree import (
    Aggregate,
    And,
    Comparison,
    Membership,
    Not,
    Operator,
    Or,
    Order,
    Path,
    Quantified,
    Query,
    QueryMembership,
    Step,
    Value,
)
from ftrackd.sandbox.schema.model import Collection, Computed, Reference

from . import world

#: Not the fixture: hypothesis would print it with each example that fails.
SCHEMA = world.make_schema()
VALUES = [
    "None",
    "True",
    "0",
    "3",
    "-1.5",
    "2026-01-10",
    "2026-01-10T00:00:00+02:00",
    "anim",
    "t-anim",
    "%a_",
    "",
    "é'\"",
]
values = st.builds(Value, st.sampled_from(VALUES), st.just(True)) | st.builds(
    Value, st.sampled_from([text for text in VALUES if text and "'" not in text]), st.just(False)
)


@st.composite
def paths(draw: st.DrawFn, entity_type: str) -> Path:
    """A path that mostly exists."""
    steps: list[Step] = []
    current = SCHEMA.types[entity_type]
    for _ in range(draw(st.integers(1, 4))):
        names = {**current.attributes}
        for subtype in SCHEMA.subtypes(current.name):
            names.update(subtype.attributes)
        attribute = names[draw(st.sampled_from(sorted(names)))]
        cast = None
        if isinstance(attribute, Reference | Collection):
            current = SCHEMA.types[attribute.target]
            subtypes = [subtype.name for subtype in SCHEMA.subtypes(current.name)]
            if subtypes and draw(st.integers(0, 4)) == 0:
                cast = draw(st.sampled_from(subtypes))
                current = SCHEMA.types[cast]
        steps.append(Step(attribute.name, cast))
        if not isinstance(attribute, Reference | Collection):
            break
    return Path(tuple(steps))


def _end_type(entity_type: str, path: Path) -> str:
    current = entity_type
    for step in path.steps:
        found = next(iter(SCHEMA.find(SCHEMA.types[current], step.name)), None)
        target = getattr(found[1], "target", "") if found else ""
        current = step.cast or target or current
    return current


@st.composite
def criteria(draw: st.DrawFn, entity_type: str, depth: int = 0) -> object:
    kind = draw(st.integers(0, 9 if depth < 2 else 4))
    if kind <= 2:
        return Comparison(draw(paths(entity_type)), draw(st.sampled_from(Operator)), draw(values))
    path = draw(paths(entity_type))
    if kind <= 4:
        return Membership(path, tuple(draw(st.lists(values, max_size=12))), draw(st.booleans()))
    if kind == 5:
        return Not(draw(criteria(entity_type, depth + 1)))
    if kind == 6:
        return And(tuple(draw(st.lists(criteria(entity_type, depth + 1), min_size=2, max_size=3))))
    if kind == 7:
        return Or(tuple(draw(st.lists(criteria(entity_type, depth + 1), min_size=2, max_size=3))))
    if kind == 8:
        inner = draw(st.none() | criteria(_end_type(entity_type, path), depth + 1))
        return Quantified(path, draw(st.sampled_from(["any", "has"])), inner)
    return QueryMembership(path, draw(queries(depth + 1)), draw(st.booleans()))


@st.composite
def queries(draw: st.DrawFn, depth: int = 0) -> Query:
    entity_type = draw(st.sampled_from(sorted(SCHEMA.types)))
    projections = draw(st.lists(paths(entity_type), min_size=int(depth > 0), max_size=1 if depth else 4))
    aggregates = []
    if depth == 0 and draw(st.integers(0, 9)) == 0:
        functions = st.sampled_from(["count", "sum", "avg", "min", "max"])
        aggregates = draw(st.lists(st.builds(Aggregate, functions, paths(entity_type)), max_size=2))
    return Query(
        entity_type,
        (*projections, *aggregates),
        draw(st.none() | criteria(entity_type, depth)),
        tuple(projections) if aggregates else (),
        tuple(draw(st.lists(st.builds(Order, paths(entity_type), st.booleans()), max_size=2))),
        draw(st.none() | st.integers(0, 3)),
        draw(st.none() | st.integers(0, 3)),
    )


@given(query=queries())
@settings(max_examples=70)
def test_when_anything_is_asked_then_an_answer_or_a_query_error_comes(
    connection: sa.Connection, query: Query
) -> None:
    try:
        with connection.begin_nested():
            answer = execute(connection, SCHEMA, query)
    except QueryError:
        return
    # The text of the query is answered alike, and the answer is JSON.
    again = execute(connection, SCHEMA, print_query(query))
    assert json.dumps(answer.rows) == json.dumps(again.rows)
    if query.limit is not None:
        assert len(answer.rows) <= query.limit


@given(query=queries())
@settings(max_examples=70)
def test_when_criteria_are_negated_then_exactly_the_other_rows_are_found(
    connection: sa.Connection, query: Query
) -> None:
    if query.criteria is None:
        return
    key = tuple(Path((Step(name),)) for name in SCHEMA[query.entity_type].primary_key)

    def find(criteria: object) -> list[str]:
        rows = execute(connection, SCHEMA, Query(query.entity_type, key, criteria)).rows
        return [json.dumps(row) for row in rows]

    try:
        with connection.begin_nested():
            found, others = find(query.criteria), find(Not(query.criteria))
    except QueryError:
        return
    assert not set(found) & set(others)
    assert len(set(found)) == len(found)
    assert sorted(found + others) == sorted(find(None))


def _first_occurrences(rows: list[Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    """What the official client keeps of an answer: first occurrences, in the order of the schema."""
    kept: dict[tuple[str, ...], dict[str, Any]] = {}

    def visit(value: Any) -> Any:
        if isinstance(value, list):
            return [visit(member) for member in value]
        if not isinstance(value, dict) or "__entity_type__" not in value:
            return value
        entity_type = SCHEMA[value["__entity_type__"]]
        key = (entity_type.name, *(str(value[name]) for name in entity_type.primary_key))
        is_first = key not in kept
        attributes = kept.setdefault(key, {})
        for name in entity_type.attributes:
            if name in value:
                found = visit(value[name])
                if is_first:
                    attributes[name] = found
        return key

    for row in rows:
        visit(row)
    return kept


def _everything(rows: list[Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    """All that an answer says of each entity, wherever it does."""
    said: dict[tuple[str, ...], dict[str, Any]] = {}

    def visit(value: Any) -> Any:
        if isinstance(value, list):
            return [visit(member) for member in value]
        if not isinstance(value, dict) or "__entity_type__" not in value:
            return value
        entity_type = SCHEMA[value["__entity_type__"]]
        key = (entity_type.name, *(str(value[name]) for name in entity_type.primary_key))
        said.setdefault(key, {}).update({name: visit(item) for name, item in value.items()})
        return key

    visit(rows)
    return said


@given(
    data=st.data(),
    entity_type=st.sampled_from(["Task", "Context", "AssetVersion", "Asset", "Note", "Project"]),
)
@settings(max_examples=70)
def test_when_a_client_keeps_first_occurrences_then_it_has_everything_that_was_asked(
    connection: sa.Connection, data: st.DataObject, entity_type: str
) -> None:
    projections = tuple(data.draw(st.lists(paths(entity_type), min_size=1, max_size=5)))
    query = Query(entity_type, projections)
    try:
        repeated = execute(connection, SCHEMA, query, repeat=True).rows
    except QueryError:
        return
    kept = _first_occurrences(execute(connection, SCHEMA, query).rows)
    for key, said in _everything(repeated).items():
        for name, value in said.items():
            if name != "__entity_type__":
                assert kept[key][name] == value


@pytest.mark.parametrize("name", sorted(SCHEMA.types))
def test_when_each_attribute_of_a_type_is_asked_for_then_there_is_an_answer(
    connection: sa.Connection, name: str
) -> None:
    entity_type = SCHEMA[name]
    projectable = [item.name for item in entity_type.attributes.values() if not item.is_restricted]
    rows = execute(connection, SCHEMA, f"select {', '.join(projectable)} from {name}").rows
    for row in rows:
        assert set(entity_type.primary_key) <= set(row)
        assert set(projectable) <= set(row)
    json.dumps(rows)
    collections = [
        f"({item.name} any () and not {item.name} any ())"
        for item in entity_type.attributes.values()
        if isinstance(item, Collection)
    ]
    if collections:
        assert execute(connection, SCHEMA, f"{name} where {' or '.join(collections)}").rows == []
    comparable = [
        item.name
        for item in entity_type.attributes.values()
        if not isinstance(item, Collection) and (not isinstance(item, Computed) or item.is_filterable)
    ]
    for null in ("is None", "is_not None"):
        criteria = " or ".join(f"{attribute} {null}" for attribute in comparable)
        assert execute(connection, SCHEMA, f"{name} where {criteria} limit 1") is not None


@given(
    st.lists(st.text(max_size=8), max_size=3), st.sampled_from(["Context", "AssetVersion", "User", "Note"])
)
@settings(max_examples=40)
def test_when_any_words_are_searched_then_an_answer_comes(
    connection: sa.Connection, terms: list[str], entity_type: str
) -> None:
    try:
        answer = search(connection, SCHEMA, entity_type, terms=terms)
    except QuerySyntaxError:
        assert any("\0" in term for term in terms)
    else:
        assert answer.next_offset is None
