"""Whose event is it, and who said this?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftrackd.daemon.relay import HubRelay
from ftrackd.delivery import Recipient
from ftrackd.hosting import PluginSubscription


class RecordingHub:
    """The hub's side that the relay uses."""

    def __init__(self) -> None:
        self.subscribed: list[str] = []
        self.unsubscribed: list[str] = []
        self.known: dict[str, str] = {}
        """The expressions that the server knows, by id."""
        self.history: list[set[str]] = []
        """Those after each call."""

    def subscribe(
        self, subscription: str, callback: Callable[[Any], Any], subscriber: Any = None, priority: int = 100
    ) -> None:
        self.subscribed.append(subscriber["id"])
        assert subscriber["id"] not in self.known
        self.known[subscriber["id"]] = subscription
        self.history.append(set(self.known.values()))

    def unsubscribe(self, subscriber_identifier: str) -> None:
        self.unsubscribed.append(subscriber_identifier)
        del self.known[subscriber_identifier]
        self.history.append(set(self.known.values()))


class World:
    def __init__(self) -> None:
        self.received: list[list[Recipient]] = []
        self.replies: list[str] = []
        self.hub = RecordingHub()
        self.relay = HubRelay(
            self.hub,
            self.receive,
            lambda plugin, raw: self.replies.append(plugin),
            lambda topic: topic == "ftrack.update",
        )

    def receive(self, raw: bytes, event: Mapping[str, Any], recipients: Sequence[Recipient]) -> None:
        self.received.append(list(recipients))

    def subscribe(self, plugin: str, expression: str, identifier: str, priority: int = 100) -> None:
        self.relay.subscribed(plugin, PluginSubscription({"id": identifier}, expression, priority))

    def event(self, topic: str, target: str = "") -> None:
        self.relay.incoming(b"{}", {"topic": topic, "id": "1", "data": {}, "target": target})


def test_an_event_goes_once_to_each_plugin_by_its_best_priority() -> None:
    world = World()
    world.subscribe("a", "topic=ftrack.update", "1")
    world.subscribe("a", "topic=*", "2", priority=10)
    world.subscribe("b", "topic=ftrack.update", "3", priority=5)
    world.subscribe("c", "topic=ftrack.action.discover", "4")
    world.event("ftrack.update")
    assert world.received == [[Recipient("b", 5), Recipient("a", 10)]]


def test_a_reply_goes_to_the_plugin_that_asked_and_never_to_delivery() -> None:
    world = World()
    world.subscribe("a", "topic=ftrack.meta.reply", "hub-a")
    world.subscribe("b", "topic=ftrack.meta.reply", "hub-b")
    world.event("ftrack.meta.reply", target="id=hub-b")
    assert world.replies == ["b"]
    assert world.received == []


def test_a_target_chooses_among_subscribers() -> None:
    world = World()
    world.subscribe("a", "topic=studio.x", "1")
    world.subscribe("b", "topic=studio.x", "2")
    world.event("studio.x", target="id=2")
    assert world.received == [[Recipient("b", 100)]]


def test_nobody_is_asked_for_an_event_that_nobody_subscribed_to() -> None:
    world = World()
    world.event("ftrack.update")
    assert world.received == []


def test_the_server_hears_of_subscriptions_but_not_of_local_ones() -> None:
    world = World()
    world.subscribe("a", "topic=ftrack.update", "1")
    world.subscribe("a", "topic=ftrack.api.session.configure-location", "2")
    world.subscribe("a", "topic=ftrack.update", "1")
    assert world.hub.subscribed == ["1"]
    world.relay.unsubscribed("a", "1")
    world.relay.unsubscribed("a", "2")
    assert world.hub.unsubscribed == ["1"]


def test_after_the_intake_closed_only_replies_pass() -> None:
    world = World()
    world.subscribe("a", "topic=*", "1")
    world.relay.close_intake()
    world.event("ftrack.update")
    world.event("ftrack.meta.reply")
    assert world.received == []
    assert world.replies == ["a"]


def test_two_plugins_may_choose_the_same_subscriber_id() -> None:
    world = World()
    world.subscribe("a", "topic=studio.x", "mine")
    world.subscribe("b", "topic=studio.y", "mine")
    world.event("studio.x")
    world.event("studio.y")
    assert world.received == [[Recipient("a", 100)], [Recipient("b", 100)]]
    assert len(set(world.hub.subscribed)) == 2
    world.relay.unsubscribed("b", "mine")
    assert world.hub.unsubscribed == ["mine@b"]


def test_a_new_version_with_the_same_id_and_another_expression_is_announced_anew() -> None:
    world = World()
    world.subscribe("a", "topic=studio.x", "mine")
    world.subscribe("a", "topic=studio.y", "mine")
    world.event("studio.x")
    world.event("studio.y")
    assert world.received == [[Recipient("a", 100)]]
    assert world.hub.known == {"mine": "topic=studio.y"}, "under its id, which targets may name"
    assert all("topic=studio.y" in known for known in world.hub.history[1:]), "without a gap"
    assert "topic=studio.x" in world.hub.history[1]


def test_while_a_plugin_is_still_starting_then_what_can_wait_is_kept_for_it() -> None:
    world = World()
    world.subscribe("a", "topic=ftrack.update", "1")
    world.relay.expect(["late"])
    world.event("ftrack.update")
    world.event("ftrack.action.discover")
    world.event("ftrack.meta.reply")
    world.subscribe("late", "topic=ftrack.update", "2", priority=7)
    world.event("ftrack.update")
    world.relay.expect([])
    world.event("ftrack.update")
    assert world.received == [
        [Recipient("a"), Recipient("late")],
        [Recipient("late", 7), Recipient("a")],
        [Recipient("late", 7), Recipient("a")],
    ]
