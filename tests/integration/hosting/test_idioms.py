"""The idioms of plugins in the field, and the failures seen with them, each with a small plugin of ours."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from .recording import RunningHost, running_host

OFFICIAL_COPY = "class Session: pass\n__version__ = '2.5.4'\n"

FILES = {
    # Register signatures.
    "signature_keywords.py": """
        def register(session, **kw):
            session.event_hub.subscribe("topic=test.event", lambda event: {"keywords": sorted(kw)})
    """,
    "signature_plain.py": """
        def register(session):
            session.event_hub.subscribe("topic=test.event", lambda event: {"plain": True})
    """,
    "signature_api_object.py": """
        def register(api_object, **kw):
            api_object.event_hub.subscribe("topic=test.event", lambda event: {"user": api_object.api_user})
    """,
    "signature_star.py": """
        def register(*args, **kw):
            args[0].event_hub.subscribe("topic=test.event", lambda event: {"arguments": len(args)})
    """,
    "signature_default.py": """
        def register(api_object, location_setup=None, *, colour):
            answer = {"setup": location_setup, "colour": colour}
            api_object.event_hub.subscribe("topic=test.event", lambda event: answer)
    """,
    "signature_none.py": """
        def register():
            import logging
            logging.getLogger("zero").warning("called without arguments")
    """,
    # Binding the session: partial in its three orders, callable objects, bound methods, globals.
    "binding.py": """
        import functools
        import ftrack_api
        session = None

        def first(bound, event):
            return {"first": bound is session}

        def keyword(event, session):
            return {"keyword": session.api_user}

        def middle(bound, setup, event):
            return {"middle": setup}

        class Resolver:
            def __init__(self, session):
                self.session = session
            def __call__(self, event):
                return {"callable": self.session.api_user}
            def method(self, event):
                return {"method": self.session.api_user}

        def register(api_object, **kw):
            global session
            if not isinstance(api_object, ftrack_api.Session):
                return
            session = api_object
            resolver = Resolver(session)
            for topic, callback in {
                "first": functools.partial(first, api_object),
                "keyword": functools.partial(keyword, session=api_object),
                "middle": functools.partial(middle, api_object, "setup"),
                "callable": resolver,
                "method": resolver.method,
            }.items():
                session.event_hub.subscribe("topic=test." + topic, callback)
    """,
    # An action in the style of the widespread base classes.
    "base_action.py": """
        import logging
        import ftrack_api

        class BaseAction(object):
            label = identifier = None

            def __init__(self, session):
                self.logger = logging.getLogger(__name__ + "." + self.__class__.__name__)
                self._session = session

            @property
            def session(self):
                return self._session

            def register(self):
                self.session.event_hub.subscribe("topic=ftrack.action.discover", self._discover)
                self.session.event_hub.subscribe(
                    "topic=ftrack.action.launch and data.actionIdentifier={0}".format(self.identifier),
                    self._launch,
                )

            def _discover(self, event):
                return {"items": [{"label": self.label, "actionIdentifier": self.identifier}]}

            def _launch(self, event):
                if "values" not in event["data"]:
                    return {"items": [{"type": "text", "name": "who"}]}
                self.session.event_hub.publish(
                    ftrack_api.event.base.Event(
                        topic="ftrack.action.trigger-user-interface",
                        data=dict(type="message", success=True, message=event["data"]["values"]["who"]),
                        target='applicationId=ftrack.client.web and user.id="u1"',
                    ),
                    on_error="ignore",
                )
                return {"success": True, "message": self.logger.name}

        class Hello(BaseAction):
            label = "Hello"
            identifier = "studio.hello"

        def register(session, **kw):
            if not isinstance(session, ftrack_api.session.Session):
                return
            Hello(session).register()
    """,
    # The block at the end of nearly every public plugin must not run.
    "main_block.py": """
        import argparse, sys
        import ftrack_api

        def register(session):
            session.event_hub.subscribe("topic=test.event", lambda event: {"name": __name__})

        if __name__ == "__main__":
            session = ftrack_api.Session(auto_connect_event_hub=True)
            register(session)
            session.event_hub.wait()
    """,
    # event.stop() before a default hook; both in one file here, in priority order.
    "stopping.py": """
        def register(session):
            def first(event):
                event.stop()
                return {"who": "first"}
            session.event_hub.subscribe("topic=test.event", lambda event: {"who": "default"})
            session.event_hub.subscribe("topic=test.event", first, priority=20)
    """,
    # Work begins when the session is ready: types and locations exist only then.
    "deferred.py": """
        def register(session):
            assert not hasattr(session, "types") or not session.types
            def ready(event):
                own = event["data"]["session"]
                assert own is session
                names = sorted(own.types)
                session.event_hub.subscribe("topic=test.event", lambda event: {"types": names})
            session.event_hub.subscribe("topic=ftrack.api.session.ready", ready)
    """,
    # A wrapper around publish that must see what the session itself publishes.
    "patching.py": """
        SEEN = []
        def register(session):
            publish = session.event_hub.publish
            def wrapper(event, *args, **kwargs):
                SEEN.append(event["topic"])
                return publish(event, *args, **kwargs)
            session.event_hub.publish = wrapper
            session.event_hub.subscribe("topic=test.event", lambda event: {"seen": SEEN})
    """,
    # Dataclasses with postponed annotations, pickling, relative names.
    "modern.py": """
        from __future__ import annotations
        import dataclasses, pickle, sys

        @dataclasses.dataclass
        class Shot:
            name: str
            frames: list[int] = dataclasses.field(default_factory=list)

        def register(session):
            def handle(event):
                again = pickle.loads(pickle.dumps(Shot("a", [1])))
                return {"same": again == Shot("a", [1]), "module": __name__ in sys.modules}
            session.event_hub.subscribe("topic=test.event", handle)
    """,
    # Threads of its own, each with work of its own, through the widespread decorator.
    "threads.py": """
        import threading
        import ftrack_api

        def asynchronous(function):
            def wrapper(*args, **kwargs):
                thread = threading.Thread(target=function, args=args, kwargs=kwargs)
                thread.start()
                return thread
            return wrapper

        def register(session):
            @asynchronous
            def work(data):
                session.event_hub.publish(ftrack_api.event.base.Event("test.worked", data=data))
            session.event_hub.subscribe("topic=test.event", lambda event: work(event["data"]) and None)
    """,
    # No interrupt handler can be set off the main thread, and scripts set one when they register.
    "signals.py": """
        import signal, threading
        def register(session):
            signal.signal(signal.SIGUSR2, lambda *_: None)
            session.event_hub.subscribe(
                "topic=test.event", lambda event: {"in": threading.current_thread().name}
            )
    """,
    # Connect's layout: the hook extends sys.path, relative to its own file.
    "connect-style-1.0.0/hook/connect_hook.py": """
        import os, sys
        here = os.path.dirname(os.path.abspath(__file__))
        sys.path.insert(0, os.path.join(here, "..", "dependencies"))
        import vendored
        import ftrack_api

        def register(session, **kw):
            if not isinstance(session, ftrack_api.Session):
                return
            answer = {"vendored": vendored.VALUE, "version": ftrack_api.__version__}
            session.event_hub.subscribe("topic=test.event", lambda event: answer)
    """,
    "connect-style-1.0.0/dependencies/vendored.py": "VALUE = 'from dependencies'\n",
    # Finding 7: the official client lies in dependencies/, first on sys.path.
    "connect-style-1.0.0/dependencies/ftrack_api/__init__.py": OFFICIAL_COPY,
    "connect-style-1.0.0/dependencies/ftrack_api/session.py": OFFICIAL_COPY,
    "connect-style-1.0.0/dependencies/ftrack_api/only_theirs.py": "",
    # A package with relative and absolute imports of itself.
    "studio_package/__init__.py": """
        from .inner import Marker
        from studio_package.inner import Marker as Same

        def register(session):
            session.event_hub.subscribe("topic=test.event", lambda event: {"one_class": Marker is Same})
    """,
    "studio_package/inner.py": "class Marker: pass\n",
    # Finding 4: a setup.py in the tree would parse our arguments and leave.
    "setup.py": "import setuptools\nsetuptools.setup()\ndef register(session): pass\n",
    # Finding 9: a Session inside a callback must not load the host's plugins again.
    "nested.py": """
        import os
        def register(session):
            session.event_hub.subscribe(
                "topic=test.event",
                lambda event: {
                    "paths": os.environ.get("FTRACK_EVENT_PLUGIN_PATH"),
                    "server": os.environ["FTRACK_SERVER"] == session.server_url,
                    "user": os.environ["FTRACK_API_USER"] == session.api_user,
                },
            )
    """,
    # Several hooks in one folder, one of them for another age: the others go on.
    "mixed-2.0.0/hook/good.py": """
        def register(session):
            session.event_hub.subscribe("topic=test.event", lambda event: {"good": True})
    """,
    "mixed-2.0.0/hook/old.py": """
        def register(session):
            print "Python 2"
    """,
    # Imports before which the submodule was never imported by name.
    "bare.py": """
        import ftrack_api
        import ftrack_api.accessor.disk as _disk
        from ftrack_api.entity.location import Location

        def register(session):
            names = [
                ftrack_api.symbol.NOT_SET, ftrack_api.inspection.identity, ftrack_api.exception.ServerError,
                ftrack_api.operation.UpdateEntityOperation, ftrack_api.structure.standard.StandardStructure,
                ftrack_api.accessor.disk.DiskAccessor, ftrack_api.event.base.Event, ftrack_api.mixin,
                ftrack_api.entity.base.Entity, ftrack_api.cache.MemoryCache, ftrack_api.attribute, Location,
            ]
            same = _disk.DiskAccessor is ftrack_api.accessor.disk.DiskAccessor
            session.event_hub.subscribe("topic=test.event", lambda event: {"names": len(names), "same": same})
    """,
    # A callback that cannot be called with one argument, as published once.
    "two_arguments.py": """
        def register(session):
            session.event_hub.subscribe("topic=test.event", lambda event, other: None)
    """,
}

PLUGINS = [
    "signature_keywords", "signature_plain", "signature_api_object", "signature_star", "signature_default",
    "signature_none", "binding", "base_action", "main_block", "stopping", "deferred", "patching", "modern",
    "threads", "signals", "connect-style", "studio_package", "nested", "mixed", "bare", "two_arguments",
]  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """All of them in one host, as in a studio."""
    folder = tmp_path_factory.mktemp("idioms")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTRACK_EVENT_PLUGIN_PATH", str(folder))
        with running_host(folder, arguments={"colour": "red", "location_setup": {"a": 1}}) as host:
            host.wait_ready(*PLUGINS)
            yield host


def answers(
    running: RunningHost, plugin: str, topic: str = "test.event", **data: Any
) -> list[Mapping[str, Any]]:
    """What *plugin* replies to an event."""
    running.listener.published.clear()
    outcome = running.run(plugin, topic, **data)
    assert outcome.status == "returned", outcome.error
    return running.replies()


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        ("signature_keywords", {"keywords": ["colour", "location_setup"]}),
        ("signature_plain", {"plain": True}),
        ("signature_api_object", {"user": "tester"}),
        ("signature_star", {"arguments": 1}),
        ("signature_default", {"setup": {"a": 1}, "colour": "red"}),
        ("main_block", {"name": "ftrackd_plugins.main_block"}),
        ("stopping", {"who": "first"}),
        ("modern", {"same": True, "module": True}),
        ("signals", {"in": "event"}),
        ("studio_package", {"one_class": True}),
        ("nested", {"paths": None, "server": True, "user": True}),
        ("mixed", {"good": True}),
        ("bare", {"names": 12, "same": True}),
    ],
)
def test_when_written_in_this_way_then_it_works(
    running: RunningHost, plugin: str, expected: Mapping[str, Any]
) -> None:
    assert answers(running, plugin) == [expected]


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("first", {"first": True}),
        ("keyword", {"keyword": "tester"}),
        ("middle", {"middle": "setup"}),
        ("callable", {"callable": "tester"}),
        ("method", {"method": "tester"}),
    ],
)
def test_when_the_session_is_bound_in_this_way_then_the_callback_gets_it(
    running: RunningHost, topic: str, expected: Mapping[str, Any]
) -> None:
    assert answers(running, "binding", f"test.{topic}") == [expected]


def test_when_register_takes_nothing_then_it_is_called_with_nothing(running: RunningHost) -> None:
    (module,) = running.status("signature_none").modules
    assert (module["stage"], module["dropped_arguments"]) == (
        "registered",
        "1 positional and keyword 'colour', 'location_setup'",
    )


def test_when_an_action_derives_from_a_base_class_then_discover_form_and_launch_work(
    running: RunningHost,
) -> None:
    (discovered,) = answers(running, "base_action", "ftrack.action.discover")
    assert discovered["items"][0]["actionIdentifier"] == "studio.hello"
    launch = {"actionIdentifier": "studio.hello"}
    assert answers(running, "base_action", "ftrack.action.launch", **launch) == [
        {"items": [{"type": "text", "name": "who"}]}
    ]
    (result,) = answers(running, "base_action", "ftrack.action.launch", values={"who": "you"}, **launch)
    assert result == {"success": True, "message": "ftrackd_plugins.base_action.Hello"}
    assert running.publish_data("ftrack.action.trigger-user-interface")[0]["message"] == "you"


def test_when_work_is_deferred_to_ready_then_types_exist_and_subscriptions_count(
    running: RunningHost,
) -> None:
    """Finding 2: register() runs before types and locations exist."""
    (answer,) = answers(running, "deferred")
    assert "Task" in answer["types"]
    assert not running.status("deferred").is_session_plugin


def test_when_publish_is_patched_then_the_session_s_own_events_go_through_it(running: RunningHost) -> None:
    """Finding 11."""
    (answer,) = answers(running, "patching")
    assert "ftrack.api.session.configure-location" in answer["seen"]
    assert "ftrack.api.session.ready" in answer["seen"]


def test_when_a_plugin_starts_threads_then_they_use_the_session(running: RunningHost) -> None:
    answers(running, "threads", number=7)
    assert running.listener.wait_for(lambda: running.publish_data("test.worked")) == [{"number": 7}]


def test_when_the_official_client_is_bundled_then_ours_is_imported(running: RunningHost) -> None:
    """Finding 7: two Session classes would make every guard fail silently."""
    (answer,) = answers(running, "connect-style")
    assert answer["vendored"] == "from dependencies"
    assert answer["version"] != "2.5.4"


def test_when_one_hook_of_a_folder_fails_then_it_is_shown_and_the_others_work(running: RunningHost) -> None:
    status = running.status("mixed")
    assert status.state == "running"
    assert "old.py" in status.error
    assert "SyntaxError" in status.error


def test_when_a_callback_cannot_be_called_then_the_outcome_says_so(running: RunningHost) -> None:
    outcome = running.run("two_arguments")
    assert outcome.status == "raised"
    assert "missing 1 required positional argument" in outcome.error


def test_when_setup_scripts_and_tests_lie_about_then_they_are_not_run(running: RunningHost) -> None:
    assert {status.name for status in running.host.statuses()} == set(PLUGINS)


def test_when_one_register_raises_then_the_other_plugins_are_there(tmp_path: Path) -> None:
    """Finding 3: a missing environment variable in one plugin meant no session at all."""
    (tmp_path / "aa_bad.py").write_text("def register(session):\n    raise ValueError('AWS key missing')\n")
    (tmp_path / "good.py").write_text(textwrap.dedent(FILES["signature_plain.py"]))
    with running_host(tmp_path) as host:
        host.wait_ready("good")
        status = host.wait_status("aa_bad", lambda status: status.error)
        assert "AWS key missing" in status.error
        assert "aa_bad.py" in status.error
        assert answers(host, "good") == [{"plain": True}]


IN_PROCESS = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from integration.hosting.recording import running_host
from integration.hosting.test_idioms import answers

folder = Path({folder!r})
with running_host(folder, in_process=True, watch=True) as host:
    host.wait_ready("here", "there")
    assert answers(host, "here") == [{{"pid": os.getpid(), "paths": None}}]
    assert answers(host, "there") == [{{"value": 1}}]
    (folder / "helper.py").write_text("VALUE = 2\\n")
    host.listener.wait_for(lambda: answers(host, "there") == [{{"value": 2}}])
print("done")
"""


def test_when_everything_runs_in_one_process_then_it_works_as_well(tmp_path: Path) -> None:
    """For a debugger: breakpoints in a plugin stop the main process."""
    (tmp_path / "here.py").write_text(
        "import os, ftrack_api\n"
        "def register(session):\n"
        "    answer = {'pid': os.getpid(), 'paths': os.environ.get('FTRACK_EVENT_PLUGIN_PATH')}\n"
        "    session.event_hub.subscribe('topic=test.event', lambda event: answer)\n"
    )
    (tmp_path / "there.py").write_text(
        "import helper\n"
        "def register(session):\n"
        "    session.event_hub.subscribe('topic=test.event', lambda event: {'value': helper.VALUE})\n"
    )
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    tests = str(Path(__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", IN_PROCESS.format(tests=tests, folder=str(tmp_path))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout.endswith("done\n"), result.stdout[-2000:] + result.stderr[-2000:]


def test_when_operations_are_left_uncommitted_then_they_are_rolled_back_and_counted(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(
        "def register(session):\n"
        "    def handle(event):\n"
        "        session.create('Task', {'id': 'x', 'name': 'new'})\n"
        "    session.event_hub.subscribe('topic=test.event', handle)\n"
        "    def count(event):\n"
        "        return {'pending': len(session.recorded_operations)}\n"
        "    session.event_hub.subscribe('topic=test.count', count)\n"
    )
    with running_host(tmp_path) as host:
        host.wait_ready("careless")
        assert host.run("careless").status == "returned"
        assert answers(host, "careless", "test.count") == [{"pending": 0}]
        host.wait_status("careless", lambda status: status.counters["uncommitted"] == 1)
