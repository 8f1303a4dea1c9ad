"""Printing a tree and parsing it again gives the same tree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrackd.sandbox.query import QueryError, parse, print_query
from ftrackd.sandbox.query.tree import (
    Aggregate,
    And,
    Comparison,
    Criteria,
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

KEYWORDS = ["select", "from", "where", "order", "by", "limit", "is", "in", "any", "and", "or", "asc", "none"]
names = st.one_of(
    st.sampled_from(["id", "name", "status", *KEYWORDS]),
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
)
# "not" opens a negation, so it cannot be the first word of a path in criteria; no schema has it.
names = names.filter(lambda name: name != "not")
entity_types = st.sampled_from(["Task", "AssetVersion", "Shot"])
steps = st.builds(Step, names, st.none() | entity_types)
paths = st.lists(steps, min_size=1, max_size=4).map(lambda items: Path(tuple(items)))
values = st.one_of(
    st.text().filter(lambda text: not text.endswith("\\") and "\0" not in text).map(Value),
    st.from_regex(r"[A-Za-z0-9_.@:+-]{1,12}", fullmatch=True)
    .filter(lambda text: text != "not")
    .map(lambda text: Value(text, is_quoted=False)),
)
comparisons = st.builds(Comparison, paths, st.sampled_from(Operator), values)
memberships = st.builds(Membership, paths, st.lists(values, max_size=4).map(tuple), st.booleans())


def _compound(children: st.SearchStrategy[Criteria]) -> st.SearchStrategy[Criteria]:
    several = st.lists(children, min_size=2, max_size=4).map(tuple)
    return st.one_of(
        st.builds(Not, children),
        st.builds(And, several),
        st.builds(Or, several),
        st.builds(Quantified, paths, st.sampled_from(["any", "has"]), st.none() | children),
        st.builds(QueryMembership, paths, _queries(children), st.booleans()),
    )


def _queries(criteria: st.SearchStrategy[Criteria]) -> st.SearchStrategy[Query]:
    """Queries as they stand inside parentheses: recognisable by a projection."""
    return st.builds(
        Query,
        entity_type=entity_types,
        projections=st.lists(paths, min_size=1, max_size=2).map(tuple),
        criteria=st.none() | criteria,
    )


criteria = st.recursive(comparisons | memberships, _compound, max_leaves=12)
aggregates = st.builds(Aggregate, st.sampled_from(["count", "sum", "avg", "min", "max"]), paths)
counts = st.none() | st.integers(0, 10**12)
queries = st.builds(
    Query,
    entity_type=entity_types,
    projections=st.lists(paths | aggregates, max_size=4).map(tuple),
    criteria=st.none() | criteria,
    group_by=st.lists(paths, max_size=2).map(tuple),
    order_by=st.lists(st.builds(Order, paths, st.booleans()), max_size=3).map(tuple),
    limit=counts,
    offset=counts,
)


@given(queries)
@settings(max_examples=50)
def test_when_printed_and_parsed_then_tree_is_the_same(query: Query) -> None:
    text = print_query(query)
    assert parse(text) == query
    assert print_query(parse(text)) == text


@given(st.text(max_size=60))
@settings(max_examples=100)
def test_when_text_is_arbitrary_then_only_query_errors_leave_the_parser(text: str) -> None:
    for candidate in (text, f"Task where {text}", f"select {text} from Task where a in ({text})"):
        try:
            query = parse(candidate)
        except QueryError as error:
            assert error.position is None or 0 <= error.position <= len(candidate)
        else:
            assert parse(print_query(query)) == query


words = st.sampled_from(
    [*KEYWORDS, "not", "(", ")", ",", ".", "[", "]", "=", "!=", "<", '"', "'", "\\", "x", "Task", "3", "has"]
)


@given(st.lists(words, max_size=25), st.sampled_from(["", " "]))
@settings(max_examples=80)
def test_when_words_are_shuffled_then_parse_or_error(pieces: list[str], blank: str) -> None:
    text = "Task where a is b " + blank.join(pieces)
    try:
        query = parse(text)
    except QueryError:
        return
    assert parse(print_query(query)) == query


@pytest.mark.parametrize(
    "value", [Value("a b", is_quoted=False), Value("", is_quoted=False), Value("ends with \\")]
)
def test_when_value_cannot_be_written_then_printing_says_so(value: Value) -> None:
    with pytest.raises(ValueError, match=r"cannot be written|backslash"):
        print_query(Query("Task", criteria=Comparison(Path((Step("a"),)), Operator.EQUAL, value)))


def test_printing_is_canonical() -> None:
    text = (
        "select  a ,b[Task].c from Task where ((x='1')) and (y after 2 or not (z not in (1,2,))) "
        "order by a asc limit 3 offset 1"
    )
    assert print_query(parse(text)) == (
        'select a, b[Task].c from Task where x is "1" and (y > 2 or not z not_in (1, 2)) '
        "order by a offset 1 limit 3"
    )
