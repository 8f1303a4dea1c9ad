"""The bundled plugins about storage, loaded as plugins are."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ftrackd.api import Session, alias
from ftrackd.api.accessor.disk import DiskAccessor
from ftrackd.api.event.base import Event

from .conftest import Studio, connect

PLUGINS = pathlib.Path(__file__).parents[3] / "plugins"
ACTION = "com.ftrackd.transfer-components"
DEADLINE_S = 20.0


@pytest.fixture(autouse=True)
def ftrack_api_alias() -> Iterator[None]:
    alias.install()
    yield
    alias.uninstall()


@pytest.fixture
def session(sandbox) -> Iterator[Session]:
    session = connect(sandbox, plugin_paths=[str(PLUGINS / "transfer_components")])
    yield session
    plugin = get_plugin(session)
    plugin.unregister(session)
    session.close()


def get_plugin(session: Session) -> Any:
    """Return the module that subscribed the action."""
    for subscriber in session.event_hub._subscribers:
        if ACTION in str(subscriber.subscription):
            return sys.modules[type(subscriber.callback.__self__).__module__]
    raise AssertionError("the plugin did not subscribe")


def publish(session: Session, topic: str, **data: Any) -> Any:
    user = session.query(f'User where username is "{session.api_user}"').one()
    event = Event(topic=topic, data=data, source={"user": {"id": user["id"], "username": user["username"]}})
    answers = [answer for answer in session.event_hub.publish(event, synchronous=True) if answer is not None]
    return answers[0] if answers else None


def launch(studio: Studio, selection: list[dict[str, str]], **values: Any) -> Any:
    data: dict[str, Any] = {"actionIdentifier": ACTION, "selection": selection}
    if values:
        data["values"] = values
    return publish(studio.session, "ftrack.action.launch", **data)


def follow_job(studio: Studio, reached: Any = None) -> tuple[str, list[str]]:
    """Return the last status and all descriptions of the newest job, as another client sees them."""
    deadline = time.monotonic() + DEADLINE_S
    descriptions: list[str] = []
    while True:
        assert time.monotonic() < deadline, descriptions
        (row,) = studio.session.call(
            [
                {
                    "action": "query",
                    "expression": "select status, data from Job where data like '%transfer_components%' "
                    "order by created_at descending, id limit 1",
                }
            ]
        )[0]["data"]
        description = json.loads(row["data"])["description"]
        if not descriptions or descriptions[-1] != description:
            descriptions.append(description)
        if row["status"] in ("done", "failed") or (reached and reached in description):
            return row["status"], descriptions
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def no_jobs_of_others(session: Session) -> None:
    for job in session.query("Job where data like '%transfer_components%'"):
        session.delete(job)
    session.commit()


class TestTransferComponents:
    @pytest.mark.parametrize(
        ("entity_type", "offered"),
        [
            ("assetversion", True),
            ("component", True),
            ("task", True),
            ("show", True),
            ("user", False),
            ("reviewsession", False),
        ],
    )
    def test_when_something_is_selected_then_it_is_offered_where_it_makes_sense(
        self, session, entity_type, offered
    ) -> None:
        selection = [{"entityId": "x", "entityType": entity_type}]
        answer = publish(session, "ftrack.action.discover", selection=selection)
        assert bool(answer) is offered
        assert not publish(session, "ftrack.action.discover", selection=[])
        if offered:
            assert answer["items"][0]["actionIdentifier"] == ACTION

    def test_when_launched_then_a_form_asks_for_locations(self, studio: Studio) -> None:
        studio.disk.priority = 1
        studio.archive.add_component(studio.make_component(), studio.origin)
        form = launch(studio, [{"entityId": studio.version["id"], "entityType": "assetversion"}])
        source, target = form["items"]
        assert source["name"] == "source_id" and source["value"] == "any"
        assert target["name"] == "target_id" and target["value"] == studio.disk["id"]
        names = {choice["label"] for choice in target["data"]}
        assert "ftrack.origin" not in names and "ftrack.server" in names

    @pytest.mark.parametrize("kind", ["assetversion", "component", "task", "show"])
    def test_when_the_form_is_submitted_then_components_travel(self, studio: Studio, kind: str) -> None:
        sequence, single = studio.make_sequence(3), studio.make_component(b"single")
        studio.archive.add_components([sequence, single], studio.origin)
        parent = studio.version["asset"]["parent"]
        ids = {
            "assetversion": [studio.version["id"]],
            "component": [sequence["id"], single["id"]],
            "task": [parent["id"]],
            "show": [parent["project_id"]],
        }[kind]
        selection = [{"entityId": identifier, "entityType": kind} for identifier in ids]
        answer = launch(studio, selection, source_id="any", target_id=studio.server["id"])
        assert answer["success"], answer
        assert "2 components" in answer["message"]
        status, descriptions = follow_job(studio)
        assert (status, descriptions[-1]) == ("done", "Transfer to ftrack.server: 2 transferred")
        assert studio.server.get_component_availabilities([sequence, single]) == [100.0, 100.0]
        assert studio.read(studio.server, single) == b"single"

    @pytest.mark.parametrize("contained", [False, True])
    def test_when_a_transfer_takes_long_then_its_job_moves(
        self, studio: Studio, monkeypatch, contained: bool
    ) -> None:
        component = studio.make_component(bytes(30 * 1024 * 1024))
        if contained:
            component = studio.make_container(component)
        studio.archive.add_component(component, studio.origin)
        transfer = sys.modules[f"{get_plugin(studio.session).__name__}.transfer"]
        monkeypatch.setattr(transfer, "UPDATE_INTERVAL_S", 0.0)
        selection = [{"entityId": component["id"], "entityType": "component"}]
        assert launch(studio, selection, source_id=studio.archive["id"], target_id=studio.disk["id"])[
            "success"
        ]
        status, descriptions = follow_job(studio)
        assert status == "done"
        moving = [text for text in descriptions if "% of 31.5 MB, component 1 of 1" in text]
        assert len(moving) >= 3
        percentages = [int(text.partition(" %")[0].rpartition(" ")[2]) for text in moving]
        assert percentages == sorted(percentages)

    def test_when_some_cannot_be_transferred_then_the_others_are(self, studio: Studio) -> None:
        present, absent, nowhere = (studio.make_component(name=name) for name in "abc")
        studio.archive.add_components([present, absent], studio.origin)
        studio.server.add_component(present, studio.archive)
        studio.session.commit()
        selection = [{"entityId": studio.version["id"], "entityType": "assetversion"}]
        assert launch(studio, selection, source_id="any", target_id=studio.server["id"])["success"]
        status, descriptions = follow_job(studio)
        assert status == "failed"
        assert "1 transferred, 1 already there, 1 failed (c: It is in no location" in descriptions[-1]
        assert studio.registered(absent) == {studio.archive["id"], studio.server["id"]}
        assert studio.registered(nowhere) == set()

    def test_when_the_choice_makes_no_sense_then_the_answer_says_so(self, studio: Studio) -> None:
        studio.archive.add_component(studio.make_component(), studio.origin)
        selection = [{"entityId": studio.version["id"], "entityType": "assetversion"}]
        same = launch(studio, selection, source_id=studio.disk["id"], target_id=studio.disk["id"])
        assert same["success"] is False and "other than the target" in same["message"]
        unknown = launch(studio, selection, source_id="any", target_id="missing")
        assert unknown["success"] is False and "not accessible" in unknown["message"]
        empty = launch(studio, [{"entityId": studio.make_version()["id"], "entityType": "assetversion"}])
        assert empty["success"] is False and "no components" in empty["message"]

    def test_when_the_plugin_ends_then_the_transfer_ends_and_can_be_continued(
        self, studio: Studio, monkeypatch
    ) -> None:
        sequence = studio.make_sequence(3)
        studio.archive.add_component(sequence, studio.origin)
        plugin = get_plugin(studio.session)

        class Waiting(DiskAccessor):
            """Lets the test end the plugin after the first frame."""

            def exists(self, resource_identifier: str) -> bool:
                if "0002" in resource_identifier:
                    plugin._actions[0].queue.ending.set()
                return super().exists(resource_identifier)

        studio.disk.accessor = Waiting(studio.disk.accessor.prefix)
        selection = [{"entityId": sequence["id"], "entityType": "component"}]
        assert launch(studio, selection, source_id="any", target_id=studio.disk["id"])["success"]
        status, descriptions = follow_job(studio)
        assert status == "failed" and "launch it again to continue" in descriptions[-1]
        assert studio.registered(sequence) == {studio.archive["id"]}
        studio.disk.accessor = DiskAccessor(studio.disk.accessor.prefix)
        studio.disk.add_component(sequence, studio.archive)
        assert len(studio.names("disk")) == 3

    def test_when_a_process_was_killed_then_its_job_does_not_run_for_ever(self, studio: Studio) -> None:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        plugin = get_plugin(studio.session)
        describe = sys.modules[f"{plugin.__name__}.transfer"].describe_job
        user = studio.session.query(f'User where username is "{studio.session.api_user}"').one()
        jobs = []
        for pid in (dead.pid, os.getpid()):
            data = json.loads(describe("running"))
            data["transfer_components"]["pid"] = pid
            jobs.append(
                studio.session.create("Job", {"user": user, "status": "running", "data": json.dumps(data)})
            )
        studio.session.commit()
        ready = Event(topic="ftrack.api.session.ready", data={"session": studio.session})
        studio.session.event_hub.publish(ready, synchronous=True)
        assert [job["status"] for job in jobs] == ["failed", "running"]
        assert "launch it again" in json.loads(jobs[0]["data"])["description"]


class TestExamples:
    def test_when_the_studio_disk_is_mounted_then_it_is_used(self, sandbox, session, tmp_path) -> None:
        studio = Studio(session, tmp_path)
        source = studio.write("beauty.exr", b"pixels")
        with connect(
            sandbox,
            plugin_paths=[str(PLUGINS / "studio_location.py"), str(PLUGINS / "studio_structure.py")],
            plugin_arguments={"mount_point": str(tmp_path / "mount")},
        ) as other:
            version = other.get("AssetVersion", studio.version["id"])
            component = version.create_component(source, {"name": "Main Plate"}, location="auto")
            location = other.pick_location(component)
            assert location["name"] == "studio.disk"
            project = version["asset"]["parent"]["project"]["name"]
            asset_type = version["asset"]["type"]["short"].lower().replace(" ", "_")
            expected = f"{project}/sh010/{asset_type}/comp/v0001/main_plate.exr"
            assert location.get_filesystem_path(component) == str(tmp_path / "mount" / expected)
            other.reset()
            assert other.pick_location(other.get("Component", component["id"]))["name"] == "studio.disk"

    def test_when_no_mount_point_is_configured_then_nothing_happens(self, sandbox, monkeypatch) -> None:
        monkeypatch.delenv("STUDIO_MOUNT_POINT", raising=False)
        paths = [str(PLUGINS / "studio_location.py"), str(PLUGINS / "studio_structure.py")]
        with connect(sandbox, plugin_paths=paths) as other:
            assert other.pick_location()["name"] == "ftrack.unmanaged"


def test_when_nothing_is_accessible_then_the_form_says_so(studio: Studio) -> None:
    studio.archive.add_component(studio.make_component(), studio.origin)
    for location in list(studio.session._configured_locations.values()):
        location.accessor = None
    answer = launch(studio, [{"entityId": studio.version["id"], "entityType": "assetversion"}])
    assert answer == {"success": False, "message": "No location to transfer to is configured here."}
