"""The structure people can read: project, folders, asset, version."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftrackd.api.exception import StructureError
from ftrackd.api.structure.base import Structure, unsupported_entity

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity


class StandardStructure(Structure):
    """Follows the hierarchy in which a version was published.

    For the version 3 of the asset ``comp`` in ``my_project / sc010 / sh020``, all below
    ``my_project/sc010/sh020/comp/v003``:

    ==================================== =======================
    file ``main`` of type ``.mov``       ``main.mov``
    sequence ``main`` of type ``.exr``   ``main.%04d.exr``
    frame ``0042`` of that sequence      ``main.0042.exr``
    container ``extras``                 ``extras``
    file ``notes`` of that container     ``extras/notes.pdf``
    sequence ``ref`` of that container   ``extras/ref.%04d.jpg``
    ==================================== =======================

    Sequences and containers that have a version of their own are directly in its folder, though.

    Subclasses override :meth:`_get_parts`, :meth:`_format_version` or :meth:`sanitise_for_filesystem`.
    """

    def __init__(
        self,
        project_versions_prefix: str | None = None,
        illegal_character_substitute: str | None = "_",
    ) -> None:
        """Configure the names of folders and files.

        *project_versions_prefix* is a folder put between the project and assets published directly on it.
        *illegal_character_substitute* replaces characters that file systems may refuse; None leaves
        names as they are.
        """
        super().__init__()
        self.project_versions_prefix = project_versions_prefix
        self.illegal_character_substitute = illegal_character_substitute

    def get_resource_identifier(self, entity: Entity, context: Mapping[str, Any] | None = None) -> str:
        """Return the identifier of a component.

        Raises ``StructureError`` when its version is missing or not committed yet, and
        ``NotImplementedError`` for other entities.
        """
        match entity.entity_type:
            case "FileComponent":
                parts = self._get_file_parts(entity)
            case "SequenceComponent":
                name = self.sanitise_for_filesystem(entity["name"])
                expression = self._get_sequence_expression(entity)
                parts = [*self._get_folders(entity), f"{name}.{expression}{_file_type(entity)}"]
            case "ContainerComponent":
                parts = [*self._get_folders(entity), self.sanitise_for_filesystem(entity["name"])]
            case _:
                raise unsupported_entity(self, entity)
        return self.path_separator.join(parts)

    def sanitise_for_filesystem(self, value: str) -> str:
        """Return *value* as a name for a file or folder: lower case ASCII without special characters.

        A name of which nothing would remain, or that would mean a parent folder, is made of substitutes.
        """
        substitute = self.illegal_character_substitute
        if substitute is None:
            return value
        ascii_value = unicodedata.normalize("NFKD", str(value)).encode("ascii", "ignore").decode("ascii")
        name = re.sub(r"[^\w.-]", lambda match: substitute, ascii_value).strip().lower()
        if not name.strip("."):
            return substitute * max(len(value), 1)
        return name

    def _get_parts(self, entity: Entity) -> list[str]:
        """Return the names of the folders, from the project to the version, that *entity* belongs in."""
        version = self._get_version(entity)
        link = version["link"]
        if not link:
            raise StructureError(
                "The version of {entity} has no link yet, so that its place is unknown. "
                "Commit the version before its components are added to a location.",
                details={"entity": entity},
            )
        project = entity.session.get("Project", link[0]["id"])
        if project is None:
            raise StructureError(
                "The project {project} of {entity} does not exist or is not visible to this user.",
                details={"entity": entity, "project": link[0]["id"]},
            )
        parts = [project["name"]]
        folders = [item["name"] for item in link[1:-1]]
        if folders:
            parts.extend(folders)
        elif self.project_versions_prefix:
            parts.append(self.project_versions_prefix)
        parts.extend([version["asset"]["name"], self._format_version(version["version"])])
        return [self.sanitise_for_filesystem(part) for part in parts]

    def _get_version(self, entity: Entity) -> Entity:
        """Return the version that a component, or the container around it, belongs to."""
        holder = entity
        while True:
            version = self._get_own_version(holder)
            if version:
                return version
            container = holder["container"]
            if not container:
                raise StructureError(
                    "{entity} belongs to no version, and the standard structure is made of versions. "
                    "Set its version, or use a location with another structure.",
                    details={"entity": entity},
                )
            holder = container

    def _get_own_version(self, entity: Entity) -> Entity | None:
        version: Entity | None = entity["version"]
        if not version and entity.get("version_id"):
            # A new component knows what it was given, and here that was only the id.
            version = entity.session.get("AssetVersion", entity["version_id"])
        return version

    def _get_folders(self, entity: Entity) -> list[str]:
        """Return where a sequence or container goes: the container around it, or its version's folder."""
        container = entity["container"]
        if container and not self._get_own_version(entity):
            return [self.get_resource_identifier(container)]
        return self._get_parts(entity)

    def _format_version(self, number: int) -> str:
        """Return the folder name of version *number*."""
        return f"v{number:03d}"

    def _get_file_parts(self, entity: Entity) -> list[str]:
        container = entity["container"]
        name = self.sanitise_for_filesystem(entity["name"])
        if not container:
            return [*self._get_parts(entity), name + _file_type(entity)]
        container_identifier = self.get_resource_identifier(container)
        if container.entity_type == "SequenceComponent":
            folder, _, _ = container_identifier.rpartition(self.path_separator)
            # A frame's name is its number.
            frame = f"{self.sanitise_for_filesystem(container['name'])}.{name}{_file_type(entity)}"
            return [folder, frame]
        return [container_identifier, name + _file_type(entity)]


def _file_type(entity: Entity) -> str:
    """Return the file type of a component with its dot, or nothing when it has none."""
    return entity["file_type"] or ""
