"""The session's own methods for components, locations and media."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import pathlib
import textwrap
import time
from typing import Any

import pytest
import requests
from PIL import Image

from ftrackd.api import Session, exception, symbol
from ftrackd.api.accessor.disk import DiskAccessor
from ftrackd.api.accessor.server import _ServerAccessor
from ftrackd.api.entity.component import Component
from ftrackd.api.entity.location import OriginLocationMixin, ServerLocationMixin, UnmanagedLocationMixin
from ftrackd.api.structure.entity_id import EntityIdStructure
from ftrackd.api.structure.id import IdStructure
from ftrackd.api.structure.origin import OriginStructure

from .conftest import Studio, connect

DEADLINE_S = 20.0


def make_picture(path: pathlib.Path) -> str:
    Image.new("RGB", (64, 36), (200, 30, 30)).save(path, "JPEG")
    return str(path)


class TestBuiltInLocations:
    @pytest.mark.parametrize(
        ("identifier", "name", "class_name", "mixin_class", "accessor", "structure", "priority"),
        [
            (
                symbol.ORIGIN_LOCATION_ID,
                "ftrack.origin",
                "OriginLocation",
                OriginLocationMixin,
                DiskAccessor,
                OriginStructure,
                100,
            ),
            (
                symbol.UNMANAGED_LOCATION_ID,
                "ftrack.unmanaged",
                "UnmanagedLocation",
                UnmanagedLocationMixin,
                DiskAccessor,
                OriginStructure,
                90,
            ),
            (
                symbol.REVIEW_LOCATION_ID,
                "ftrack.review",
                "UnmanagedLocation",
                UnmanagedLocationMixin,
                DiskAccessor,
                OriginStructure,
                110,
            ),
            (
                symbol.SERVER_LOCATION_ID,
                "ftrack.server",
                "ServerLocation",
                ServerLocationMixin,
                _ServerAccessor,
                EntityIdStructure,
                150,
            ),
        ],
    )
    def test_when_session_starts_then_built_in_locations_are_configured(
        self, session, identifier, name, class_name, mixin_class, accessor, structure, priority
    ) -> None:
        location = session.get("Location", identifier)
        assert location["name"] == name
        assert type(location).__name__ == class_name
        assert isinstance(location, mixin_class)
        assert isinstance(location.accessor, accessor)
        assert isinstance(location.structure, structure)
        assert location.priority == priority
        assert session.query(f'Location where name is "{name}"').one() is location

    def test_when_configured_then_the_server_is_not_asked(self, session, calls) -> None:
        session._configure_locations()
        assert calls == []

    def test_when_nothing_configures_it_then_connect_has_no_accessor(self, session) -> None:
        location = session.get("Location", symbol.CONNECT_LOCATION_ID)
        assert location.accessor is symbol.NOT_SET


class TestReset:
    PLUGIN = """
        import ftrackd.api as ftrack_api
        from ftrackd.api.structure.id import IdStructure

        def configure(event):
            session = event["data"]["session"]
            location = session.query('Location where name is "test.location"').one()
            location.accessor = ftrack_api.accessor.disk.DiskAccessor(prefix={prefix!r})
            location.structure = IdStructure()
            location.priority = 7

        def register(session):
            session.event_hub.subscribe("topic=ftrack.api.session.configure-location", configure)
    """

    def test_when_a_plugin_configures_a_location_then_it_stays_configured(self, sandbox, tmp_path) -> None:
        plugins = tmp_path / "plugins"
        plugins.mkdir()
        (plugins / "location.py").write_text(
            textwrap.dedent(self.PLUGIN).format(prefix=str(tmp_path / "store"))
        )
        (tmp_path / "file.mov").write_bytes(b"x")
        with connect(sandbox, plugin_paths=[str(plugins)]) as session:
            component = session.create_component(str(tmp_path / "file.mov"))
            for _ in range(2):
                location = session.pick_location()
                assert location["name"] == "test.location"
                assert location.priority == 7
                found = session.get("Component", component["id"])
                assert session.pick_location(found) is location
                assert location.accessor.prefix == str(tmp_path / "store")
                session.reset()

    def test_when_reset_then_topics_come_in_their_order(self, session) -> None:
        topics = []
        for topic in ("configure-location", "reset", "ready"):
            session.event_hub.subscribe(
                f"topic=ftrack.api.session.{topic}",
                lambda event: topics.append((event["topic"], event["data"]["session"] is session)),
            )
        session.reset()
        assert topics == [
            ("ftrack.api.session.configure-location", True),
            ("ftrack.api.session.reset", True),
        ]

    def test_when_publish_is_replaced_then_configuring_goes_through_it(self, session) -> None:
        """Location plugins wrap ``event_hub.publish`` and wait for this event."""
        seen = []
        publish = session.event_hub.publish

        def wrapper(event: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(event["topic"])
            return publish(event, *args, **kwargs)

        session.event_hub.publish = wrapper
        session._configure_locations()
        assert "ftrack.api.session.configure-location" in seen

    def test_when_configured_by_hand_then_a_reset_does_not_forget_it(self, studio: Studio, session) -> None:
        """Whoever configures in a script, or in ``ftrack.api.session.ready``, is not asked again."""
        component = studio.make_component(b"x")
        studio.disk.add_component(component, studio.origin)
        studio.disk["label"] = "pending"
        identifier, accessor = studio.disk["id"], studio.disk.accessor
        for forget in (session.reset, lambda: (session._local_cache.clear(), session._configure_locations())):
            forget()
            location = session.get("Location", identifier)
            assert location is studio.disk
            assert location.accessor is accessor
            assert location in session.query("Location").all()
            found = session.get("Component", component["id"])
            assert studio.read(session.pick_location(found), found) == b"x"

    def test_when_reset_then_values_of_configured_locations_are_fresh(self, studio: Studio, session) -> None:
        assert studio.disk["label"] in (None, "")
        session.call(
            [
                {
                    "action": "update",
                    "entity_type": "Location",
                    "entity_key": [studio.disk["id"]],
                    "entity_data": {"__entity_type__": "Location", "label": "Changed elsewhere"},
                }
            ]
        )
        session.reset()
        assert session.get("Location", studio.disk["id"])["label"] == "Changed elsewhere"

    def test_when_reset_again_and_again_then_no_classes_pile_up(self, session) -> None:
        before = type(session.get("Location", symbol.ORIGIN_LOCATION_ID))
        session.reset()
        assert type(session.get("Location", symbol.ORIGIN_LOCATION_ID)) is before

    def test_when_entities_are_let_go_then_configured_locations_stay(self, studio: Studio, session) -> None:
        session.identity_map_limit = 10
        identifier = studio.archive["id"]
        del studio.archive
        session.query("Task").all()
        session.query("User").all()
        assert isinstance(session.get("Location", identifier).structure, IdStructure)


class TestPicking:
    def test_when_several_are_accessible_then_the_lowest_priority_is_picked(self, studio: Studio) -> None:
        session = studio.session
        assert session.pick_location()["name"] == "ftrack.unmanaged"
        studio.archive.priority = 2
        studio.disk.priority = 1
        assert session.pick_location() is studio.disk
        component = studio.make_component()
        assert session.pick_location(component) is None
        studio.archive.add_component(component, studio.origin)
        assert session.pick_location(component) is studio.archive
        studio.disk.add_component(component, studio.origin)
        other = studio.make_component(name="other")
        session.commit()
        assert session.pick_locations([component, other]) == [studio.disk, None]
        studio.disk.accessor = symbol.NOT_SET
        assert session.pick_locations([component]) == [studio.archive]
        assert session.pick_locations([]) == []


class TestCreateComponent:
    def test_when_a_file_is_given_then_size_and_type_are_its_own(self, studio: Studio, session) -> None:
        path = studio.write("file.tar.gz", b"12345")
        data = {"name": "archive"}
        component = session.create_component(path, data, location=None)
        assert isinstance(component, Component)
        assert component.entity_type == "FileComponent"
        assert (component["name"], component["file_type"], component["size"]) == ("archive", ".gz", 5)
        assert data == {"name": "archive"}
        assert studio.origin.get_resource_identifier(component) == path
        session.commit()
        assert session.get("Component", component["id"]) is component

    def test_when_data_says_otherwise_then_it_counts(self, studio: Studio, session) -> None:
        path = studio.write("file.mov", b"12345")
        component = session.create_component(path, {"size": 9, "file_type": ".mp4"}, location=None)
        assert (component["name"], component["file_type"], component["size"]) == ("main", ".mp4", 9)

    def test_when_a_plugin_knows_the_type_then_it_is_asked(self, studio: Studio, session) -> None:
        topic = "topic=ftrack.api.session.get-file-type-from-string"
        session.event_hub.subscribe(topic, lambda event: None)
        session.event_hub.subscribe(
            topic, lambda event: ".tar.gz" if event["data"]["file_path"].endswith(".tar.gz") else None
        )
        for name, expected in (("file.tar.gz", ".tar.gz"), ("file.gz", ".gz")):
            component = session.create_component(studio.write(name, b""), location=None)
            assert component["file_type"] == expected
        sequence = session.create_component("/x/plate.%04d.tar.gz [1-2]", location=None)
        assert sequence["file_type"] == sequence["members"][0]["file_type"] == ".tar.gz"

    def test_when_a_sequence_is_given_then_its_frames_are_members(self, studio: Studio, session) -> None:
        path = f"{studio.sources}/plate.%03d.exr [7-8, 10]"
        for number in (7, 8, 10):
            studio.write(f"plate.{number:03d}.exr", b"x" * number)
        sequence = session.create_component(path, {"name": "plate"}, location=None)
        session.commit()
        sequence = session.query(f"SequenceComponent where id is {sequence['id']}").one()
        assert (sequence["padding"], sequence["file_type"], sequence["size"]) == (3, ".exr", 25)
        frames = sorted(sequence["members"], key=lambda frame: frame["name"])
        assert [(frame["name"], frame["size"], frame["file_type"]) for frame in frames] == [
            ("007", 7, ".exr"),
            ("008", 8, ".exr"),
            ("010", 10, ".exr"),
        ]
        assert all(frame["container"] is sequence for frame in frames)
        # The pattern alone: with the ranges behind it nobody would find files by it.
        pattern = f"{studio.sources}/plate.%03d.exr"
        assert studio.origin.get_resource_identifier(sequence) == pattern
        unmanaged = session.get("Location", symbol.UNMANAGED_LOCATION_ID)
        unmanaged.add_component(sequence, studio.origin)
        assert unmanaged.get_filesystem_path(sequence) == pattern

    def test_when_frames_are_not_padded_then_names_are_not(self, studio: Studio, session) -> None:
        for number in (9, 10):
            studio.write(f"frame.{number}.exr", b"x")
        sequence = session.create_component(
            f"{studio.sources}/frame.%d.exr [9-10]", {"version": studio.version}, location=studio.disk
        )
        assert sequence["padding"] == 0
        assert sorted(frame["name"] for frame in sequence["members"]) == ["10", "9"]
        assert studio.names("disk") == [name.replace("frame", "main") for name in _expected(studio)]

    def test_when_the_size_of_a_sequence_is_given_then_frames_share_it(self, session) -> None:
        sequence = session.create_component("/missing/x.%04d.exr [1-4]", {"size": 42}, location=None)
        assert sequence["size"] == 42
        assert [frame["size"] for frame in sequence["members"]] == [10, 10, 10, 10]

    def test_when_only_the_id_of_the_version_is_given_then_its_place_is_found(
        self, studio: Studio, session
    ) -> None:
        path = pathlib.Path(studio.write("a.mov", b"x"))
        component = session.create_component(path, {"version_id": studio.version["id"]}, location=studio.disk)
        assert studio.disk.get_filesystem_path(component).endswith("/comp/v001/main.mov")
        assert component["version"] is studio.version

    def test_when_the_file_is_missing_then_only_the_transfer_fails(self, studio: Studio, session) -> None:
        component = session.create_component("/missing/file.mov", {}, location=None)
        assert component["size"] == 0
        with pytest.raises(exception.LocationError, match=r"/missing/file\.mov"):
            studio.archive.add_component(component, studio.origin)

    def test_when_location_is_auto_then_the_best_is_used(self, studio: Studio, session) -> None:
        studio.disk.priority = 1
        component = session.create_component(
            studio.write("a.mov", b"x"), {"version": studio.version}, location="auto"
        )
        assert studio.registered(component) == {studio.disk["id"]}

    @pytest.mark.parametrize("name", ["ftrackreview-mp4", "ftrackreview-webm", "ftrackreview-image"])
    def test_when_it_is_for_review_then_the_review_location_has_it(
        self, studio: Studio, session, name
    ) -> None:
        component = session.create_component(studio.write("a.mp4", b"x"), {"name": name})
        assert studio.registered(component) == {symbol.REVIEW_LOCATION_ID}

    def test_when_made_by_a_version_then_it_belongs_to_it(self, studio: Studio) -> None:
        other = studio.make_version()
        component = studio.version.create_component(
            studio.write("a.mov", b"x"),
            {"name": "main", "version_id": other["id"], "version": other},
            location=studio.disk,
        )
        assert component["version"] is studio.version
        assert component["version_id"] == studio.version["id"]
        assert studio.version.create_component("/missing/b.mov")["version"] is studio.version


def _expected(studio: Studio) -> list[str]:
    project = studio.version["asset"]["parent"]["project"]["name"]
    return [f"{project}/sh010/comp/v001/frame.{number}.exr" for number in (10, 9)]


class TestMedia:
    def test_when_a_thumbnail_is_made_then_the_server_shows_it(self, studio: Studio, session) -> None:
        path = make_picture(studio.sources / "thumbnail.jpg")
        component = studio.version.create_thumbnail(path, data={"metadata": {"source": "render"}})
        assert component["name"] == "thumbnail"
        assert studio.version["thumbnail_id"] == component["id"]
        assert studio.registered(component) == {studio.server["id"]}
        assert component["metadata"]["source"] == "render"
        answer = requests.get(studio.server.get_thumbnail_url(component, size=32), timeout=10)
        assert max(Image.open(io.BytesIO(answer.content)).size) == 32
        answer = requests.get(studio.server.get_url(component), timeout=10)
        assert answer.content == pathlib.Path(path).read_bytes()

    def test_when_a_thumbnail_cannot_be_made_then_the_old_one_stays(self, studio: Studio, session) -> None:
        before = studio.version.create_thumbnail(make_picture(studio.sources / "a.jpg"))
        with pytest.raises(exception.LocationError):
            studio.version.create_thumbnail("/missing/b.jpg")
        session.commit()
        assert (
            session.query(f"AssetVersion where id is {studio.version['id']}").one()["thumbnail_id"]
            == (before["id"])
        )

    def test_when_a_path_is_encoded_then_a_job_does_it(self, studio: Studio, session) -> None:
        path = make_picture(studio.sources / "picture.jpg")
        job = studio.version.encode_media(path)
        job = wait_for_job(session, job)
        assert job["status"] == "done"
        data = json.loads(job["data"])
        assert data["keep_original"] is False
        output = session.query(
            f"Component where version_id is {studio.version['id']} and name is 'ftrackreview-image'"
        ).one()
        assert output["id"] in [described["component_id"] for described in data["output"]]

    def test_when_a_component_is_encoded_then_it_is_kept(self, studio: Studio, session) -> None:
        path = make_picture(studio.sources / "picture.jpg")
        component = session.create_component(path, {}, location=studio.server)
        job = session.encode_media(component)
        assert job.entity_type == "Job"
        data = json.loads(wait_for_job(session, job)["data"])
        assert data["source_component_id"] == component["id"]
        assert data["keep_original"] is True
        assert studio.read(studio.server, component) == pathlib.Path(path).read_bytes()

    @pytest.mark.parametrize("media", [None, 42, {"id": "x"}])
    def test_when_it_is_neither_then_it_is_refused(self, session, media) -> None:
        with pytest.raises(ValueError, match="neither a path nor a FileComponent"):
            session.encode_media(media)

    def test_when_metadata_is_asked_for_then_a_put_stores_the_data(self, studio: Studio, session) -> None:
        component = studio.make_component(b"content")
        session.commit()
        checksum = base64.b64encode(hashlib.md5(b"content").digest()).decode()
        metadata = session.get_upload_metadata(component["id"], "main.mov", 7, checksum=checksum)
        assert (
            requests.put(
                metadata["url"], data=b"damaged", headers=metadata["headers"], timeout=10
            ).status_code
            >= 400
        )
        answer = requests.put(metadata["url"], data=b"content", headers=metadata["headers"], timeout=10)
        assert answer.ok
        assert studio.server.accessor.open(component["id"]).read() == b"content"

    @pytest.mark.parametrize("prefix", ["u", ""])
    @pytest.mark.parametrize(
        ("action", "arguments"),
        [("get_upload_metadata", ("c", "n", 1)), ("encode_media", ())],
    )
    def test_when_the_server_is_too_old_then_it_says_so(
        self, studio: Studio, session, action, arguments, prefix
    ) -> None:
        arguments = arguments or (studio.make_component(),)
        session.commit()

        def refuse(data: Any) -> Any:
            raise exception.ServerError(
                f"Server reported error: ValueError(Invalid action {prefix}'{action}')"
            )

        session.call = refuse
        with pytest.raises(exception.ServerCompatibilityError, match=f'does not support "{action}"'):
            getattr(session, action)(*arguments)

    def test_when_the_server_fails_otherwise_then_its_error_is_raised(self, session) -> None:
        with pytest.raises(exception.ServerError) as caught:
            session.encode_media(session.create("FileComponent", {"id": "missing"}, reconstructing=True))
        assert not isinstance(caught.value, exception.ServerCompatibilityError)


def wait_for_job(session: Session, job: Any) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while job["status"] not in ("done", "failed"):
        assert time.monotonic() < deadline, job["status"]
        time.sleep(0.05)
        session.populate(job, "status, data")
        job = session.query(f"select status, data from Job where id is {job['id']}").one()
    return job
