"""How a session begins and ends."""

import gc
import logging
import os
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ftrackd.api
from ftrackd.api import _schema_cache, cache, exception
from ftrackd.api.entity.factory import StandardFactory
from ftrackd.api.session import Session

from .canned_server import CannedServer, Raw, echo, rows, schemas


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("FTRACK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield


def _open(server: CannedServer, **options: Any) -> Session:
    return Session(server.url, "key", "jane", **{"plugin_paths": [], "schema_cache_path": False, **options})


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({}, "server_url"),
        ({"server_url": "http://x"}, "api_key"),
        ({"server_url": "http://x", "api_key": "k", "api_user": ""}, "api_user"),
    ],
)
def test_when_something_needed_is_missing_then_the_error_names_it(
    arguments: dict[str, Any], name: str
) -> None:
    with pytest.raises(TypeError, match=f'Required "{name}" not specified.*FTRACK'):
        Session(**arguments)


@pytest.mark.parametrize("option", [{"cookies": "a=b"}, {"headers": ["a"]}, {"strict_api": "yes"}])
def test_when_an_argument_has_a_wrong_type_then_it_is_a_type_error(
    server: CannedServer, option: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match=next(iter(option))):
        _open(server, **option)
    assert server.calls == []


def test_when_the_environment_says_where_then_no_argument_is_needed(
    server: CannedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "tell.py").write_text("def register(session):\n    session.told = True\n")
    monkeypatch.setenv("FTRACK_SERVER", server.url)
    monkeypatch.setenv("FTRACK_APIKEY", "old")
    monkeypatch.setenv("FTRACK_API_USER", "env")
    monkeypatch.setenv("FTRACK_EVENT_PLUGIN_PATH", f"{plugins}{os.pathsep}")
    monkeypatch.setenv("FTRACK_API_SCHEMA_CACHE_PATH", str(tmp_path / "schemas"))
    server.information["schema_hash"] = _schema_cache.schema_hash(schemas())
    with Session() as session:
        assert (session.server_url, session.api_user, session.api_key) == (server.url, "env", "old")
        assert session.told is True  # type: ignore[attr-defined]
    assert len(list((tmp_path / "schemas").iterdir())) == 1
    monkeypatch.delenv("FTRACK_API_USER")
    monkeypatch.setenv("LOGNAME", "login")
    with Session() as session:
        assert session.api_user == "login"


def test_when_a_session_starts_then_steps_come_in_their_order(server: CannedServer, tmp_path: Path) -> None:
    """Plugins rely on it: `register` comes before there are types, `ready` when everything is there."""
    (tmp_path / "watch.py").write_text(
        textwrap.dedent(
            """
            def register(session, told=None):
                told.append(("register", hasattr(session, "types"), session.server_information["version"]))
                for topic in ("construct-entity-type", "configure-location", "ready"):
                    session.event_hub.subscribe(
                        f"topic=ftrack.api.session.{topic} and source.user.username=jane",
                        lambda event: told.append((event["topic"], hasattr(session, "types"), None)),
                    )
            """
        )
    )
    told: list[Any] = []
    with _open(server, plugin_paths=[str(tmp_path)], plugin_arguments={"told": told, "unused": 1}):
        pass
    topics = [entry[0] for entry in told]
    constructed = topics.count("ftrack.api.session.construct-entity-type")
    assert constructed == len(schemas())
    assert topics == [
        "register",
        *["ftrack.api.session.construct-entity-type"] * constructed,
        "ftrack.api.session.configure-location",
        "ftrack.api.session.ready",
    ]
    assert told[0] == ("register", False, "4.13.8")
    assert told[-1][1] is True


@pytest.mark.parametrize("version", ["dev", "3.4", "3.3.11", "4.20.1-rc"])
def test_when_the_version_is_new_enough_or_unknown_then_it_is_accepted(
    server: CannedServer, version: str
) -> None:
    server.information["version"] = version
    with _open(server) as session:
        session.check_server_compatibility()


@pytest.mark.parametrize("version", [None, "3.3.10", "2.9.99"])
def test_when_the_server_is_too_old_then_the_session_is_refused(
    server: CannedServer, version: str | None
) -> None:
    server.information["version"] = version
    with pytest.raises(exception.ServerCompatibilityError):
        _open(server)


def test_when_credentials_are_refused_then_nothing_stays_open(server: CannedServer) -> None:
    server.script = [Raw(200, b'{"exception": "InvalidCredentialsError", "content": "bad key"}')]
    with pytest.raises(exception.AuthenticationError, match="bad key"):
        _open(server)
    gc.collect()


def test_when_server_information_is_changed_then_it_is_a_copy(session: Session) -> None:
    session.server_information["version"] = "changed"
    assert session.server_information["version"] == "4.13.8"


# Classes.


def test_when_a_session_starts_then_classes_are_made_on_first_use(session: Session) -> None:
    built = set(dict.keys(session.types))
    assert "Task" not in built
    assert "Task" in session.types
    assert session.types["Task"] is session.types["Task"]
    assert session.types.get("Task") is session.types["Task"]
    assert session.types.get("Nothing") is None
    assert (
        len(session.types)
        == len(schemas())
        == len(session.types.items())
        == len(list(session.types.values()))
    )
    assert list(session.types.keys()) == list(session.types) == [schema["id"] for schema in session.schemas]
    assert session.types.copy()["Note"] is session.types["Note"]
    with pytest.raises(KeyError):
        session.types["Nothing"]


def test_when_a_class_is_replaced_then_rows_become_its_objects(
    session: Session, server: CannedServer
) -> None:
    class Loud(session.types["Task"]):  # type: ignore[misc, name-defined]
        def shout(self) -> str:
            return str(self["name"]).upper()

    session.types["Task"] = Loud
    server.answer = lambda request: rows("Task", {"id": "t1", "name": "x"})
    assert session.query("Task").first().shout() == "X"
    assert session.create("Task", {"name": "y"}).shout() == "Y"


def _plugin(folder: Path, code: str) -> list[str]:
    (folder / "plugin.py").write_text(textwrap.dedent(code))
    return [str(folder)]


def test_when_a_plugin_makes_a_class_then_it_is_used(server: CannedServer, tmp_path: Path) -> None:
    paths = _plugin(
        tmp_path,
        """
        import ftrackd.api.attribute
        import ftrackd.api.entity.factory

        class Shouting(ftrackd.api.attribute.ScalarAttribute):
            def get_value(self, entity):
                return super().get_value(entity).upper()

        class Factory(ftrackd.api.entity.factory.StandardFactory):
            def create_scalar_attribute(self, class_name, name, mutable, computed, default, data_type):
                if name == "name":
                    return Shouting(name, data_type=data_type, default_value=default)
                return super().create_scalar_attribute(
                    class_name, name, mutable, computed, default, data_type
                )

        def construct(event):
            if event["data"]["schema"]["id"] == "Task":
                made = Factory().create(event["data"]["schema"])
                made.described = lambda self: f"a task called {self['name']}"
                return made

        def register(session):
            session.event_hub.subscribe("topic=ftrack.api.session.construct-entity-type", construct)
        """,
    )
    server.answer = lambda request: rows("Task", {"id": "t1", "name": "anim"})
    with _open(server, plugin_paths=paths) as session:
        assert session.query("Task").first().described() == "a task called ANIM"
        assert session.create("Task", {"name": "comp"})["name"] == "COMP"
        session.rollback()


def test_when_two_plugins_make_one_class_then_the_session_refuses(
    server: CannedServer, tmp_path: Path
) -> None:
    paths = _plugin(
        tmp_path,
        """
        def register(session):
            for _ in range(2):
                session.event_hub.subscribe(
                    "topic=ftrack.api.session.construct-entity-type", lambda event: dict
                )
        """,
    )
    with pytest.raises(ValueError, match="Expected single entity type"):
        _open(server, plugin_paths=paths)


@pytest.mark.parametrize(
    ("subscription", "may_match"),
    [
        ("topic=ftrack.update", False),
        ('topic="ftrack.action.launch" and source.user.username="jane"', False),
        ("topic=ftrack.api.session.construct-entity-type", True),
        ('topic = "ftrack.api.session.construct-entity-type" and data.schema.id=Task', True),
        ("topic=ftrack.api.*", True),
        ("topic=*", True),
        ("topic=ftrack.update or data.schema.id=Task", True),
        ("topic!=ftrack.update", True),
        ("not topic=ftrack.update", True),
        ("data.schema.id=Task", True),
        ("(topic=ftrack.update)", True),
    ],
)
def test_when_a_subscription_may_concern_classes_then_schemas_are_published(
    session: Session, subscription: str, may_match: bool
) -> None:
    for identifier in [subscriber.metadata["id"] for subscriber in session.event_hub._subscribers]:
        session.event_hub.unsubscribe(identifier)
    session.event_hub.subscribe(subscription, lambda event: None)
    assert session._has_subscriber_for("ftrack.api.session.construct-entity-type") is may_match


def test_when_a_schema_is_odd_then_attributes_nobody_can_use_are_left_out() -> None:
    made = StandardFactory().create(
        {
            "id": "Odd",
            "primary_key": ["id"],
            "properties": {
                "id": {"type": "string", "default": "{uid}"},
                "size": {"type": "number"},
                "when": {"type": "string", "format": "date-time"},
                "hidden": {"type": "string", "restricted_projection": True},
                "untyped": {"alias_for": "x"},
                "strange": {"type": "hologram"},
                "mapped": {"type": "mapped_array", "items": {"$ref": "Other"}},
                "nowhere": {"type": "mapped_array"},
                "meta": {"type": "mapped_array", "items": {"$ref": "Metadata"}},
                "sparse": {"type": "mapped_array", "items": {"$ref": "CustomAttributeValue"}},
                "dense": {"type": "mapped_array", "items": {"$ref": "OddCustomAttributeValue"}},
                "parent": {"$ref": "Odd"},
                "children": {"type": "array", "items": {"$ref": "Odd"}},
            },
            "immutable": ["id"],
            "computed": ["size"],
        }
    )
    kinds = {attribute.name: type(attribute).__name__ for attribute in made.attributes}
    assert kinds == {
        "id": "ScalarAttribute",
        "size": "ScalarAttribute",
        "when": "ScalarAttribute",
        "meta": "KeyValueMappedCollectionAttribute",
        "sparse": "CustomAttributeCollectionAttribute",
        "dense": "KeyValueMappedCollectionAttribute",
        "parent": "ReferenceAttribute",
        "children": "CollectionAttribute",
    }
    assert made.attributes.get("size").data_type == "float"
    assert made.attributes.get("size").computed
    assert made.attributes.get("when").data_type == "datetime"
    assert not made.attributes.get("id").mutable


@pytest.mark.parametrize(
    ("entity_type", "method"),
    [
        ("Task", "create_note"),
        ("Task", "create_thumbnail"),
        ("Note", "create_reply"),
        ("ProjectSchema", "get_statuses"),
        ("User", "start_timer"),
        ("AssetVersion", "create_component"),
        ("FileComponent", "get_availability"),
        ("NoteComponent", "get_availability"),
        ("Location", "add_component"),
    ],
)
def test_when_a_type_can_do_more_then_its_class_has_it(
    session: Session, entity_type: str, method: str
) -> None:
    assert callable(getattr(session.types[entity_type], method))


# Caches.


def test_when_a_cache_is_given_then_it_stands_behind_the_identity_map(server: CannedServer) -> None:
    stored = cache.MemoryCache()

    def make(session: Session) -> cache.Cache:
        return cache.SerialisedCache(
            stored,
            encode=lambda entity: session.encode(entity, "persisted_only"),
            decode=session.decode,
        )

    row = {"id": "t1", "name": "anim", "status": {"__entity_type__": "Status", "id": "s1", "name": "Ready"}}
    server.answer = lambda request: rows("Task", row)
    with _open(server, cache=make) as session:
        assert len(session.cache.caches) == 2
        assert session.query("Task").first()["name"] == "anim"
        assert sorted(stored.keys()) == ["('Status', ['s1'])", "('Task', ['t1'])"]
        session._local_cache.clear()
        server.calls.clear()
        again = session.get("Task", "t1")
        assert (again["name"], again["status"]["name"]) == ("anim", "Ready")
        assert server.calls == []
        assert again is session.get("Task", "t1")
        session.delete(again)
        server.answer = echo
        session.commit()
        assert stored.keys() == ["('Status', ['s1'])"]
    with _open(server, cache=lambda session: None) as session:
        assert len(session.cache.caches) == 1


def test_when_another_key_maker_is_given_then_the_cache_uses_its_keys(server: CannedServer) -> None:
    server.answer = lambda request: rows("Task", {"id": "t1", "name": "anim"})
    keys = cache.ObjectKeyMaker()
    with _open(server, cache_key_maker=keys) as session:
        task = session.query("Task").first()
        key = keys.key(("Task", ["t1"]))
        assert key in set(session.cache.keys())
        assert session.cache.get(key) is task
        made = session.create("Task", {"id": "new"})
        session.rollback()
        assert session.get("Task", "new") is not made
        session.cache.remove(key)
        assert key not in set(session.cache.keys())


def test_when_the_cache_is_used_by_hand_then_it_behaves_like_one(
    session: Session, server: CannedServer
) -> None:
    server.answer = lambda request: rows("Task", {"id": "t1", "name": "anim"})
    task = session.query("Task").first()
    key = session.cache_key_maker.key(("Task", ["t1"]))
    assert key == "('Task', ['t1'])"
    assert session.cache.get(key) is task
    session.cache.set("mine", 3)
    assert session.cache.get("mine") == 3
    assert {key, "mine"} <= set(session.cache.keys())
    assert task in session.cache.values()
    session._local_cache.clear("Task")
    assert key not in set(session.cache.keys())
    session.cache.set(key, task)
    assert session.get("Task", "t1") is task
    session.cache.remove("mine")
    with pytest.raises(KeyError):
        session.cache.get("mine")
    with pytest.raises(KeyError):
        session.cache.get("(not a key")


# The end.


def test_when_a_session_closes_with_changes_then_a_warning_tells_them(
    server: CannedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="ftrack_api"), _open(server) as session:
        session.create("Task", {"name": "x"})
    assert "closing with pending operations not persisted: 1 creation of Task" in caplog.text
    assert session.closed
    assert session._local_cache.keys() == []


def test_when_a_session_is_reset_then_entities_go_and_locations_are_configured_again(
    session: Session,
) -> None:
    topics: list[str] = []
    for topic in ("configure-location", "ready", "reset"):
        session.event_hub.subscribe(
            f"topic=ftrack.api.session.{topic}", lambda event: topics.append(event["topic"])
        )
    task = session.create("Task", {"id": "t1"})
    session.reset()
    assert topics == ["ftrack.api.session.configure-location", "ftrack.api.session.reset"]
    assert len(session.recorded_operations) == 0
    assert session.get("Task", "t1") is not task
    assert any(entity.entity_type == "Location" for entity in session._local_cache.values())


_AT_EXIT = """
import logging; logging.basicConfig(level=logging.WARNING, format="%(message)s")
from ftrackd.api.session import Session
session = Session({url!r}, "key", "jane", plugin_paths=[], schema_cache_path=False)
session.create("Task", {{"name": "x"}})
"""


def test_when_the_process_ends_then_its_sessions_are_closed(server: CannedServer) -> None:
    """The official client registers a handler that does nothing."""
    result = subprocess.run(
        [sys.executable, "-c", _AT_EXIT.format(url=server.url)], capture_output=True, text=True, check=True
    )
    assert "Session is closing with pending operations not persisted: 1 creation of Task" in result.stderr


_FORK = """
import os, sys
import urllib3.util.connection
from ftrackd.api.session import Session

session = Session({url!r}, "key", "jane", plugin_paths=[], schema_cache_path=False)
session.event_hub.disconnect = lambda *arguments, **options: print("hub closed by", role, flush=True)
session.create("Task", {{"name": "x"}})
original = urllib3.util.connection.create_connection
opened = []
urllib3.util.connection.create_connection = lambda *a, **k: opened.append(1) or original(*a, **k)
child = os.fork()
role = "parent" if child else "child"
if child:
    os.waitpid(child, 0)
session.query("Task").all()
print(role, "opened", len(opened), flush=True)
"""


def test_when_a_process_is_forked_then_parent_and_child_do_not_share_connections(
    server: CannedServer,
) -> None:
    """On one connection they would read each other's answers; and the child's end is not the parent's."""
    done = subprocess.run(
        [sys.executable, "-c", _FORK.format(url=server.url)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["child opened 1", "parent opened 0", "hub closed by parent"]
    assert done.stderr.count("Session is closing with pending operations") == 1


_PENDING_AT_FORK = """
import os, threading
from ftrackd.api.session import Session

session = Session({url!r}, "key", "jane", plugin_paths=[], schema_cache_path=False)
task = session.query("Task").one()
task["name"] = "the parent's"
with session.unit_of_work("lane"):
    session.create("Note", {{"content": "the parent's, too"}})
    held, forked = threading.Event(), threading.Event()

    def hold():
        with session.recorded_operations._lock:
            held.set()
            forked.wait()

    threading.Thread(target=hold).start()
    held.wait()
    child = os.fork()
    forked.set()
    if child:
        os.waitpid(child, 0)
    else:
        print("in the child", len(session.recorded_operations), flush=True)
        session.commit()
        session.create("Asset", {{"name": "the child's"}})
        session.commit()
if child:
    session.commit()
else:
    print("in the child", task["name"], len(session.recorded_operations), flush=True)
    session.commit()
"""


def test_when_a_process_is_forked_then_what_is_pending_is_committed_by_the_parent_alone(
    server: CannedServer,
) -> None:
    def answer(request: Any) -> Any:
        return rows("Task", {"id": "t1", "name": "old"}) if request["action"] == "query" else echo(request)

    server.answer = answer
    done = subprocess.run(
        [sys.executable, "-c", _PENDING_AT_FORK.format(url=server.url)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.splitlines() == ["in the child 0", "in the child old 0"]
    committed = [
        (operation["action"], operation["entity_type"])
        for batch in server.calls
        for operation in batch
        if operation["action"] in ("create", "update")
    ]
    assert committed == [("create", "Asset"), ("update", "Task")]
    warnings = [line for line in done.stderr.splitlines() if "forked process" in line]
    assert len(warnings) == 1
    assert "1 creation of Note, 1 update of Task" in warnings[0]


def test_when_nobody_uses_a_session_then_it_is_freed(server: CannedServer) -> None:
    session = _open(server)
    session.create("Task", {"custom_attributes": None})
    session.rollback()
    reference = weakref.ref(session)
    session.close()
    del session
    gc.collect()
    assert reference() is None


def test_when_a_subclass_has_its_own_constructor_then_the_session_works(server: CannedServer) -> None:
    """Hosts of plugins replace `__init__` and set up what they need by the steps that exist for that."""

    class Own(Session):
        def __init__(self, url: str) -> None:
            self._server_url, self._api_key, self._api_user = url, "key", "jane"
            self._closed = False
            self.recorded_operations = ftrackd.api.operation.Operations()
            self.cache_key_maker = cache.StringKeyMaker()
            self.cache = cache.LayeredCache([cache.MemoryCache()])
            self._local_cache = cache.MemoryCache()
            self._headers, self._cookies = {}, {}
            self._request = self._create_request_session(False)
            self.request_timeout = 60
            self._server_information = self._fetch_server_information()
            self.check_server_compatibility()
            self._event_hub = self._create_event_hub()
            self._discover_plugins(plugin_arguments={})
            self.schemas = self._load_schemas(False)
            self.types = self._build_entity_type_classes(self.schemas)
            self._configure_locations()

    server.answer = lambda request: rows("Task", {"id": "t1", "name": "anim"})
    with Own(server.url) as session:
        task = session.query("Task").first()
        assert task is session.get("Task", "t1")
        server.answer = echo
        task["name"] = "x"
        session.commit()
        session._local_cache.clear()
        server.answer = lambda request: rows("Task")
        assert session.get("Task", "t1") is None
