"""Locations, structures and entity types shape the Session in every plugin's process."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from .recording import running_host

LOCATION = """
import ftrack_api
import ftrack_api.accessor.disk as _disk
import ftrack_api.structure.standard as _standard

def configure(event):
    session = event["data"]["session"]
    location = session.create("Location", dict(id="studio", name="studio"), reconstructing=True)
    location.accessor = _disk.DiskAccessor(prefix={prefix!r})
    location.structure = _standard.StandardStructure()
    location.priority = 1

def register(session, **kw):
    if not isinstance(session, ftrack_api.session.Session):
        return
    session.event_hub.subscribe("topic=ftrack.api.session.configure-location", configure)
    session.event_hub.subscribe("topic=test.location", lambda event: {{"here": True}})
"""

READER = """
RESETS = []

def register(session, **kw):
    def handle(event):
        location = session.get("Location", "studio")
        prefix = location.accessor.prefix if location is not None and location.accessor else None
        return {"prefix": prefix, "resets": len(RESETS)}
    session.event_hub.subscribe("topic=test.event", handle)
    session.event_hub.subscribe("topic=ftrack.api.session.reset", lambda event: RESETS.append(1))
"""

TYPES = """
import ftrack_api.entity.factory

class Factory(ftrack_api.entity.factory.StandardFactory):
    def create(self, schema, bases=None):
        made = super().create(schema, bases=bases)
        made.mark = {mark!r}
        return made

def register(session, **kw):
    factory = Factory()
    def construct(event):
        schema = event["data"]["schema"]
        if schema["id"] == "Task":
            return factory.create(schema)
    session.event_hub.subscribe("topic=ftrack.api.session.construct-entity-type", construct)
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def answer(running, plugin: str) -> dict:
    running.listener.published.clear()
    outcome = running.run(plugin)
    assert outcome.status == "returned", outcome.error
    (reply,) = running.listener.wait_for(running.replies)
    return reply


def test_when_a_location_plugin_is_loaded_then_every_session_has_its_location(tmp_path: Path) -> None:
    write(tmp_path / "zz_location.py", LOCATION.format(prefix="/mnt/one"))
    write(tmp_path / "reader.py", READER)
    with running_host(tmp_path, watch=True) as running:
        running.wait_ready("zz_location", "reader")
        assert answer(running, "reader")["prefix"] == "/mnt/one"
        assert running.status("zz_location").is_session_plugin
        assert not running.status("reader").is_session_plugin
        # Its other subscriptions live in its own process alone.
        assert "topic=test.location" in running.listener.expressions("zz_location")
        assert "topic=test.location" not in running.listener.expressions("reader")
        pid = running.status("reader").pid

        write(tmp_path / "zz_location.py", LOCATION.format(prefix="/mnt/two"))
        running.wait_status("zz_location", lambda status: status.generation == 2)
        running.listener.wait_for(lambda: answer(running, "reader")["prefix"] == "/mnt/two")
        assert answer(running, "reader")["resets"] == 1
        assert running.status("reader").pid == pid, "its own code did not change, so neither did its process"

        write(tmp_path / "zz_location.py", "def register(session):\n    raise RuntimeError('broken')\n")
        running.wait_status("zz_location", lambda status: "broken" in status.error)
        assert answer(running, "reader")["prefix"] == "/mnt/two"

        (tmp_path / "zz_location.py").unlink()
        running.listener.wait_for(lambda: ("zz_location", "removed") in running.listener.gone)
        running.listener.wait_for(
            lambda: running.run("reader").status == "raised",
            what="a request to the server, which is not there",
        )


def test_when_an_entity_type_plugin_changes_then_classes_are_made_anew(tmp_path: Path) -> None:
    write(tmp_path / "types.py", TYPES.format(mark="first"))
    write(
        tmp_path / "reader.py",
        """
        def register(session):
            session.event_hub.subscribe(
                "topic=test.event", lambda event: {"mark": getattr(session.types["Task"], "mark", None)}
            )
        """,
    )
    with running_host(tmp_path, watch=True) as running:
        running.wait_ready("types", "reader")
        assert answer(running, "reader") == {"mark": "first"}
        write(tmp_path / "types.py", TYPES.format(mark="second"))
        running.listener.wait_for(lambda: answer(running, "reader") == {"mark": "second"})


def test_when_the_session_is_reset_then_locations_are_configured_again(tmp_path: Path) -> None:
    write(tmp_path / "location.py", LOCATION.format(prefix="/mnt/one"))
    write(tmp_path / "reader.py", READER)
    with running_host(tmp_path) as running:
        running.wait_ready("location", "reader")
        assert sorted(running.host.reset()) == ["location", "reader"]
        running.listener.wait_for(lambda: answer(running, "reader")["resets"] == 1)
        assert answer(running, "reader")["prefix"] == "/mnt/one"


def test_when_a_callback_runs_then_the_reset_waits_for_its_end(tmp_path: Path) -> None:
    write(
        tmp_path / "plugin.py",
        """
        import time
        import ftrack_api
        LOG = []
        def register(session):
            def slow(event):
                LOG.append("begin")
                session.event_hub.publish(ftrack_api.event.base.Event("test.began"))
                time.sleep(0.5)
                LOG.append("end")
            session.event_hub.subscribe("topic=test.event", slow)
            session.event_hub.subscribe("topic=ftrack.api.session.reset", lambda event: LOG.append("reset"))
            session.event_hub.subscribe("topic=test.log", lambda event: list(LOG))
        """,
    )
    with running_host(tmp_path) as running:
        running.wait_ready("plugin")
        running.send("plugin")
        running.listener.wait_for(lambda: running.publish_data("test.began"))
        running.host.reset()
        running.listener.wait_for(
            lambda: running.run("plugin", "test.log") and running.replies()[-1][-1] == "reset"
        )
        assert running.replies()[-1] == ["begin", "end", "reset"]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_when_two_location_plugins_have_helpers_of_one_name_then_each_gets_its_own(
    tmp_path: Path, order: str
) -> None:
    """Finding 5: three public recipes each ``import custom_location_plugin``."""
    for name in order:
        folder = tmp_path / f"{order.index(name)}-recipe-{name}-1.0.0"
        write(
            folder / "hook" / "register_location.py",
            """
            import os, sys
            sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "location"))
            import custom_location_plugin

            def register(api_object, **kw):
                custom_location_plugin.register(api_object)
            """,
        )
        write(
            folder / "location" / "custom_location_plugin.py",
            f"""
            import ftrack_api.accessor.disk
            def register(api_object, location_setup=None):
                def configure(event):
                    session = event["data"]["session"]
                    values = dict(id="{name}", name="{name}")
                    location = session.create("Location", values, reconstructing=True)
                    location.accessor = ftrack_api.accessor.disk.DiskAccessor(prefix="/mnt/{name}")
                api_object.event_hub.subscribe("topic=ftrack.api.session.configure-location", configure)
            """,
        )
    write(
        tmp_path / "reader.py",
        """
        def register(session):
            def handle(event):
                return {name: session.get("Location", name).accessor.prefix for name in "ab"}
            session.event_hub.subscribe("topic=test.event", handle)
        """,
    )
    with running_host(tmp_path) as running:
        running.wait_ready("reader", f"{order.index('a')}-recipe-a", f"{order.index('b')}-recipe-b")
        assert answer(running, "reader") == {"a": "/mnt/a", "b": "/mnt/b"}


def test_when_a_session_plugin_shares_a_process_then_its_classes_exist_once(tmp_path: Path) -> None:
    from ftrackd.settings import GroupSettings

    for name in ("aa_location", "zz_location"):
        write(
            tmp_path / f"{name}.py",
            f"""
            class Marker: pass
            SESSIONS = []
            def register(session):
                SESSIONS.append(session)
                def configure(event):
                    event["data"].setdefault("markers", []).append(Marker)
                session.event_hub.subscribe("topic=ftrack.api.session.configure-location", configure)
                def answer(event):
                    import sys
                    same = sys.modules["ftrackd_plugins.{name}"].Marker is Marker
                    return {{"same": same, "sessions": len(SESSIONS)}}
                session.event_hub.subscribe("topic=test.event", answer)
            """,
        )
    write(tmp_path / "reader.py", READER)
    groups = [GroupSettings(name="all", plugins=["aa_location", "reader", "zz_location"])]
    with running_host(tmp_path, groups=groups) as running:
        running.wait_ready("aa_location", "reader", "zz_location")
        assert len({running.status(name).pid for name in groups[0].plugins}) == 1
        for name in ("aa_location", "zz_location"):
            assert answer(running, name) == {"same": True, "sessions": 3}
