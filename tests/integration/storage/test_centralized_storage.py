"""The storage scenario of one disk for everybody: activated, verified and configured."""

from __future__ import annotations

import json
import pathlib
import sys
import uuid
from typing import Any

import pytest

from ftrackd.api import Session, _centralized_storage_scenario, exception
from ftrackd.api.accessor.disk import DiskAccessor
from ftrackd.api.event.base import Event
from ftrackd.api.structure.standard import StandardStructure

from .conftest import Studio, connect

SCENARIO = "ftrack.centralized-storage"
PLATFORM = {"darwin": "osx", "win32": "windows"}.get(sys.platform, "linux")


def describe(location: Any, mount_point: str) -> dict[str, Any]:
    return {
        "scenario": SCENARIO,
        "data": {
            "location_id": location["id"],
            "location_name": location["name"],
            "accessor": {"mount_points": {PLATFORM: mount_point}},
        },
    }


def publish(session: Session, topic: str, **data: Any) -> list[Any]:
    answers: list[Any] = session.event_hub.publish(Event(topic=topic, data=data), synchronous=True)
    return answers


@pytest.fixture
def location(session: Session) -> Any:
    location = session.create("Location", {"name": f"central.{uuid.uuid4().hex}"})
    session.commit()
    return location


def test_when_activated_then_the_location_is_the_first_choice(session, location, tmp_path) -> None:
    publish(session, "ftrack.storage-scenario.activate", storage_scenario=describe(location, str(tmp_path)))
    assert isinstance(location.accessor, DiskAccessor)
    assert location.accessor.prefix == str(tmp_path)
    assert isinstance(location.structure, StandardStructure)
    assert location.priority == 1
    assert session.pick_location() is location


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "'accessor' is missing"),
        ({"accessor": {"mount_points": {}}}, f"'{PLATFORM}' is missing"),
        ({"accessor": {"mount_points": {PLATFORM: ""}}}, f"no mount point for {PLATFORM}"),
        ({"accessor": {"mount_points": {PLATFORM: "/mnt"}}}, "'location_name' is missing"),
        ({"accessor": None}, "is missing"),
    ],
)
def test_when_the_description_is_incomplete_then_the_error_says_what_is_missing(
    session, data, reason
) -> None:
    activation = _centralized_storage_scenario.ActivateCentralizedStorageScenario()
    activation.session = session
    event = Event("x", data={"storage_scenario": {"scenario": SCENARIO, "data": data}})
    with pytest.raises(exception.LocationError, match=reason):
        activation.activate(event)


def test_when_activation_fails_then_the_session_goes_on(session, caplog) -> None:
    publish(session, "ftrack.storage-scenario.activate", storage_scenario={"scenario": SCENARIO, "data": {}})
    assert "Unable to read the configuration of the centralized storage" in caplog.text


def test_when_connect_asks_then_a_missing_mount_is_reported(session, location, tmp_path) -> None:
    topic = "ftrack.connect.verify-startup"
    good, bad = describe(location, str(tmp_path)), describe(location, str(tmp_path / "unmounted"))
    assert publish(session, topic, storage_scenario=good) == [None]
    (problem,) = publish(session, topic, storage_scenario=bad)
    assert str(tmp_path / "unmounted") in problem
    (problem,) = publish(session, topic, storage_scenario={"scenario": SCENARIO})
    assert "Unable to read" in problem
    assert publish(session, topic, storage_scenario={"scenario": "other"}) == []


class Wizard:
    """Answers forms as the web interface does: every item's value goes back, plus what is typed."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.values: dict[str, Any] = {}
        self.form: dict[str, Any] = {}
        self.go()

    def go(self, **typed: Any) -> dict[str, Any]:
        values = {**self.values, **typed}
        event_data = {"scenario_id": SCENARIO, "values": values} if values else {"scenario_id": SCENARIO}
        # Over the wire and back.
        event_data = json.loads(json.dumps(event_data))
        event = Event(
            "ftrack.storage-scenario.configure",
            data=event_data,
            source={"user": {"username": self.session.api_user}},
        )
        (self.form,) = self.session.event_hub.publish(event, synchronous=True)
        self.values = {item["name"]: item["value"] for item in self.form["items"] if "name" in item}
        return self.form

    @property
    def text(self) -> str:
        return "\n".join(item["value"] for item in self.form["items"] if item["type"] == "label")


@pytest.fixture
def kept_setting(session: Session):
    setting = session.query('Setting where name is "storage_scenario" and group is "STORAGE"').one()
    before = setting["value"]
    yield
    setting["value"] = before
    session.commit()


def test_when_configured_by_its_forms_then_new_sessions_use_it(
    session: Session, sandbox, studio: Studio, kept_setting, tmp_path: pathlib.Path, published
) -> None:
    _centralized_storage_scenario.register_configuration(session)
    event = Event("ftrack.storage-scenario.discover", source={"user": {"username": session.api_user}})
    (scenario,) = session.event_hub.publish(event, synchronous=True)
    assert scenario["id"] == SCENARIO and scenario["name"] and scenario["description"]

    name = f"central.{uuid.uuid4().hex}"
    wizard = Wizard(session)
    assert wizard.form["state"] == "configuring"
    assert "Select location" in wizard.text
    assert wizard.values["location_id"] == "create_new_location"
    choices = next(item for item in wizard.form["items"] if item["type"] == "enumerator")["data"]
    assert all(not choice["label"].startswith("ftrack.") for choice in choices)
    wizard.go(location_id="create_new_location")
    assert "Create location" in wizard.text
    wizard.go(location_name="")
    assert "needs a name" in wizard.text
    wizard.go(location_name=studio.disk["name"])
    assert "already" in wizard.text
    wizard.go(location_name=name, location_label="Central")
    assert "Mount points" in wizard.text
    wizard.go()
    assert "at least one platform" in wizard.text
    wizard.go(**{f"{PLATFORM}_mount_point": str(tmp_path)})
    assert wizard.form["state"] == "confirm"
    assert name in wizard.text and str(tmp_path) in wizard.text
    wizard.go()
    assert wizard.form["state"] == "done"
    assert ("ftrack.storage-scenario.configure-done", {}) in published

    component = studio.make_component(b"central")
    session.commit()
    with connect(sandbox) as other:
        assert other.server_information["storage_scenario"]["scenario"] == SCENARIO
        location = other.pick_location()
        assert location["name"] == name
        found = other.get("FileComponent", component["id"])
        source = other.get("Location", studio.origin["id"])
        source.add_component(found, studio.origin.get_resource_identifier(component))
        location.add_component(found, source)
        assert pathlib.Path(location.get_filesystem_path(found)).read_bytes() == b"central"


def test_when_an_existing_location_is_chosen_then_it_is_used(
    session: Session, studio: Studio, kept_setting
) -> None:
    _centralized_storage_scenario.register_configuration(session)
    wizard = Wizard(session)
    wizard.go(location_id=studio.disk["id"])
    assert "Mount points" in wizard.text
    wizard.go(linux_mount_point="/mnt/a", windows_mount_point="P:/")
    assert studio.disk["name"] in wizard.text
    wizard.go()
    assert wizard.form["state"] == "done"
    again = Wizard(session)
    assert again.values["location_id"] == studio.disk["id"]
    again.go()
    assert again.values["linux_mount_point"] == "/mnt/a"
    assert again.values["windows_mount_point"] == "P:/"
    setting = session.query('Setting where name is "storage_scenario" and group is "STORAGE"').one()
    assert json.loads(setting["value"]) == {
        "scenario": SCENARIO,
        "data": {
            "location_id": studio.disk["id"],
            "location_name": studio.disk["name"],
            "accessor": {"mount_points": {"linux": "/mnt/a", "osx": "", "windows": "P:/"}},
        },
    }


@pytest.mark.parametrize("value", ["", "no json", "[]", '{"scenario": "ftrack.automatic", "data": {}}'])
def test_when_something_else_is_configured_then_the_forms_begin_empty(
    session: Session, kept_setting, value: str
) -> None:
    scenario = _centralized_storage_scenario.ConfigureCentralizedStorageScenario()
    scenario.session = session
    scenario.storage_scenario["value"] = value
    session.commit()
    assert scenario.existing_centralized_storage_configuration == {}
