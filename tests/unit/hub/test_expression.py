"""Expressions: what is accepted, what it means, and that nothing odd leaves the parser or a match."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.api.event import expression
from ftrackd.api.event.base import Event
from ftrackd.api.event.expression import All, Condition, Expression, Not, Parser, server_text
from ftrackd.api.event.subscriber import Subscriber
from ftrackd.api.event.subscription import Subscription
from ftrackd.api.exception import ParseError
from ftrackd.sandbox.events import expression as server_expression


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a=b", "<Condition a=b>"),
        ("  a = b  ", "<Condition a=b>"),
        ("a!=b", "<Condition a!=b>"),
        ("a >= 4.2", "<Condition a>=4.2>"),
        ('a="b c:d"', "<Condition a=b c:d>"),
        ("a='b \"c'", '<Condition a=b "c>'),
        (r'a="b\"', r"<Condition a=b\>"),
        (r'a="b\"c" and d=e', r"<All [<Condition a=b\"c> <Condition d=e>]>"),
        ("a='b''c'", "<Condition a=b''c>"),
        ('a="" and b=""', "<All [<Condition a=> <Condition b=>]>"),
        ('a=""', "<Condition a=>"),
        ("not a=b", "<Not <Condition a=b>>"),
        ("not not a=b", "<Not <Not <Condition a=b>>>"),
        ("NOT a=b AND c=d", "<All [<Not <Condition a=b>> <Condition c=d>]>"),
        ("a=b and c=d and e=f", "<All [<Condition a=b> <Condition c=d> <Condition e=f>]>"),
        ("a=b or c=d and e=f", "<Any [<Condition a=b> <All [<Condition c=d> <Condition e=f>]>]>"),
        ("(a=b or c=d) and e=f", "<All [<Any [<Condition a=b> <Condition c=d>]> <Condition e=f>]>"),
        ("not(a=b)", "<Not <Condition a=b>>"),
        ("((a=b))", "<Condition a=b>"),
        ('topic="x"and data.y=1', "<All [<Condition topic=x> <Condition data.y=1>]>"),
        ("topic=ftrack.update  and  a=b", "<All [<Condition topic=ftrack.update> <Condition a=b>]>"),
        ("source.user.username=anna.b@studio.com", "<Condition source.user.username=anna.b@studio.com>"),
        ("data.actionIdentifier=my-action,v1/2+3*", "<Condition data.actionIdentifier=my-action,v1/2+3*>"),
        ("not=1", "<Condition not=1>"),
        ("android=x or orange=y", "<Any [<Condition android=x> <Condition orange=y>]>"),
        ("a=and and b=or", "<All [<Condition a=and> <Condition b=or>]>"),
    ],
)
def test_when_an_expression_is_parsed_then_its_text_form_shows_the_structure(text, shown):
    assert str(Parser().parse(text)) == shown


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "something is missing"),
        ("   ", "something is missing"),
        ("*", "a condition such as"),
        ("a", "needs an operator"),
        ("a=", "a value is missing"),
        ("a==b", "one ="),
        ("a=b:c", "must be quoted"),
        ("user=anna maria", "must be quoted"),
        ("user=jörg", "must be quoted"),
        ("(a=b:c)", "must be quoted"),
        ('a="b', "a quote is not closed"),
        ("a=b c=d", "joined by"),
        ("a=b)", "no opening one"),
        ("(a=b", "something is missing"),
        ("a=b and", "something is missing"),
        ("and a=b", ""),
        ("a=b or or c=d", ""),
        ("not", "something is missing"),
        ("a=b (c=d)", "joined by"),
        ("a=é", "must be quoted"),
    ],
)
def test_when_text_is_no_expression_then_the_error_says_where_and_why(text, hint):
    with pytest.raises(ParseError, match="character") as caught:
        Parser().parse(text)
    assert hint in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, {"id": "x"}, b"a=b"])
def test_when_an_expression_is_no_text_then_it_is_a_parse_error(value):
    with pytest.raises(ParseError, match="is text"):
        Parser().parse(value)


@pytest.mark.parametrize("text", ["(" * 100_000, "not " * 16_000 + "a=b", "(" * 5000 + "a=b" + ")" * 5000])
def test_when_text_is_nested_without_end_then_it_is_refused_instead_of_exhausting_the_stack(text):
    with pytest.raises(ParseError, match=r"nested deeper|too long"):
        Parser().parse(text)


def test_when_text_is_nested_as_deep_as_allowed_then_it_is_parsed():
    depth = expression.MAXIMUM_DEPTH - 1
    assert str(Parser().parse("(" * depth + "a=b" + ")" * depth)) == "<Condition a=b>"


EVENT: dict[str, Any] = {
    "topic": "ftrack.update",
    "data": {
        "n": 10,
        "ratio": 0.5,
        "flag": True,
        "nothing": None,
        "text": "10",
        "empty": "",
        "list": ["a", "b", 3],
        "map": {"key": 1},
        "nan": math.nan,
        "huge": 10**400,
        "infinite": math.inf,
    },
    "source": {"user": {"username": "anna"}},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("topic=ftrack.update", True),
        ("topic=ftrack.updat", False),
        ("topic=*", True),
        ("topic=ftrack.*", True),
        ("topic=update*", True),  # the rest may occur anywhere, as in the official client
        ("topic=f*e", False),  # a star elsewhere is a character
        ("topic!=ftrack.*", True),
        ("source.user.username=anna", True),
        ("source.user.username.first=anna", False),
        ("source.nobody.username=anna", False),
        # A missing key makes a condition false, whatever it asks.
        ("data.missing=1", False),
        ("data.missing!=1", False),
        ("not data.missing=1", True),
        ("data.missing>1", False),
        # Numbers compare with numbers.
        ("data.n=10", True),
        ("data.n=10.0", True),
        ("data.n=1e1", True),
        ("data.n!=10", False),
        ("data.n!=11", True),
        ("data.n>5", True),
        ("data.n>=10", True),
        ("data.n<5", False),
        ("data.n<=9.99", False),
        ("data.ratio<1", True),
        ("data.n=ten", False),
        ("data.n!=ten", True),
        ("data.n>ten", False),
        ("data.n=1*", False),
        ('data.n=""', False),
        ("data.huge>5", True),
        ("data.infinite>5", True),
        ("data.nan>5", False),
        ("data.nan=nan", False),
        # Text compares with text.
        ("data.text=10", True),
        ("data.text=10.0", False),
        ("data.text>=3", False),
        ("data.text<3", True),
        ('data.empty=""', True),
        ('data.text=""', False),
        ("data.empty=*", True),
        # Everything else equals nothing.
        ("data.flag=true", False),
        ("data.flag=True", False),
        ("data.flag=1", False),
        ("data.flag!=1", True),
        ("data.flag>0", False),
        ("data.nothing=None", False),
        ("data.nothing!=x", True),
        ("data.nothing=*", False),
        ("data.nothing>1", False),
        ("data.list=a", False),
        ("data.list=a*", True),
        ("data.list=c*", False),
        ("data.list>1", False),
        ("data.list.0=a", False),
        ("data.map=key*", True),
        ("data.map.key=1", True),
        # Combinations.
        ("topic=ftrack.update and (data.n=1 or data.n=10)", True),
        ("topic=ftrack.update and not (data.n=1 or data.n=10)", False),
        ("data.n=1 or data.n=2 or data.n=10", True),
        ("data.n=10 and data.text=10 and data.ratio=0.5 and data.n=3", False),
    ],
)
def test_when_an_event_is_matched_then_values_mean_what_the_manual_says(text, expected):
    assert Parser().parse(text).match(EVENT) is expected
    assert (
        Parser().parse(text).match(Event("ftrack.update", data=EVENT["data"], source=EVENT["source"]))
        is expected
    )


def test_when_expressions_are_empty_then_all_matches_and_any_does_not():
    assert Expression().match({})
    assert All().match({})
    assert not expression.Any().match({})
    assert str(Expression()) == "<Expression>"


def test_when_a_condition_has_an_unknown_operator_then_it_is_refused():
    with pytest.raises(ValueError, match="Operator '~'"):
        Condition("a", "~", "b")


def test_when_a_subscriber_is_asked_then_its_subscription_decides():
    subscriber = Subscriber("topic=test.a and data.x=1", lambda event: None, {"id": "s"}, 100)
    assert subscriber.interested_in(Event("test.a", data={"x": "1"}))
    assert not subscriber.interested_in(Event("test.b", data={"x": "1"}))
    assert str(subscriber) == "<Subscriber metadata={'id': 's'} subscription=\"topic=test.a and data.x=1\">"
    assert str(Subscription("topic=x")) == "topic=x"


# Properties.

KEYS = st.sampled_from(["topic", "data.n", "data.text", "source.user.username", "a"])
OPERATORS = st.sampled_from(["=", "!=", ">", ">=", "<", "<="])
VALUES = st.one_of(
    st.text("abz019.*-_@,/+", min_size=1, max_size=6),
    st.integers(-20, 20).map(str),
)


def _trees() -> st.SearchStrategy[Any]:
    conditions = st.tuples(st.just("condition"), KEYS, OPERATORS, VALUES)
    return st.recursive(
        conditions,
        lambda inner: st.one_of(
            st.tuples(st.just("not"), inner),
            st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=4)),
        ),
        max_leaves=12,
    )


def _text(tree: Any) -> str:
    if tree[0] == "condition":
        return "".join(tree[1:])
    if tree[0] == "not":
        return f"not ({_text(tree[1])})"
    return f" {tree[0]} ".join(f"({_text(part)})" for part in tree[1])


def _decide(tree: Any, event: Any) -> bool:
    if tree[0] == "condition":
        return Parser().parse("".join(tree[1:])).match(event)
    if tree[0] == "not":
        return not _decide(tree[1], event)
    return (all if tree[0] == "and" else any)(_decide(part, event) for part in tree[1])


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-20, 20), st.floats(), st.text("ab019.", max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("nab"), inner, max_size=3)
    ),
    max_leaves=6,
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "topic": JSON,
        "a": JSON,
        "data": st.one_of(JSON, st.fixed_dictionaries({"n": JSON, "text": JSON})),
        "source": st.one_of(JSON, st.fixed_dictionaries({"user": JSON})),
    },
)


@given(_trees(), EVENTS)
def test_when_conditions_are_combined_then_the_result_is_that_of_logic(tree, event):
    assert Parser().parse(_text(tree)).match(event) is _decide(tree, event)


@given(st.text(st.sampled_from("ab=!<>()\"' .*notandor1:é\n"), max_size=60))
def test_when_any_text_is_parsed_then_only_a_parse_error_leaves_the_parser(text):
    try:
        parsed = Parser().parse(text)
    except ParseError:
        return
    assert parsed.match(EVENT) in (True, False)


@given(_trees(), EVENTS)
def test_when_an_expression_matches_then_what_it_requires_is_there(tree, event):
    """The index leaves an event out when a required literal is missing: that must never hide a match."""
    parsed = Parser().parse(_text(tree))
    if not parsed.match(event):
        return
    for field, literals in parsed.required().items():
        assert any(Condition(field, "=", literal).match(event) for literal in literals)


TEXTS = st.text("ab019.", max_size=3)
WIRE_EVENTS = st.fixed_dictionaries(
    {"topic": TEXTS, "source": st.fixed_dictionaries({"user": st.fixed_dictionaries({"username": TEXTS})})},
    optional={"a": JSON, "data": st.one_of(JSON, st.fixed_dictionaries({"n": JSON, "text": JSON}))},
)


@given(_trees(), WIRE_EVENTS)
def test_when_a_server_is_asked_for_events_then_it_sends_all_that_match_here(tree, event):
    """The sandbox is the server: it compares all values as text."""
    text = _text(tree)
    if Parser().parse(text).match(event):
        assert server_expression.parse(server_text(text)).matches(event)


@given(_trees())
def test_when_an_expression_is_written_as_text_then_that_parses_to_the_same(tree):
    parsed = Parser().parse(_text(tree))
    assert str(Parser().parse(parsed.text())) == str(parsed)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("topic = a", "topic = a"),
        ("topic=5 and source.user.username=7", "topic=5 and source.user.username=7"),
        ("topic=x and data.n>5", "topic=x"),
        ('topic="a b" and data.n="5"', 'topic="a b"'),
        ("data.n=3", "topic=*"),
        ("not data.n=3 or topic=a", "topic=*"),
        ("topic=x and not (data.n>5 or data.s=a)", "topic=x and not data.s=a"),
        ("topic=x and (data.n=1 or data.s=b) and data.t=c", "topic=x and data.t=c"),
        ("topic=x and (data.s=a or not data.t=b) and data.n<=2", "topic=x and (data.s=a or not data.t=b)"),
        (r"""topic="a\"b" and data.s='c"d' and data.n!=5""", r"""topic="a\"b" and data.s='c"d'"""),
    ],
)
def test_when_numbers_are_compared_then_the_server_is_asked_for_more(text, asked):
    assert server_text(text) == asked


def test_when_not_is_compiled_twice_then_the_same_test_is_kept():
    negation = Not(Condition("a", "=", "b"))
    assert negation.compiled() is negation.compiled()
