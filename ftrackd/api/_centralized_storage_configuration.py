"""The forms in which a centralized storage is configured from the web interface."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ftrackd.api import _json
from ftrackd.api._centralized_storage_scenario import scenario_name
from ftrackd.api.event.base import Event
from ftrackd.api.exception import LocationError

if TYPE_CHECKING:
    from ftrackd.api.session import Session

_Item = dict[str, Any]
_Configuration = dict[str, dict[str, Any]]

#: What the choice of no existing location means.
_NEW_LOCATION: Final = "create_new_location"

_PLATFORMS: Final = (("linux", "Linux"), ("osx", "OS X"), ("windows", "Windows"))


class ConfigureCentralizedStorageScenario:
    """Answers the steps of the configuration; all state travels in the forms."""

    _steps = (
        "select_scenario",
        "select_location",
        "configure_location",
        "select_structure",
        "select_mount_point",
        "confirm_summary",
        "save_configuration",
    )

    session: Session

    def __init__(self) -> None:
        """Prepare; nothing happens before :meth:`register`."""
        self.logger = logging.getLogger(f"ftrack_api._centralized_storage_scenario.{type(self).__name__}")

    @property
    def storage_scenario(self) -> Any:
        """The setting that holds the storage scenario."""
        return self.session.query(
            'select value from Setting where name is "storage_scenario" and group is "STORAGE"'
        ).one()

    @property
    def existing_centralized_storage_configuration(self) -> dict[str, Any]:
        """What is configured now, as in the scenario's ``data``; empty when it is another scenario."""
        value = self.storage_scenario["value"]
        try:
            scenario = _json.loads(value) if value else {}
        except ValueError:
            self.logger.warning("The storage scenario on the server is no JSON; starting without it.")
            return {}
        is_centralized = isinstance(scenario, dict) and scenario.get("scenario") == scenario_name
        return dict(scenario.get("data") or {}) if is_centralized else {}

    def register(self, session: Session) -> None:
        """Listen in *session* for the questions of its own user."""
        self.session = session
        user = f'source.user.username="{session.api_user}"'
        session.event_hub.subscribe(
            f"topic=ftrack.storage-scenario.discover and {user}", self.discover_centralized_scenario
        )
        session.event_hub.subscribe(
            f"topic=ftrack.storage-scenario.configure and data.scenario_id={scenario_name} and {user}",
            self.configure_scenario,
        )

    def discover_centralized_scenario(self, event: Event) -> dict[str, str]:
        """Return how the scenario presents itself in the list of scenarios."""
        return {
            "id": scenario_name,
            "name": "Centralized storage scenario",
            "description": (
                "(Recommended) files are kept on one storage that all machines mount, "
                "in folders named after projects, assets and versions."
            ),
        }

    def configure_scenario(self, event: Event) -> dict[str, Any]:
        """Return the form that follows on the one whose values *event* brings.

        The answer is ``{"items": [...], "state": "configuring" | "confirm" | "done"}``.
        """
        values = dict(event["data"].get("values") or {})
        previous_step = values.pop("step", self._steps[0])
        configuration: _Configuration = values.pop("configuration", None) or {}
        if values:
            configuration[previous_step] = values
        problem = self._find_problem(previous_step, configuration)
        step = previous_step if problem else self._get_next_step(previous_step, configuration)
        if step == "save_configuration":
            self._save(configuration)
            return {"items": [_label("#Done#\nThe storage is configured.")], "state": "done"}
        forms: Mapping[str, Callable[[_Configuration], list[_Item]]] = {
            "select_location": self._make_location_form,
            "configure_location": self._make_new_location_form,
            "select_mount_point": self._make_mount_point_form,
            "confirm_summary": self._make_summary,
        }
        items = forms[step](configuration)
        if problem:
            items.insert(0, _label(f"**{problem}**"))
        items.append({"type": "hidden", "name": "configuration", "value": configuration})
        items.append({"type": "hidden", "name": "step", "value": step})
        return {"items": items, "state": "confirm" if step == "confirm_summary" else "configuring"}

    def _get_next_step(self, previous_step: str, configuration: _Configuration) -> str:
        step = self._steps[self._steps.index(previous_step) + 1]
        if step == "configure_location" and not _is_new_location(configuration):
            step = "select_structure"
        # There is only one structure to choose.
        return "select_mount_point" if step == "select_structure" else step

    def _find_problem(self, step: str, configuration: _Configuration) -> str | None:
        """Return what is wrong with the values just given for *step*, if anything is."""
        values = configuration.get(step, {})
        if step == "configure_location":
            name = str(values.get("location_name") or "").strip()
            if not name:
                return "The location needs a name."
            existing = self.session.query("select name from Location")
            if any(location["name"] == name for location in existing):
                return f"There is a location called {name} already. Choose another name, or that location."
        if step == "select_mount_point" and not any(_get_mount_points(configuration).values()):
            return "The storage needs a mount point on at least one platform."
        return None

    def _make_location_form(self, configuration: _Configuration) -> list[_Item]:
        locations = self.session.query("select name, label from Location where name not_like 'ftrack.%'")
        # The first is what somebody gets who just goes on: never the location of something else.
        choices = [{"label": "Create new location", "value": _NEW_LOCATION}]
        choices += [
            {"label": location["label"] or location["name"], "value": location["id"]}
            for location in locations
        ]
        known = {choice["value"] for choice in choices}
        present = self.existing_centralized_storage_configuration.get("location_id")
        default = present if present in known else _NEW_LOCATION
        return [
            _label("#Select location#\nChoose an existing location or create a new one for your files."),
            {
                "type": "enumerator",
                "label": "Location",
                "name": "location_id",
                "value": configuration.get("select_location", {}).get("location_id", default),
                "data": choices,
            },
        ]

    def _make_new_location_form(self, configuration: _Configuration) -> list[_Item]:
        values = configuration.get("configure_location", {})
        return [
            _label(
                "#Create location#\nThe name identifies the location in plugins and cannot be changed later."
            ),
            _text("Name", "location_name", values.get("location_name") or "studio.central-storage-location"),
            _text("Label", "location_label", values.get("location_label") or "Studio location"),
            _text("Description", "location_description", values.get("location_description") or ""),
        ]

    def _make_mount_point_form(self, configuration: _Configuration) -> list[_Item]:
        accessor = self.existing_centralized_storage_configuration.get("accessor") or {}
        present = accessor.get("mount_points") or {}
        values = configuration.get("select_mount_point", {})
        return [
            _label("#Mount points#\nSet the folder of the storage as each platform mounts it."),
            *(
                _text(
                    label,
                    f"{platform}_mount_point",
                    values.get(f"{platform}_mount_point", present.get(platform)) or "",
                )
                for platform, label in _PLATFORMS
            ),
        ]

    def _make_summary(self, configuration: _Configuration) -> list[_Item]:
        if _is_new_location(configuration):
            name = configuration["configure_location"]["location_name"]
        else:
            name = self._get_location(configuration)["name"]
        mount_points = _get_mount_points(configuration)
        lines = [f"* {label}: {mount_points[platform] or 'not used'}" for platform, label in _PLATFORMS]
        return [
            _label("\n".join(["#Confirm storage setup#", f"Files go to the location **{name}**:", *lines]))
        ]

    def _get_location(self, configuration: _Configuration) -> Any:
        location_id = configuration["select_location"]["location_id"]
        location = self.session.get("Location", location_id)
        if location is None:
            raise LocationError(f"The chosen location {location_id} does not exist any more.")
        return location

    def _save(self, configuration: _Configuration) -> None:
        """Store the configuration on the server and tell everybody."""
        if _is_new_location(configuration):
            values = configuration["configure_location"]
            location = self.session.create(
                "Location",
                {
                    "name": values["location_name"].strip(),
                    "label": values.get("location_label") or "",
                    "description": values.get("location_description") or "",
                },
            )
        else:
            location = self._get_location(configuration)
        scenario = {
            "scenario": scenario_name,
            "data": {
                "location_id": location["id"],
                "location_name": location["name"],
                "accessor": {"mount_points": _get_mount_points(configuration)},
            },
        }
        self.storage_scenario["value"] = _json.dumps(scenario).decode("utf-8")
        self.session.commit()
        self.session.event_hub.publish(
            Event(topic="ftrack.storage-scenario.configure-done"), on_error="ignore"
        )


def _is_new_location(configuration: _Configuration) -> bool:
    return configuration.get("select_location", {}).get("location_id") == _NEW_LOCATION


def _get_mount_points(configuration: _Configuration) -> dict[str, str]:
    values = configuration.get("select_mount_point", {})
    return {platform: str(values.get(f"{platform}_mount_point") or "").strip() for platform, _ in _PLATFORMS}


def _label(value: str) -> _Item:
    return {"type": "label", "value": value}


def _text(label: str, name: str, value: str) -> _Item:
    return {"type": "text", "label": label, "name": name, "value": value}
