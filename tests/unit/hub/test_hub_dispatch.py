"""Local callbacks: order, stop, exceptions, synchronous publishing. No connection is needed for any of it."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.api.event.base import EVENT_KEYS, Event
from ftrackd.api.event.hub import EventHub
from ftrackd.api.exception import (
    EventHubConnectionError,
    EventHubError,
    NotFoundError,
    NotUniqueError,
    ParseError,
)


@pytest.fixture
def hub():
    return EventHub("http://studio.invalid:8080", "anna", "secret-key")


def test_when_an_event_is_made_then_it_has_its_seven_keys_and_an_id():
    event = Event("a")
    assert tuple(event) == EVENT_KEYS
    assert len(event) == 7
    assert len(event["id"]) == 32
    assert event["id"] != Event("a")["id"]
    assert event["data"] == {} and event["source"] == {} and event["target"] == ""
    assert not event.is_stopped()
    event.stop()
    assert event.is_stopped()
    assert str(event).startswith("<Event {'topic': 'a'")
    event["data"] = {"x": 1}
    del event["sent"]
    assert dict(event)["data"] == {"x": 1}
    assert len(event) == 6
    with pytest.raises(TypeError):
        Event("a", colour="red")
    assert Event("a", data=True)["data"] is True
    assert Event("a", data=None)["data"] == {}


@given(st.lists(st.integers(-3, 3), max_size=8))
def test_when_callbacks_have_priorities_then_lower_ones_are_called_first_and_equal_ones_in_order(priorities):
    hub = EventHub("http://studio.invalid", "anna", "key")
    called = []
    for number, priority in enumerate(priorities):
        hub.subscribe("topic=a", lambda event, number=number: called.append(number), priority=priority)
    hub.publish(Event("a"), synchronous=True)
    assert called == sorted(range(len(priorities)), key=lambda number: priorities[number])


def test_when_published_synchronously_then_results_come_back_with_none_and_without_failures(hub, caplog):
    hub.subscribe("topic=a", lambda event: None, priority=1)
    hub.subscribe("topic=a", lambda event: 1 / 0, priority=2)
    hub.subscribe("topic=a", lambda event: {"x": event["data"]["x"]}, priority=3)
    hub.subscribe("topic=b", lambda event: "not asked")
    assert hub.publish(Event("a", data={"x": 5}), synchronous=True) == [None, {"x": 5}]
    assert "ZeroDivisionError" in caplog.text
    assert hub.statistics.failed_callbacks == 1


def test_when_an_event_is_stopped_then_later_callbacks_do_not_see_it(hub):
    def stop(event):
        event.stop()
        return "stopped"

    hub.subscribe("topic=a", lambda event: "later", priority=60)
    hub.subscribe("topic=a", stop, priority=50)
    assert hub.publish(Event("a"), synchronous=True) == ["stopped"]
    outcome = hub.dispatch(Event("b"))
    assert (outcome.results, outcome.failures, outcome.stopped) == ([], [], False)


def test_when_published_synchronously_then_the_source_is_filled_in_before_matching(hub):
    hub.subscribe("topic=a and source.user.username=anna", lambda event: dict(event["source"]))
    (source,) = hub.publish(Event("a"), synchronous=True)
    assert source["id"] == hub.id
    assert source["user"] == {"username": "anna"}
    assert source["host"]
    own = Event("a", source={"id": "mine", "user": {"username": "anna", "id": "u"}, "host": ""})
    assert hub.publish(own, synchronous=True) == [
        {"id": "mine", "user": {"username": "anna", "id": "u"}, "host": ""}
    ]


def test_when_callbacks_change_the_event_then_the_next_one_sees_it(hub):
    hub.subscribe("topic=a", lambda event: event["data"].update(x=1), priority=1)
    hub.subscribe("topic=a", lambda event: event["data"]["x"], priority=2)
    assert hub.publish(Event("a"), synchronous=True) == [None, 1]


def test_when_a_target_is_given_then_only_matching_subscribers_are_called(hub, caplog):
    hub.subscribe("topic=a", lambda event: "web", subscriber={"applicationId": "ftrack.client.web"})
    hub.subscribe("topic=a", lambda event: "other", subscriber={"applicationId": "x", "user": {"id": "7"}})
    assert hub.publish(Event("a", target="applicationId=ftrack.client.web"), synchronous=True) == ["web"]
    assert hub.publish(Event("a", target='user.id="7"'), synchronous=True) == ["other"]
    assert hub.publish(Event("a"), synchronous=True) == ["web", "other"]
    assert hub.publish(Event("a", target={"applicationId": "x"}), synchronous=True) == []
    assert "Event dropped" in caplog.text


def test_when_a_callback_subscribes_or_unsubscribes_then_that_counts_from_the_next_call_on(hub):
    def first(event):
        if hub.get_subscriber_by_identifier("late") is None:
            hub.subscribe("topic=a", lambda event: "late", subscriber={"id": "late"})
            hub.unsubscribe("gone")
        return "first"

    hub.subscribe("topic=a", first, priority=1)
    hub.subscribe("topic=a", lambda event: "gone", subscriber={"id": "gone"}, priority=2)
    assert hub.publish(Event("a"), synchronous=True) == ["first"]
    assert hub.publish(Event("a"), synchronous=True) == ["first", "late"]


def test_when_subscribing_then_metadata_gets_an_id_that_finds_the_subscriber(hub):
    metadata = {"applicationId": "x"}
    identifier = hub.subscribe("topic=a", print, subscriber=metadata, priority=7)
    subscriber = hub.get_subscriber_by_identifier(identifier)
    assert metadata["id"] == identifier
    assert subscriber.metadata is metadata
    assert subscriber.callback is print
    assert subscriber.priority == 7
    assert str(subscriber.subscription) == "topic=a"
    assert hub._subscribers == [subscriber]
    with pytest.raises(NotUniqueError, match="already exists"):
        hub.subscribe("topic=b", print, subscriber={"id": identifier})
    hub.unsubscribe(identifier)
    assert hub.get_subscriber_by_identifier(identifier) is None
    with pytest.raises(NotFoundError, match=identifier):
        hub.unsubscribe(identifier)
    with pytest.raises(ParseError):
        hub.subscribe("no expression", print)
    assert hub._subscribers == []


def test_when_subscribed_for_a_block_then_it_ends_with_it(hub):
    with hub.subscription("topic=a", lambda event: 1) as identifier:
        assert hub.publish(Event("a"), synchronous=True) == [1]
        assert hub.get_subscriber_by_identifier(identifier)
    assert hub.publish(Event("a"), synchronous=True) == []


def test_when_never_connected_then_publishing_and_waiting_say_so(hub, caplog):
    with pytest.raises(EventHubConnectionError, match="not connected"):
        hub.publish(Event("a"))
    with pytest.raises(EventHubConnectionError, match="connect"):
        hub.wait(1)
    with pytest.raises(EventHubConnectionError):
        hub.disconnect()
    with pytest.raises(EventHubConnectionError):
        hub.send_raw(b"{}")
    hub.close()
    caplog.set_level(logging.INFO)
    assert hub.publish(Event("a"), on_error="ignore") is None
    assert "not published" in caplog.text
    assert not hub.wait_until_connected(0)
    assert (hub.connected, hub.state, hub.last_packet_at, hub.reconnect_count) == (False, "closed", None, 0)


def test_when_data_is_no_json_then_the_publisher_is_told(hub, caplog):
    hub.init_connection()
    with pytest.raises(TypeError, match="cannot be sent"):
        hub.publish(Event("a", data={"session": object()}))
    caplog.set_level(logging.INFO)
    hub.publish(Event("a", data={"session": object()}), on_error="ignore")
    assert "cannot be sent" in caplog.text
    hub.disconnect()


def test_when_replying_without_a_source_then_the_error_says_so(hub):
    with pytest.raises(EventHubError, match="no source id"):
        hub.publish_reply(Event("a"), {})


@pytest.mark.parametrize("source", [None, {}, {"id": None}, "abc", [1], 5])
def test_when_an_event_does_not_say_who_asked_then_its_callbacks_still_succeed(source, hub, caplog):
    hub.init_connection()
    hub.subscribe("topic=a", lambda event: {"x": 1})
    outcome = hub.dispatch(Event("a", source=source))
    assert outcome.values == [{"x": 1}]
    assert not outcome.failures
    assert "Nobody can be answered" in caplog.text
    hub.disconnect()


@pytest.mark.parametrize("asked", [None, "unknown", 5, [], {}])
def test_when_a_reply_answers_nothing_that_was_asked_then_nothing_happens(asked, hub):
    hub._subscribe_to_replies()
    outcome = hub.dispatch(Event("ftrack.meta.reply", in_reply_to_event=asked))
    assert not outcome.failures


@pytest.mark.parametrize("priority", ["5", None, [1]])
def test_when_a_priority_is_no_number_then_subscribing_is_refused_and_harms_nobody(priority, hub):
    hub.subscribe("topic=a", lambda event: "first", {"id": "one"}, priority=2.5)
    with pytest.raises(TypeError, match="priority of a subscriber is a number"):
        hub.subscribe("topic=a", print, {"id": "two"}, priority=priority)
    hub.subscribe("topic=a", lambda event: "second", {"id": "two"}, priority=True)
    assert hub.publish(Event("a"), synchronous=True) == ["second", "first"]


def test_when_data_holds_itself_then_the_publisher_is_told(hub, caplog):
    hub.init_connection()
    circle = {}
    circle["circle"] = circle
    with pytest.raises(TypeError, match="holds itself"):
        hub.publish(Event("a", data=circle))
    hub.publish(Event("a", data=circle), on_error="ignore")
    hub.disconnect()


def test_when_an_id_holds_a_quote_then_the_reply_is_addressed_with_the_other_one(hub):
    published = []
    hub.publish = lambda event, *args, **kwargs: published.append(event["target"])
    hub.publish_reply(Event("a", source={"id": 'a "b" c'}), {})
    assert published == ["id='a \"b\" c'"]


def test_when_somebody_wraps_publish_then_replies_go_through_the_wrapper(hub):
    """Plugins replace ``session.event_hub.publish`` and expect all publishing to pass by."""
    published = []
    hub.publish = lambda event, *args, **kwargs: published.append(event)
    hub.subscribe("topic=a", lambda event: {"x": 1}, subscriber={"id": "me", "note": "n"})
    question = Event("a", source={"id": "asker:1"})
    outcome = hub.dispatch(question)
    assert outcome.values == [{"x": 1}]
    (reply,) = published
    assert reply["topic"] == "ftrack.meta.reply"
    assert reply["target"] == 'id="asker:1"'
    assert reply["in_reply_to_event"] == question["id"]
    assert reply["source"] == {"id": "me", "note": "n"}
    assert hub.get_subscriber_by_identifier("me").metadata == {"id": "me", "note": "n"}


def test_when_a_result_cannot_be_sent_then_the_outcome_and_the_log_say_so(hub, caplog):
    hub.init_connection()
    hub.subscribe("topic=a", lambda event: object(), priority=1)
    hub.subscribe("topic=a", lambda event: 5, priority=2)
    outcome = hub.dispatch(Event("a", source={"id": "asker"}))
    assert [type(failure.exception) for failure in outcome.failures] == [TypeError]
    assert outcome.values[1] == 5
    assert "cannot be sent" in caplog.text
    hub.disconnect()


def test_when_the_url_or_headers_are_wrong_then_the_constructor_says_so():
    for url in ("", "studio.ftrackapp.com", "https://", "//host"):
        with pytest.raises(ValueError, match="scheme or host"):
            EventHub(url, "u", "k")
    with pytest.raises(TypeError, match="headers"):
        EventHub("http://x", "u", "k", headers=[("a", "b")])
    with pytest.raises(TypeError, match="cookies"):
        EventHub("http://x", "u", "k", cookies="a=b")


def test_when_the_hub_is_asked_where_it_connects_then_the_path_of_the_url_is_left_out():
    hub = EventHub("https://studio.invalid:8443/some/path", "u", "k")
    assert hub.get_server_url() == "https://studio.invalid:8443"
    assert hub.get_network_location() == "studio.invalid:8443"
    assert hub.server == ("https", "studio.invalid", 8443)
    assert hub.secure
    plain = EventHub("http://[::1]", "u", "k")
    assert plain.get_server_url() == "http://[::1]"
    assert not plain.secure


def test_when_packet_codes_are_looked_up_then_names_and_codes_are_found_both_ways(hub):
    assert hub._code_name_mapping["5"] == "event"
    assert hub._code_name_mapping["heartbeat"] == "2"
