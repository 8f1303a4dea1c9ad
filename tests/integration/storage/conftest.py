"""A session with two disks, and components to move between them."""

from __future__ import annotations

import hashlib
import pathlib
import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from ftrackd.api import Session, symbol
from ftrackd.api.accessor.disk import DiskAccessor
from ftrackd.api.structure.id import IdStructure
from ftrackd.api.structure.standard import StandardStructure
from ftrackd.testing.sandbox import SandboxProcess


@pytest.fixture
def session(sandbox: SandboxProcess) -> Iterator[Session]:
    session = connect(sandbox)
    yield session
    session.close()


def connect(sandbox: SandboxProcess, **options: Any) -> Session:
    return Session(
        sandbox.url,
        sandbox.api_key,
        sandbox.api_user,
        plugin_paths=options.pop("plugin_paths", []),
        schema_cache_path=False,
        **options,
    )


class Studio:
    """A project with a version, and locations that only this test uses."""

    def __init__(self, session: Session, folder: pathlib.Path) -> None:
        self.session = session
        self.folder = folder
        self.sources = folder / "sources"
        self.sources.mkdir()
        self.disk = self.make_location("disk", StandardStructure())
        self.archive = self.make_location("archive", IdStructure())
        self.server = session.get("Location", symbol.SERVER_LOCATION_ID)
        self.origin = session.get("Location", symbol.ORIGIN_LOCATION_ID)
        self.version = self.make_version()

    def make_location(self, name: str, structure: Any) -> Any:
        location = self.session.create("Location", {"name": f"test.{name}.{uuid.uuid4().hex}"})
        location.accessor = DiskAccessor(str(self.folder / name))
        location.structure = structure
        return location

    def make_version(self) -> Any:
        schema = self.session.query("ProjectSchema").first()
        name = f"storage_{uuid.uuid4().hex[:12]}"
        project = self.session.create("Project", {"name": name, "full_name": name, "project_schema": schema})
        shot = self.session.create("Folder", {"name": "sh010", "parent": project})
        asset_type = self.session.query("AssetType").first()
        asset = self.session.create("Asset", {"name": "comp", "parent": shot, "type": asset_type})
        version = self.session.create("AssetVersion", {"asset": asset})
        self.session.commit()
        return version

    def write(self, name: str, content: bytes) -> str:
        path = self.sources / name
        path.write_bytes(content)
        return str(path)

    def make_component(self, content: bytes = b"content", name: str = "main", **data: Any) -> Any:
        """Return a file component that is only at its origin."""
        path = self.write(f"{uuid.uuid4().hex}.mov", content)
        data = {"name": name, "version": self.version, **data}
        return self.session.create_component(path, data, location=None)

    def make_sequence(self, count: int = 3, name: str = "plate", **data: Any) -> Any:
        """Return a sequence component that is only at its origin."""
        stem = uuid.uuid4().hex
        for number in range(1, count + 1):
            self.write(f"{stem}.{number:04d}.exr", random.Random(number).randbytes(1000 + number))
        return self.session.create_component(
            f"{self.sources}/{stem}.%04d.exr [1-{count}]",
            {"name": name, "version": self.version, **data},
            location=None,
        )

    def make_container(self, *members: Any, name: str = "extras") -> Any:
        container = self.session.create("ContainerComponent", {"name": name, "version": self.version})
        container["members"] = list(members)
        for member in members:
            member["container"] = container
        self.origin.add_component(container, "", recursive=False)
        return container

    def read(self, location: Any, component: Any) -> bytes:
        with location.accessor.open(location.get_resource_identifier(component)) as data:
            return data.read()

    def names(self, location_name: str) -> list[str]:
        """Return all files, hidden ones too, below the folder of a location."""
        folder = self.folder / location_name
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def registered(self, component: Any) -> set[str]:
        """Return the ids of the locations that have `component`, as another session sees it."""
        rows = self.session.call(
            [
                {
                    "action": "query",
                    "expression": "select location_id from ComponentLocation "
                    f"where component_id is {component['id']}",
                }
            ]
        )[0]["data"]
        return {row["location_id"] for row in rows}


@pytest.fixture
def studio(session: Session, tmp_path: pathlib.Path) -> Studio:
    return Studio(session, tmp_path)


@pytest.fixture
def published(session: Session) -> list[tuple[str, dict[str, Any]]]:
    """Provide the topics and data of events that the session publishes to others."""
    events: list[tuple[str, dict[str, Any]]] = []
    publish = session.event_hub.publish

    def record(event: Any, synchronous: bool = False, **options: Any) -> Any:
        if not synchronous:
            events.append((event["topic"], event["data"]))
        return publish(event, synchronous=synchronous, **options)

    session.event_hub.publish = record
    return events


@pytest.fixture
def calls(session: Session) -> list[list[Any]]:
    """Provide the batches that the session sends."""
    batches: list[list[Any]] = []
    call = session.call

    def record(data: Any) -> Any:
        batches.append(list(data))
        return call(data)

    session.call = record
    return batches


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
