"""Parsing subscriptions, and matching an event against many."""

import client
import ftrack_api.event.base
import ftrack_api.event.expression
import ftrack_api.event.hub

EXPRESSIONS = (
    "topic=ftrack.update",
    "topic=ftrack.action.discover and source.user.username=anna.maria@studio.com",
    'topic=ftrack.action.launch and data.actionIdentifier=my-action and source.user.username="anna"',
    '(topic=ftrack.action.launch or topic=ftrack.action.discover) and not source.user.username="bot"',
    "topic=ftrack.location.component-added and ((data.location_id=a or data.location_id=b) and data.n!=1)",
)


def _subscription(number):
    kind = number % 8
    if kind == 0:
        return "topic=ftrack.update"
    if kind == 1:
        return "topic=ftrack.update and source.user.username!=bot"
    if kind in (2, 3):
        return f"topic=ftrack.action.launch and data.actionIdentifier=action-{number}"
    if kind == 4:
        own = 'source.user.username="anna"'
        return f"topic=ftrack.action.launch and data.actionIdentifier=action-{number} and {own}"
    if kind == 5:
        return "topic=ftrack.action.discover and source.user.username=anna"
    if kind == 6:
        return "topic=ftrack.api.session.configure-location"
    return "topic=ftrack.*" if number == 7 else "topic=ftrack.location.component-added"


def main():
    parser = ftrack_api.event.expression.Parser()
    values = {}
    for number, text in enumerate(EXPRESSIONS, 1):
        values[f"parse_{number}"] = client.per_call(lambda text=text: parser.parse(text))

    hub = ftrack_api.event.hub.EventHub("http://canned.invalid", "anna", "key")
    for number in range(round(200 * client.SCALE)):
        hub.subscribe(_subscription(number), lambda event: None)
    if client.IS_OURS:
        match = hub._dispatcher._index.match
    else:

        def match(event):
            return [subscriber for subscriber in hub._subscribers if subscriber.interested_in(event)]

    source = {"id": "x", "user": {"username": "anna", "id": "u"}}
    few = ftrack_api.event.base.Event(
        "ftrack.action.launch", data={"actionIdentifier": "action-42"}, source=source
    )
    many = ftrack_api.event.base.Event("ftrack.update", data={"entities": []}, source=source)
    values["matches_few"] = len(match(few))
    values["matches_many"] = len(match(many))
    values["match_few"] = client.per_call(lambda: match(few))
    values["match_many"] = client.per_call(lambda: match(many))
    client.report(**values)


main()
