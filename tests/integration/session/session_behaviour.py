"""What a script sees of a session: run with the official client or with ours, and written down to be
compared.

    python session_behaviour.py official|ours RESULT_FILE

The result maps each scenario to what it returned, or the name of the error it raised, the changes that it
sent, and how many queries it made.
"""

from __future__ import annotations

import copy
import datetime
import json
import logging
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

CLIENT, RESULT = sys.argv[1:3]
if CLIENT == "ours":
    import ftrackd.api.alias

    ftrackd.api.alias.install()

import arrow  # noqa: E402
import ftrack_api  # noqa: E402
import ftrack_api.collection  # noqa: E402
import ftrack_api.entity.base  # noqa: E402
import ftrack_api.inspection  # noqa: E402
import ftrack_api.operation  # noqa: E402
import ftrack_api.symbol  # noqa: E402

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}")
#: Of a timer that is stopped at once: whole seconds since one that may just have ended.
_DURATION = re.compile(r'"duration": \d\b')
_NOW = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?=[+\"])")


class Observer:
    """Runs scenarios in one session and writes down what they do."""

    def __init__(self) -> None:
        self.session = ftrack_api.Session(plugin_paths=[], schema_cache_path=False)
        self.seen: dict[str, Any] = {}
        self._sent: list[Any] = []
        self._original = self.session.call
        self.session.call = self._call
        self._names: dict[str, str] = {}

    def _call(self, data: Any) -> Any:
        self._sent.extend(json.loads(self.session.encode(data, "modified_only")))
        return self._original(data)

    def _named(self, text: str) -> str:
        """Return `text` with ids numbered in the order in which they come up."""
        text = _ID.sub(lambda match: self._names.setdefault(match.group(), f"id{len(self._names)}"), text)
        return _DURATION.sub('"duration": "a moment"', _NOW.sub("a time", text))

    def plain(self, value: Any) -> Any:
        """Return `value` in a form that can be compared."""
        if isinstance(value, ftrack_api.entity.base.Entity):
            return self._named(str(value))
        if isinstance(value, (ftrack_api.collection.Collection, list, tuple)):
            return [self.plain(item) for item in value]
        if isinstance(value, dict):
            return {str(key): self.plain(item) for key, item in value.items()}
        return self._named(repr(value))

    def observe(self, name: str, scenario: Callable[[], Any]) -> None:
        """Run `scenario` and write down under `name` what happened."""
        self._sent.clear()
        try:
            result = self.plain(scenario())
        except Exception as error:
            result = f"raises {type(error).__name__}"
        changes = [request for request in self._sent if request["action"] != "query"]
        self.seen[name] = {
            "result": result,
            "changes": json.loads(self._named(json.dumps(changes, sort_keys=True))),
            "queries": len(self._sent) - len(changes),
        }
        self.session.rollback()


observer = Observer()
session = observer.session
observe = observer.observe
symbol = ftrack_api.symbol
state = ftrack_api.inspection.state


def commit(value: Callable[[], Any] = lambda: None) -> Any:
    session.commit()
    return value()


project = session.create(
    "Project",
    {"name": "show", "full_name": "show", "project_schema": session.query("ProjectSchema").first()},
)
folder = session.create("Folder", {"name": "assets", "parent": project})
task = session.create("Task", {"name": "model", "parent": folder, "metadata": {"a": "1"}})
session.commit()
user = session.query(f"User where username is {session.api_user}").one()


def values() -> None:
    observe("a loaded value", lambda: task["name"])
    observe("an unloaded value", lambda: task["status"]["name"])
    observe("an unknown attribute", lambda: task["nothing"])
    observe("setting an unknown attribute", lambda: task.__setitem__("nothing", 1))
    observe("membership", lambda: ("name" in task, "nothing" in task))
    observe("get", lambda: (task.get("name"), task.get("nothing", 3)))
    observe("names", lambda: (list(task.keys()), list(task), len(task)))
    observe("items", lambda: sorted(dict(task.items())))
    observe("an immutable attribute", lambda: task.__setitem__("id", "other"))
    observe("a computed list", lambda: [entry["name"] for entry in task["link"]][1:])
    observe("the same value again", lambda: (task.update({"name": task["name"]}), session.modified, commit()))
    observe(
        "several values", lambda: (task.update({"name": "m", "description": "d"}), commit(), task["name"])
    )
    observe("setdefault", lambda: task.setdefault("name", "other"))
    observe("no reference", lambda: (task.__setitem__("type", None), commit(), task["type"]))
    observe(
        "deleting a local value",
        lambda: (task.__setitem__("name", "x"), task.__delitem__("name"), task["name"]),
    )
    observe("populating off", lambda: unpopulated())
    moment = arrow.get("2026-01-02T03:04:05+02:00")
    observe("an arrow date", lambda: (task.__setitem__("start_date", moment), commit(), task["start_date"]))
    naive = datetime.datetime(2026, 1, 2, 3, 4, 5, 678)
    observe("a naive date", lambda: (task.__setitem__("start_date", naive), commit(), task["start_date"]))
    day = datetime.date(2026, 2, 3)
    observe("a day", lambda: (task.__setitem__("end_date", day), commit(), task["end_date"]))
    observe("a copy", lambda: copy.copy(task)["name"])


def unpopulated() -> Any:
    with session.auto_populating(False):
        return task["priority"]


def relations() -> None:
    observe("metadata", lambda: dict(task["metadata"]))
    observe("changing metadata", lambda: (task["metadata"].update({"b": "2", "a": "3"}), commit()))
    observe("deleting metadata", lambda: (task["metadata"].pop("b"), commit(), dict(task["metadata"])))
    observe(
        "replacing metadata",
        lambda: (task.__setitem__("metadata", {"z": "9"}), commit(), dict(task["metadata"])),
    )
    scope = session.ensure("Scope", {"name": "a scope"})
    observe("ensure again", lambda: session.ensure("Scope", {"name": "a scope"}) is scope)
    observe("appending", lambda: (task["scopes"].append(scope), commit(), list(task["scopes"])))
    observe("appending twice", lambda: task["scopes"].append(scope))
    observe("emptying", lambda: (task.__setitem__("scopes", []), commit(), list(task["scopes"])))
    observe("assigning a tuple", lambda: task.__setitem__("scopes", (scope,)))
    observe("a wrong collection", lambda: task.__setitem__("scopes", task["notes"]))
    observe("an assignment", assign)
    observe("children", lambda: [list(project["children"]), list(folder["children"])])
    observe("moving", lambda: (task.__setitem__("parent", project), commit(), task["parent"] is project))
    observe(
        "a note",
        lambda: (task.create_note("hi", user), commit(), [note["content"] for note in task["notes"]]),
    )


def assign() -> Any:
    session.create("Appointment", {"context": task, "resource": user, "type": "assignment"})
    session.commit()
    return [entry["resource"]["username"] for entry in task["assignments"]]


def custom_attributes() -> None:
    keys = sorted(task["custom_attributes"].keys())
    observe("keys of custom attributes", lambda: keys)
    observe(
        "setting one",
        lambda: (
            task["custom_attributes"].update({keys[0]: 5}),
            commit(),
            task["custom_attributes"][keys[0]],
        ),
    )
    observe("an unknown one", lambda: task["custom_attributes"]["nothing"])
    observe("setting an unknown one", lambda: task["custom_attributes"].__setitem__("nothing", 1))

    def create() -> Any:
        made = session.create("Task", {"name": "custom", "parent": project})
        made["custom_attributes"][keys[0]] = 7
        session.commit()
        return made["custom_attributes"][keys[0]]

    observe("one of a new entity", create)


def queries() -> None:
    where = f'where project_id is "{project["id"]}" order by name'
    observe("a query", lambda: [found["name"] for found in session.query(f"Task {where}")])
    selected = f"select name, parent.name from Task {where}"
    observe(
        "a selection", lambda: [(found["name"], found["parent"]["name"]) for found in session.query(selected)]
    )
    observe("one of none", lambda: session.query('Task where id is "no"').one())
    observe("one of many", lambda: session.query("Status").one())
    observe("one with a limit", lambda: session.query("Task limit 1").one())
    observe("the first of none", lambda: session.query('Task where id is "no"').first())
    observe("a limit", lambda: len(session.query("Status limit 2").all()))
    observe("an offset", lambda: len(session.query("Status offset 1 limit 2").all()))
    observe("an unknown type", lambda: session.query("Nothing"))
    observe("an unknown attribute in a query", lambda: session.query("Task where nothing is 1").all())
    observe("emptiness", lambda: (bool(session.query('Task where id is "no"')), bool(task)))
    observe("getting what is known", lambda: session.get("Task", task["id"]) is task)
    observe("getting by a base type", lambda: session.get("TypedContext", task["id"]) is task)
    observe("getting nothing", lambda: session.get("Task", "no"))
    observe("getting with a wrong key", lambda: session.get("Task", ["a", "b"]))
    observe("getting an unknown type", lambda: session.get("Nothing", "a"))
    observe("statuses", lambda: [status["name"] for status in project["project_schema"].get_statuses("Task")])
    observe("statuses of shots", lambda: [s["name"] for s in project["project_schema"].get_statuses("Shot")])
    observe("types", lambda: [kind["name"] for kind in project["project_schema"].get_types("Task")])
    observe("merging", lambda: session.merge(session.decode(session.encode(task, "persisted_only"))) is task)
    observe("encoding", lambda: sorted(json.loads(session.encode(project, "set_only"))))
    observe("a reference", lambda: session.entity_reference(task))


def changes() -> None:
    observe("states", lambda: (state(task), task.update({"name": "x"}), state(task), session.modified))
    observe("a rollback", lambda: (task.update({"name": "x"}), session.rollback(), task["name"]))
    observe("an unknown type to create", lambda: session.create("Nothing"))
    observe("versions", version)
    observe("created and deleted", created_and_deleted)
    observe("a refused commit", refused)
    observe("an operation by hand", by_hand)
    observe("a job of a wrong type", lambda: session.create("Job", {"type": "render", "user": user}))
    observe("a timer", lambda: (user.start_timer(task)["user_id"], user.stop_timer()["context_id"]))
    observe("no timer", lambda: user.stop_timer())
    observe("a reset", lambda: (session.reset(), session.get("Task", task["id"]) is task))


def version() -> Any:
    asset = session.create(
        "Asset", {"name": "a", "type": session.query("AssetType").first(), "parent": folder}
    )
    made = session.create("AssetVersion", {"asset": asset, "task": task, "comment": "c"})
    session.commit()
    seen = (
        made["version"],
        list(asset["versions"]),
        asset["latest_version"],
        made["is_published"],
        made["comment"],
    )
    session.delete(made)
    deleted = session.deleted
    session.commit()
    return (*seen, deleted, session.deleted)


def created_and_deleted() -> Any:
    made = session.create("Task", {"name": "short lived", "parent": project})
    session.delete(made)
    before = session.deleted
    session.commit()
    return before


def refused() -> Any:
    made = session.create("Task", {"name": "x", "parent": project, "status_id": "no such status"})
    try:
        session.commit()
    except ftrack_api.exception.ServerError:
        return (len(session.recorded_operations), session.created == [made], made["name"])
    return "accepted"


def by_hand() -> Any:
    operation = ftrack_api.operation.UpdateEntityOperation(
        "Task", {"id": task["id"]}, "description", symbol.NOT_SET, "pushed"
    )
    session.recorded_operations.push(operation)
    session.commit()
    return session.query(f'select description from Task where id is "{task["id"]}"').one()["description"]


for scenarios in (values, relations, custom_attributes, queries, changes):
    scenarios()
session.close()
with open(RESULT, "w", encoding="utf-8") as file:
    json.dump(observer.seen, file)
