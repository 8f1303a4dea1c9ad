"""Every form of query that clients are known to send, and what it means."""

import time
import uuid

import pytest

from ftrackd.sandbox.query import QueryError, QuerySyntaxError, QueryTooComplexError, parse
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


def path(text: str) -> Path:
    steps = []
    for step in text.split("."):
        name, _, cast = step.partition("[")
        steps.append(Step(name, cast.rstrip("]") or None))
    return Path(tuple(steps))


def paths(text: str) -> tuple[Path, ...]:
    return tuple(path(name.strip()) for name in text.split(","))


def quoted(attribute: str, text: str, operator: Operator = Operator.EQUAL) -> Comparison:
    return Comparison(path(attribute), operator, Value(text))


def bare(attribute: str, text: str, operator: Operator = Operator.EQUAL) -> Comparison:
    return Comparison(path(attribute), operator, Value(text, is_quoted=False))


WHOLE_QUERIES = {
    "Project": Query("Project"),
    'Task where id is "x"': Query("Task", criteria=quoted("id", "x")),
    "select name, label from Location": Query("Location", paths("name, label")),
    "select link, name , parent, parent.name from Context": Query(
        "Context", paths("link, name, parent, parent.name")
    ),
    "select status.state.short from Task": Query("Task", paths("status.state.short")),
    "select versions.components.name from Asset": Query("Asset", paths("versions.components.name")),
    "select children.children.children from Project": Query("Project", paths("children.children.children")),
    "select custom_attributes, versions.custom_attributes from Asset": Query(
        "Asset", paths("custom_attributes, versions.custom_attributes")
    ),
    "select metadata.key, metadata.value from Task": Query("Task", paths("metadata.key, metadata.value")),
    "select asset.parent[Shot].parent[Sequence].name from AssetVersion": Query(
        "AssetVersion", paths("asset.parent[Shot].parent[Sequence].name")
    ),
    "select from, to from AssetVersionLink": Query("AssetVersionLink", paths("from, to")),
    "select from from TypedContextLink": Query("TypedContextLink", paths("from")),
    "select order, select, where, limit from Thing where order is where": Query(
        "Thing", paths("order, select, where, limit"), bare("order", "where")
    ),
    "Task order by name": Query("Task", order_by=(Order(path("name")),)),
    "Task order by version descending": Query("Task", order_by=(Order(path("version"), True),)),
    "Task order by priority.sort limit 5": Query("Task", order_by=(Order(path("priority.sort")),), limit=5),
    "Task order by a asc, b desc, c ascending, d": Query(
        "Task",
        order_by=(Order(path("a")), Order(path("b"), True), Order(path("c")), Order(path("d"))),
    ),
    "Task order by descending descending": Query("Task", order_by=(Order(path("descending"), True),)),
    "Task limit 5": Query("Task", limit=5),
    "Task offset 10 limit 5": Query("Task", limit=5, offset=10),
    "Task limit 5 offset 10": Query("Task", limit=5, offset=10),
    "select name from Task where a is b offset 0 limit 500": Query(
        "Task", paths("name"), bare("a", "b"), limit=500, offset=0
    ),
    "select count(id) from Task group by project_id, status_id": Query(
        "Task", (Aggregate("count", path("id")),), group_by=paths("project_id, status_id")
    ),
    "select project_id, max( bid ) from Task group by project_id": Query(
        "Task", (path("project_id"), Aggregate("max", path("bid"))), group_by=paths("project_id")
    ),
    "select count from Thing": Query("Thing", paths("count")),
    "\n  select\n name\n,\tid\n from   Task\n where\n name   is\n 'a'\n\n": Query(
        "Task", paths("name, id"), quoted("name", "a")
    ),
}


@pytest.mark.parametrize(("text", "expected"), WHOLE_QUERIES.items(), ids=list(WHOLE_QUERIES))
def test_whole_query_has_the_meaning(text: str, expected: Query) -> None:
    assert parse(text) == expected


IDENTIFIER = "5671dcb0-66de-11e1-8e6e-f23c91df25eb"
CRITERIA = {
    'name is "x"': quoted("name", "x"),
    "name is 'ftrack.server'": quoted("name", "ftrack.server"),
    "status is running": bare("status", "running"),
    f"id is {IDENTIFIER}": bare("id", IDENTIFIER),
    "metadata.key is 3f2a": bare("metadata.key", "3f2a"),
    "username is jane.doe@studio.com": bare("username", "jane.doe@studio.com"),
    "is_active = False": bare("is_active", "False"),
    'username="x"': quoted("username", "x"),
    "status=active": bare("status", "active"),
    "id=x": bare("id", "x"),
    "object_type_id != 'x'": quoted("object_type_id", "x", Operator.NOT_EQUAL),
    "task_id != none": bare("task_id", "none", Operator.NOT_EQUAL),
    "username is_not x": bare("username", "x", Operator.NOT_EQUAL),
    "asset is_not None": bare("asset", "None", Operator.NOT_EQUAL),
    "is_latest_version is True": bare("is_latest_version", "True"),
    'version is "3"': quoted("version", "3"),
    "version is 3": bare("version", "3"),
    "version>=3": bare("version", "3", Operator.GREATER_OR_EQUAL),
    "version<=-1.5e3": bare("version", "-1.5e3", Operator.LESS_OR_EQUAL),
    'created_at < "2024-01-01T10:00:00"': quoted("created_at", "2024-01-01T10:00:00", Operator.LESS),
    "created_at > 2023-11-01": bare("created_at", "2023-11-01", Operator.GREATER),
    'timelogs.start >= "2020-01-01T00:00:00+00:00"': quoted(
        "timelogs.start", "2020-01-01T00:00:00+00:00", Operator.GREATER_OR_EQUAL
    ),
    "start after 2020-01-01": bare("start", "2020-01-01", Operator.GREATER),
    "start before 2020-01-01": bare("start", "2020-01-01", Operator.LESS),
    "bid greater_than 3": bare("bid", "3", Operator.GREATER),
    "bid less_than 3": bare("bid", "3", Operator.LESS),
    'status in ("queued", "running")': Membership(path("status"), (Value("queued"), Value("running"))),
    "id in (a,b,c)": Membership(path("id"), tuple(Value(text, False) for text in "abc")),
    "name in ('a',)": Membership(path("name"), (Value("a"),)),
    "name in (\"a, b\", 'c)' , d )": Membership(
        path("name"), (Value("a, b"), Value("c)"), Value("d", False))
    ),
    "id in ()": Membership(path("id"), ()),
    "id in(select)": Membership(path("id"), (Value("select", False),)),
    'status.name not_in ("Omitted", "On Hold")': Membership(
        path("status.name"), (Value("Omitted"), Value("On Hold")), True
    ),
    "asset.type_id not in (a)": Membership(path("asset.type_id"), (Value("a", False),), True),
    "name like 'a%'": quoted("name", "a%", Operator.LIKE),
    'name not_like "%x"': quoted("name", "%x", Operator.NOT_LIKE),
    "a is 1 and (b is 2 or c is 3)": And((bare("a", "1"), Or((bare("b", "2"), bare("c", "3"))))),
    "a is 1 and b is 2 or c is 3 and d is 4": Or(
        (And((bare("a", "1"), bare("b", "2"))), And((bare("c", "3"), bare("d", "4"))))
    ),
    "(a in (x) or b in (y)) and c is 'd'": And(
        (
            Or(
                (
                    Membership(path("a"), (Value("x", False),)),
                    Membership(path("b"), (Value("y", False),)),
                )
            ),
            quoted("c", "d"),
        )
    ),
    "((((a is b))))": bare("a", "b"),
    "not timelogs any ()": Not(Quantified(path("timelogs"), "any", None)),
    "not not a is b": Not(Not(bare("a", "b"))),
    "not a is b and c is d": And((Not(bare("a", "b")), bare("c", "d"))),
    "version.asset.parent.project_id is 'x'": quoted("version.asset.parent.project_id", "x"),
    'children any (id is "x")': Quantified(path("children"), "any", quoted("id", "x")),
    'ancestors any (id=x) or id is "x"': Or(
        (Quantified(path("ancestors"), "any", bare("id", "x")), quoted("id", "x"))
    ),
    'ancestors any(id="x")': Quantified(path("ancestors"), "any", quoted("id", "x")),
    "author has (first_name is 'a' and last_name is 'b')": Quantified(
        path("author"), "has", And((quoted("first_name", "a"), quoted("last_name", "b")))
    ),
    "name is 'a' and parent[TypedContext] has (name is 'b' and parent has (name is 'c'))": And(
        (
            quoted("name", "a"),
            Quantified(
                path("parent[TypedContext]"),
                "has",
                And((quoted("name", "b"), Quantified(path("parent"), "has", quoted("name", "c")))),
            ),
        )
    ),
    "metadata any (key=k and value=v)": Quantified(
        path("metadata"), "any", And((bare("key", "k"), bare("value", "v")))
    ),
    "name is 'storage_scenario' and group is 'STORAGE'": And(
        (quoted("name", "storage_scenario"), quoted("group", "STORAGE"))
    ),
    "order is 1 and limit is in and in in (in) and group any (any is is)": And(
        (
            bare("order", "1"),
            bare("limit", "in"),
            Membership(path("in"), (Value("in", False),)),
            Quantified(path("group"), "any", bare("any", "is")),
        )
    ),
    '(a is "x"and b is "y") or (a is "z"and b is "w")': Or(
        (And((quoted("a", "x"), quoted("b", "y"))), And((quoted("a", "z"), quoted("b", "w"))))
    ),
    "id in (select task_id from AssetVersion where version > 3 limit 2)": QueryMembership(
        path("id"),
        Query("AssetVersion", (path("task_id"),), bare("version", "3", Operator.GREATER), limit=2),
    ),
    "id not_in (Task where name is x)": QueryMembership(
        path("id"), Query("Task", criteria=bare("name", "x")), True
    ),
}


@pytest.mark.parametrize(("text", "expected"), CRITERIA.items(), ids=list(CRITERIA))
def test_criteria_have_the_meaning(text: str, expected: object) -> None:
    assert parse(f"Thing where {text}").criteria == expected
    assert parse(f"select id from Thing where {text} order by id limit 1").criteria == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a \"b\" c"', 'a "b" c'),
        (r"'it\'s'", "it's"),
        (r'"it\'s"', "it's"),
        ('"it\'s"', "it's"),
        ("'say \"x\"'", 'say "x"'),
        (r'"C:\temp\new"', r"C:\temp\new"),
        (r'"\\server\share"', r"\\server\share"),
        (r'"a\\"b"', r"a\"b"),
        ('"two\nlines"', "two\nlines"),
        ('""', ""),
        ('"日本 \U0001f600"', "日本 \U0001f600"),
    ],
)
def test_quoted_text_keeps_all_but_escaped_quotes(text: str, value: str) -> None:
    assert parse(f"T where a is {text}").criteria == quoted("a", value)
    assert parse(f"T where a in ({text})").criteria == Membership(path("a"), (Value(value),))


def test_null_is_the_unquoted_word_alone() -> None:
    assert Value("None", is_quoted=False).is_null
    assert Value("none", is_quoted=False).is_null
    assert not Value("None").is_null
    assert not Value("NONE", is_quoted=False).is_null


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 0, ["entity type", "the end of the query"]),
        ("   ", 3, ["entity type"]),
        ("select", 6, ["attribute to select", "the end"]),
        ("select name", 11, ["'from'"]),
        ("select name Task", 12, ["',' or 'from'", "'Task'"]),
        ("select name, from", 17, ["',' or 'from'"]),
        ("select a. from T", 15, ["'from'", "'T'"]),
        ("select size(id) from T", 7, ["'size'", "aggregate"]),
        ("Task where", 10, ["attribute to compare", "the end"]),
        ("Task having x", 5, ["'where'", "'having'"]),
        ("Task where name", 15, ["operator", "the end"]),
        ("Task where name == x", 16, ["operator", "'='"]),
        ("Task where name is", 18, ["a value after 'is'"]),
        ("Task where name is )", 19, ["a value after 'is'", "')'"]),
        ("Task where name IS x", 16, ["operator", "'IS'", "lower case"]),
        ("Task where a is b AND c is d", 18, ["'and'", "'AND'", "lower case"]),
        ("Task where name is two words", 23, ["'and'", "'words'", "quoted"]),
        ("Task where name is not none", 19, ["is_not"]),
        ("Task where (a is b", 18, ["')'", "the end"]),
        ("Task where a is b)", 17, ["'and'", "')'"]),
        ("Task where a in b", 16, ["'('", "'b'"]),
        ("Task where a in (b c)", 19, ["','", "'c'"]),
        ("Task where a in (b,", 19, ["a value or ')'"]),
        ("Task where a in (,)", 17, ["a value or ')'"]),
        ("Task where a not b", 17, ["'in' after 'not'", "'b'"]),
        ('Task where a is "b', 16, ["never closed"]),
        ('Task where a is "b\\"', 16, ["never closed", "backslash"]),
        ("Task where a any b", 17, ["'('"]),
        ("Task order name", 11, ["'by'"]),
        ("Task order by", 13, ["attribute to order by"]),
        ("Task limit x", 11, ["whole number", "'x'"]),
        ("Task limit -1", 11, ["whole number"]),
        ("Task limit", 10, ["whole number"]),
        ("Task limit 1 limit 2", 13, ["given twice"]),
        ("Task where “a” is b", 11, ["attribute to compare"]),
        ("Task where a is “b”", 16, ["typographic"]),
        ("Task where a in (x, \u2018b\u2019)", 20, ["typographic"]),
        ("Task where a is b and offset 0 limit 5", 29, ["operator", "'0'", "left over"]),
        ("Task where a is b; drop", 19, ["'drop'"]),
        ("select parent[ from X", 20, ["']'", "'X'"]),
        ("select parent[Task from X", 19, ["']'", "'from'"]),
        ('Task where name is "a\ud800b"', 21, ["half a character"]),
        ('Task where name is "a\0b"', 21, ["NUL"]),
        ("Task where\n  name is\n  two words", 27, ["line 3 column 7"]),
    ],
)
def test_error_names_position_and_expectation(text: str, position: int, words: list[str]) -> None:
    with pytest.raises(QuerySyntaxError) as caught:
        parse(text)
    assert caught.value.position == position
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "Task where " + "(" * 10_000 + "a is b" + ")" * 10_000,
        "Task where " + "(" * 10_000,
        "Task where " + "not " * 10_000 + "a is b",
        "Task where " + "a any (" * 10_000,
        "Task where " + "a in (select b from T where " * 10_000,
        "Task where " + " and ".join(["a is b"] * 20_000),
        "Task where a is " + "b" * 5_000_000,
    ],
    ids=["parentheses", "unclosed", "not", "any", "queries", "criteria", "length"],
)
def test_when_query_is_monstrous_then_error_is_typed_and_quick(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(QueryTooComplexError):
        parse(text)
    # A generous bound against quadratic or exponential behaviour, not a measurement.
    assert time.perf_counter() - started < 5


def test_when_query_is_as_deep_as_allowed_then_it_parses() -> None:
    assert parse("Task where " + "(" * 100 + "a is b" + ")" * 100).criteria == bare("a", "b")


@pytest.mark.parametrize(
    "text",
    [
        'Task where a is "' + '\\"' * 300_000,
        "Task where a is '" + "\\" * 900_000,
        "Task where a in (" + "'x' " * 200_000,
        "Task" + " " * 900_000 + "where",
        "select " + "a." * 400_000 + " from Task",
        "Task where a is b " + "(" * 900_000,
    ],
)
def test_when_text_is_huge_and_wrong_then_error_stays_short(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert len(str(caught.value)) < 400


def test_when_list_holds_a_megabyte_then_all_values_arrive() -> None:
    identifiers = [str(uuid.UUID(int=number)) for number in range(27_000)]
    criteria = parse(f"Task where id in ({','.join(identifiers)})").criteria
    assert isinstance(criteria, Membership)
    assert [value.text for value in criteria.values] == identifiers
