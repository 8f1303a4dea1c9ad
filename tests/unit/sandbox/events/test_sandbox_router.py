"""Server-side routing: subscriptions, targets, one delivery for each connection."""

import pytest

from ftrackd.sandbox.events.router import Router, SubscriptionError


@pytest.fixture
def router():
    return Router()


def test_when_several_subscriptions_match_then_the_connection_is_named_once(router):
    router.subscribe("a", {"id": "1"}, "topic=x")
    router.subscribe("a", {"id": "2"}, "topic=*")
    router.subscribe("b", {"id": "1"}, "topic=x and data.n=1")
    assert router.recipients({"topic": "x", "data": {"n": "1"}}) == ["a", "b"]
    assert router.recipients({"topic": "x", "data": {}}) == ["a"]
    assert router.recipients({"topic": "y"}) == ["a"]


def test_when_event_has_a_target_then_it_selects_by_subscriber_metadata(router):
    router.subscribe("a", {"id": "hub-a", "user": {"id": "u1"}}, "topic=ftrack.meta.reply")
    router.subscribe("b", {"id": "hub-b", "user": {"id": "u2"}}, "topic=ftrack.meta.reply")
    assert router.recipients({"topic": "ftrack.meta.reply", "target": "id=hub-b"}) == ["b"]
    assert router.recipients({"topic": "ftrack.meta.reply", "target": 'user.id="u1"'}) == ["a"]
    assert router.recipients({"topic": "ftrack.meta.reply", "target": ""}) == ["a", "b"]
    assert router.recipients({"topic": "ftrack.meta.reply", "target": None}) == ["a", "b"]


def test_when_target_matches_another_subscription_than_the_topic_then_not_delivered(router):
    """Topic and target must be met by the same subscription."""
    router.subscribe("a", {"id": "1"}, "topic=x")
    router.subscribe("a", {"id": "2"}, "topic=y")
    assert router.recipients({"topic": "x", "target": "id=2"}) == []


@pytest.mark.parametrize("target", ["id=", "(", 5, ["id=1"]])
def test_when_target_cannot_be_parsed_then_subscription_error(router, target):
    router.subscribe("a", {"id": "1"}, "topic=x")
    with pytest.raises(SubscriptionError):
        router.recipients({"topic": "x", "target": target})


def test_when_subscriber_repeats_then_its_last_expression_counts(router):
    router.subscribe("a", {"id": "1"}, "topic=x")
    router.subscribe("a", {"id": "1"}, "topic=x")
    assert len(router) == 1
    router.subscribe("a", {"id": "1"}, "topic=y")
    assert len(router) == 1
    assert router.recipients({"topic": "x"}) == []
    assert router.recipients({"topic": "y"}) == ["a"]


def test_when_unsubscribed_or_disconnected_then_nothing_remains(router):
    for number in range(3):
        router.subscribe("a", {"id": f"{number}"}, "topic=x or topic=y")
        router.subscribe("a", {"id": f"any{number}"}, "topic=*")
    router.subscribe("b", {"id": "1"}, "topic=x")
    assert router.unsubscribe("b", {"id": "1"}) is True
    assert router.unsubscribe("b", {"id": "1"}) is False
    router.disconnect("a")
    assert len(router) == 0
    assert router.recipients({"topic": "x"}) == []
    assert not router._by_topic
    assert not router._unindexed


@pytest.mark.parametrize(
    ("subscriber", "text"),
    [(None, "topic=x"), ({}, "topic=x"), ({"id": 5}, "topic=x"), ({"id": "1"}, None), ({"id": "1"}, "topic")],
)
def test_when_subscription_is_wrong_then_subscription_error(router, subscriber, text):
    with pytest.raises(SubscriptionError):
        router.subscribe("a", subscriber, text)
    assert len(router) == 0
