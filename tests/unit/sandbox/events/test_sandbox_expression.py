"""The server's own reading of subscription and target expressions."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.sandbox.events import expression

EVENT = {
    "topic": "ftrack.action.launch",
    "data": {"actionIdentifier": "foo.bar", "count": 3, "flag": True, "nothing": None, "list": ["a", "b"]},
    "source": {"user": {"username": "jane", "id": "u-1"}, "applicationId": "ftrack.client.web"},
    "text": "10",
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("topic=ftrack.action.launch", True),
        ("topic = ftrack.action.launch", True),
        ('topic="ftrack.action.launch"', True),
        ("topic='ftrack.action.launch'", True),
        ("topic=ftrack.action.*", True),
        ("topic=*", True),
        ("topic=action.*", True),
        ("topic=ftrack.update", False),
        ("topic!=ftrack.update", True),
        ("topic=ftrack.action.launch and data.actionIdentifier=foo.*", True),
        ("topic=ftrack.action.launch AND source.user.username=jane", True),
        ('topic=ftrack.action.launch and source.user.username="john"', False),
        ("topic=a or topic=ftrack.action.launch", True),
        ("topic=a or topic=b and topic=ftrack.action.launch", False),
        ("(topic=a or topic=ftrack.action.launch) and source.user.id=u-1", True),
        ("not topic=a", True),
        ("not not topic=a", False),
        ("not (topic=a or topic=b)", True),
        ("missing=1", False),
        ("missing!=1", False),
        ("not missing=1", True),
        ("data.count=3", False),
        ("data.count!=3", True),
        ("data.count>=3", False),
        ("data.flag=true", False),
        ("data.nothing=*", False),
        ("data.nothing>=a", False),
        ("data.list=a*", True),
        ("data.list.0=a", False),
        ("topic.x=a", False),
        ('text>="3"', False),
        ('text<"3"', True),
        ("source.user=jane*", False),
        ("source.user=username*", True),
    ],
)
def test_when_matched_against_an_event_then_documented_outcome(text, matches):
    assert expression.parse(text).matches(EVENT) is matches


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "topic",
        "topic=",
        "a==b",
        "*",
        "topic=a b",
        "topic=a:b",
        "(topic=a",
        "topic=a)",
        "and topic=a",
        "not",
        "topic=a and",
        "topic=a topic=b",
        '"topic"=a',
        'topic="a',
        "=a",
        "a=b or or c=d",
    ],
)
def test_when_expression_is_wrong_then_expression_error(text):
    with pytest.raises(expression.ExpressionError):
        expression.parse(text)


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("topic=a", {"a"}),
        ("topic=a and data.x=1", {"a"}),
        ("data.x=1 and topic=a", {"a"}),
        ("topic=a or topic=b", {"a", "b"}),
        ("topic=a or data.x=1", None),
        ("topic=a*", None),
        ("not topic=a", None),
        ("topic!=a", None),
        ("(topic=a or topic=b) and data.x=1", {"a", "b"}),
    ],
)
def test_when_topic_is_fixed_then_it_is_known_for_the_index(text, topics):
    assert expression.parse(text).topics == topics


def test_when_nested_too_deeply_then_expression_error():
    with pytest.raises(expression.ExpressionError):
        expression.parse("(" * 50_000 + "a=b" + ")" * 50_000)


def test_when_backslash_in_a_quoted_value_then_it_is_kept():
    assert expression.parse(r'a="x\y"').matches({"a": r"x\y"})


@given(st.text(alphabet="ab=()!<> \"'*.andornt", max_size=40))
def test_when_any_text_is_parsed_then_expression_or_expression_error(text):
    with contextlib.suppress(expression.ExpressionError):
        expression.parse(text).matches(EVENT)


@given(
    st.recursive(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["=", "!="]), st.sampled_from("xyz")),
        lambda inner: (
            st.tuples(st.sampled_from(["and", "or"]), inner, inner) | st.tuples(st.just("not"), inner)
        ),
        max_leaves=12,
    ),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz")),
)
def test_when_expression_is_written_out_then_it_means_the_same(tree, candidate):
    """Against an evaluator of the tree that the text was made from."""

    def write(node):
        if node[0] == "not":
            return f"not ({write(node[1])})"
        if node[0] in ("and", "or"):
            return f"({write(node[1])}) {node[0]} ({write(node[2])})"
        return "".join(node)

    def evaluate(node):
        if node[0] == "not":
            return not evaluate(node[1])
        if node[0] in ("and", "or"):
            left, right = evaluate(node[1]), evaluate(node[2])
            return (left and right) if node[0] == "and" else (left or right)
        key, operator, value = node
        return key in candidate and (candidate[key] == value) is (operator == "=")

    assert expression.parse(write(tree)).matches(candidate) is evaluate(tree)
