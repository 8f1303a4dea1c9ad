"""The part of the session that knows locations, components and media."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import clique

from ftrackd.api import inspection, symbol
from ftrackd.api.event.base import Event

if TYPE_CHECKING:
    from ftrackd.api._transfer import OnProgress
    from ftrackd.api.entity.base import Entity
    from ftrackd.api.operation import Operation

#: Components that the web player looks for belong in the location it plays from.
_REVIEW_COMPONENT_NAMES: Final = frozenset({"ftrackreview-mp4", "ftrackreview-webm", "ftrackreview-image"})


class StorageMethods:
    """Mixed into the session: locations, components and media."""

    def _configure_locations(self: Any) -> None:
        """Configure the built-in locations and let plugins configure theirs.

        Publishes ``ftrack.storage-scenario.activate`` when the server has a storage scenario, and then
        ``ftrack.api.session.configure-location``, both only within this session.
        """
        from ftrackd.api import _built_in_locations

        for location in list(self._configured_locations.values()):
            self._attach_configured_location(location)
        _built_in_locations.configure(self)
        scenario = self.server_information.get("storage_scenario")
        if scenario and scenario.get("scenario"):
            event = Event(topic="ftrack.storage-scenario.activate", data={"storage_scenario": scenario})
            self.event_hub.publish(event, synchronous=True)
        self.event_hub.publish(
            Event(topic="ftrack.api.session.configure-location", data={"session": self}), synchronous=True
        )

    @property
    def _configured_locations(self) -> dict[str, Entity]:
        # Made when needed: there are sessions that replace the constructor as a whole.
        configured: dict[str, Entity] = self.__dict__.setdefault("_configured_locations_by_id", {})
        return configured

    def remember_configured_location(self, location: Entity) -> None:
        """Keep *location*, which was given an accessor, configured over resets of this session."""
        self._configured_locations[location["id"]] = location

    def _attach_configured_location(self: Any, location: Entity) -> None:
        """Make *location* the one object of its identity again, with nothing known but its name.

        After a reset, whoever asks for it must find the configured object, and present values in it.
        """
        key = location._map_key()
        if self._identity_map.find(location.entity_type, key) is location:
            return
        for attribute in location.attributes:
            if attribute.name not in {"name", *location.primary_key_attributes}:
                attribute.set_remote_value(location, symbol.NOT_SET)
        self._identity_map.add(location.entity_type, key, location)

    def settle_unanswered(self: Any, operations: Sequence[Operation]) -> None:
        """Take *operations*, whose commit got no answer, for done: the server was found to have them.

        What the server made of them is loaded when it is read.
        """
        unit = self._units.current()
        sent = {id(operation) for operation in operations}
        with self._thread_lock:
            others = [operation for operation in unit.operations.hand_over() if id(operation) not in sent]
            unit.operations.came_back(others)
            unit.operations.arrived(list(operations))
            self._settle(unit, list(operations), [])

    def withdraw(self: Any, created: Sequence[Entity]) -> None:
        """Take back the creation of entities that were not committed, and nothing else.

        They keep their primary key, by which errors name them.
        """
        unit = self._units.current()
        with self._thread_lock:
            addresses = [inspection.address(entity) for entity in created]
            unit.operations.forget(addresses)
            for entity, address in zip(created, addresses, strict=True):
                self._drop_sent_values(unit, entity)
                self._forget(*address)

    def pick_location(self: Any, component: Entity | None = None) -> Entity | None:
        """Return the accessible location with the best priority, of those that have *component* if given.

        None when there is none.
        """
        if component is None:
            locations: list[Entity] = self._get_accessible_locations()
            return locations[0] if locations else None
        picked: Entity | None = self.pick_locations([component])[0]
        return picked

    def pick_locations(self: Any, components: Sequence[Entity]) -> list[Entity | None]:
        """Return for each of *components* the accessible location with the best priority that has it.

        A container that is only partly there counts too. None stands for components without location.
        """
        locations = self._get_accessible_locations()
        return [
            next((location for location in locations if availability[location["id"]] > 0), None)
            for availability in self.get_component_availabilities(components, locations=locations)
        ]

    def _get_accessible_locations(self: Any) -> list[Any]:
        """Return the locations that have an accessor, the most preferred first."""
        locations = [location for location in self.query("select name from Location") if location.accessor]
        return sorted(locations, key=lambda location: location.priority)

    def create_component(
        self: Any,
        path: str | os.PathLike[str],
        data: Mapping[str, Any] | None = None,
        location: Any = "auto",
        *,
        on_progress: OnProgress | None = None,
    ) -> Entity:
        """Return a new component made from *path*.

        The component is committed when it is added to a location, together with everything else that is
        pending in the session. When adding it fails it is not created.

        Args:
            path: A file, or a sequence such as ``/path/file.%04d.ext [1-5, 7, 10-20]``.
            data: Further attributes, as for :meth:`create`. The ``size`` of a sequence, in bytes, is
                shared evenly by its frames; without it the sizes are those of the files.
            location: Where to add the component: ``"auto"`` for the one :meth:`pick_location` gives, None
                for none.
            on_progress: Called with the bytes done and the bytes expected, as for
                :meth:`Location.add_components`.

        Raises:
            LocationError: The component could not be added to the location.
        """
        path = os.fspath(path)
        data = dict(data or {})
        collection = _parse_sequence(path)
        component: Entity
        if collection is None:
            component = self._create_file_component(path, data)
        else:
            component = self._create_sequence_component(collection, data)
        if location == "auto":
            location = self._pick_location_for_new(data.get("name"))
        if location:
            origin_location = self.get("Location", symbol.ORIGIN_LOCATION_ID)
            # Only named when wanted, for locations of plugins with the signature they know.
            options = {"on_progress": on_progress} if on_progress is not None else {}
            try:
                location.add_component(component, origin_location, **options)
            except BaseException:
                # Else the next commit, whoever makes it, would create a component without data.
                self._withdraw_component(component)
                raise
        return component

    def _pick_location_for_new(self: Any, component_name: str | None) -> Any:
        if component_name in _REVIEW_COMPONENT_NAMES:
            return self.get("Location", symbol.REVIEW_LOCATION_ID)
        return self.pick_location()

    def _create_file_component(self: Any, path: str, data: dict[str, Any]) -> Entity:
        data.setdefault("size", _get_file_size(path))
        data.setdefault("file_type", self._get_file_type(path))
        component: Entity = self.create("FileComponent", data)
        self._add_to_origin([component], [path])
        return component

    def _create_sequence_component(self: Any, collection: clique.Collection, data: dict[str, Any]) -> Entity:
        # Without the ranges, which would become a part of the path wherever the data stays.
        path = collection.format("{head}{padding}{tail}")
        members = list(collection)
        sizes = _get_frame_sizes(members, data.get("size"))
        data.setdefault("size", sum(sizes))
        data.setdefault("file_type", self._get_file_type(path))
        data.setdefault("padding", collection.padding)
        container: Entity = self.create("SequenceComponent", data)
        frames = []
        for member, size in zip(members, sizes, strict=True):
            frame = {
                "name": collection.match(member).group("index"),
                "container": container,
                "size": size,
                "file_type": data["file_type"],
            }
            frames.append(self.create("FileComponent", frame))
        # At once: every append would record the whole list again.
        container["members"] = frames
        self._add_to_origin([*frames, container], [*members, path])
        return container

    def _add_to_origin(self: Any, components: Sequence[Entity], paths: Sequence[str]) -> None:
        origin_location = self.get("Location", symbol.ORIGIN_LOCATION_ID)
        origin_location.add_components(components, paths, recursive=False)

    def _withdraw_component(self: Any, component: Entity) -> None:
        """Take back the creation of *component* and its members, unless it was committed."""
        members = list(component["members"]) if component.entity_type == "SequenceComponent" else []
        self.withdraw(
            [entity for entity in (*members, component) if inspection.state(entity) is symbol.CREATED]
        )

    def _get_file_type(self: Any, path: str) -> str:
        """Return the file type of *path* with its dot; plugins that know better answer an event."""
        event = Event(topic="ftrack.api.session.get-file-type-from-string", data={"file_path": path})
        for answer in self.event_hub.publish(event, synchronous=True):
            if answer:
                return str(answer)
        return os.path.splitext(path)[-1]

    def get_component_availability(
        self: Any, component: Entity, locations: Sequence[Entity] | None = None
    ) -> dict[str, float]:
        """Return ``{location id: percentage}`` for *component*, in *locations* or in all."""
        availability: dict[str, float] = self.get_component_availabilities([component], locations=locations)[
            0
        ]
        return availability

    def get_component_availabilities(
        self: Any, components: Sequence[Entity], locations: Sequence[Entity] | None = None
    ) -> list[dict[str, float]]:
        """Return ``{location id: percentage}`` for each of *components*, in *locations* or in all.

        A file is there (100.0) or not (0.0); a container is as available as its members are on average.
        What was never committed is nowhere.
        """
        from ftrackd.api import _availability

        if locations is None:
            locations = self.query("select name from Location").all()
        return _availability.compute(self, [component["id"] for component in components], locations)

    def encode_media(
        self: Any,
        media: str | os.PathLike[str] | Entity,
        version_id: str | None = None,
        keep_original: bool | Literal["auto"] = "auto",
    ) -> Entity:
        """Return a new job that makes *media* playable in browsers.

        The job's ``data`` is JSON text: ``{"output": [{"format": "video/mp4", "component_id": "..."}],
        "source_component_id": "...", "keep_original": true}``; the new components are its
        ``job_components`` too.

        Args:
            media: A path, whose file is uploaded in a new component with a commit, or a ``FileComponent``
                in the location ``ftrack.server``.
            version_id: The asset version that the new components shall belong to.
            keep_original: Whether the original stays; ``"auto"`` keeps a component and not an upload.

        Raises:
            ValueError: *media* is neither.
            ServerCompatibilityError: The server cannot encode.
        """
        if isinstance(media, str | os.PathLike):
            keep_original = False if keep_original == "auto" else keep_original
            data = {"version_id": version_id} if keep_original and version_id else {}
            server_location = self.get("Location", symbol.SERVER_LOCATION_ID)
            component = self.create_component(media, data, location=server_location)
            # The component must exist on the server, whatever the location did.
            self.commit()
        elif getattr(media, "entity_type", None) == "FileComponent":
            keep_original = True if keep_original == "auto" else keep_original
            component = media
        else:
            raise ValueError(f"Unable to encode {media!r}: neither a path nor a FileComponent.")
        operation = {
            "action": "encode_media",
            "component_id": component["id"],
            "version_id": version_id,
            "keep_original": keep_original,
        }
        job: Entity = self.get("Job", self._call_actions([operation])[0]["job_id"])
        return job

    def get_upload_metadata(
        self: Any,
        component_id: str,
        file_name: str,
        file_size: int,
        checksum: str | None = None,
        *,
        parts: int | None = None,
    ) -> dict[str, Any]:
        """Return where to upload the data of a component: ``url`` and ``headers`` for one PUT request.

        Args:
            component_id: The component.
            file_name: Its name with file type.
            file_size: Its size in bytes.
            checksum: The base64 MD5 of the data, which the storage then verifies.
            parts: In how many parts the data shall be uploaded. The answer may then have an ``upload_id``
                and ``urls``, each with a ``signed_url`` and a ``part_number``, instead.

        Raises:
            ServerCompatibilityError: The server knows no uploads.
        """
        operation: dict[str, Any] = {
            "action": "get_upload_metadata",
            "component_id": component_id,
            "file_name": file_name,
            "file_size": file_size,
            "checksum": checksum,
        }
        if parts is not None:
            operation["parts"] = parts
        metadata: dict[str, Any] = self._call_actions([operation])[0]
        return metadata


def _parse_sequence(path: str) -> clique.Collection | None:
    """Return the sequence that *path* describes, or None for the path of a file."""
    if os.path.isfile(path):
        return None
    try:
        return clique.parse(path)
    except ValueError:
        return None


def _get_file_size(path: str) -> int:
    """Return the size in bytes, and 0 for what is not on this machine."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _get_frame_sizes(paths: Sequence[str], total: int | None) -> list[int]:
    """Return the size of each frame in bytes: its share of *total*, or that of its file."""
    if total is None:
        return [_get_file_size(path) for path in paths]
    return [total // len(paths)] * len(paths) if paths else []
