"""Location plugins as studios write them, against the names they know."""

from __future__ import annotations

import json
import pathlib
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from ftrackd.api import Session, alias

from .conftest import Studio, connect

#: An accessor in the style of object stores: a spooled file that uploads what was written when flushed.
OBJECT_STORE = """
    import json
    import os
    import tempfile

    import ftrack_api
    import ftrack_api.accessor.base
    import ftrack_api.data
    import ftrack_api.exception
    import ftrack_api.structure.standard

    STORE = {store!r}
    LOG = {log!r}


    def log(*entry):
        with open(LOG, "a") as file:
            file.write(json.dumps(entry) + "\\n")


    class ObjectFile(ftrack_api.data.FileWrapper):
        def __init__(self, key, mode):
            self.key, self.mode = key, mode
            spool = tempfile.NamedTemporaryFile()
            if mode in ("r", "rb"):
                with open(os.path.join(STORE, key.replace("/", "__")), "rb") as source:
                    spool.write(source.read())
                spool.seek(0)
            super(ObjectFile, self).__init__(spool)

        def flush(self):
            super(ObjectFile, self).flush()
            if self.mode in ("w", "wb"):
                position = self.tell()
                self.seek(0)
                with open(os.path.join(STORE, self.key.replace("/", "__")), "wb") as target:
                    target.write(self.wrapped_file.read())
                self.seek(position)
                log("put", self.key)

        def close(self):
            super(ObjectFile, self).close()


    class ObjectAccessor(ftrack_api.accessor.base.Accessor):
        def _path(self, key):
            return os.path.join(STORE, key.replace("/", "__"))

        def list(self, key):
            raise ftrack_api.exception.AccessorUnsupportedOperationError("list", key)

        def exists(self, key):
            return os.path.exists(self._path(key))

        def is_file(self, key):
            return self.exists(key)

        def is_container(self, key):
            return False

        def is_sequence(self, key):
            raise ftrack_api.exception.AccessorUnsupportedOperationError("is_sequence", key)

        def open(self, key, mode="rb"):
            if "r" in mode and not self.exists(key):
                raise ftrack_api.exception.AccessorResourceNotFoundError(resource_identifier=key)
            return ObjectFile(key, mode)

        def remove(self, key):
            if not self.exists(key):
                raise ftrack_api.exception.AccessorResourceNotFoundError(resource_identifier=key)
            os.remove(self._path(key))
            log("delete", key)

        def make_container(self, key, recursive=True):
            log("container", key)

        def get_container(self, key):
            return os.path.dirname(key)


    def configure_location(session, event):
        location = session.ensure("Location", {{"name": "test.objects"}})
        location.accessor = ObjectAccessor()
        location.structure = ftrack_api.structure.standard.StandardStructure()
        location.priority = 3


    def register(api_object, **kw):
        import functools
        if not isinstance(api_object, ftrack_api.Session):
            return
        api_object.event_hub.subscribe(
            "topic=ftrack.api.session.configure-location",
            functools.partial(configure_location, api_object),
        )
"""

#: A location of its own class, which changes the prefix for each project.
PER_PROJECT = """
    import functools
    import os

    import ftrack_api
    from ftrack_api.accessor.disk import DiskAccessor
    from ftrack_api.entity.location import Location
    from ftrack_api.structure.standard import StandardStructure


    class PerProjectLocation(Location):
        def _prefix_of(self, component):
            version = component["version"] or component["container"]["version"]
            return os.path.join({store!r}, "roots", version["asset"]["parent"]["project"]["name"])

        def _add_data(self, component, resource_identifier, source):
            self.accessor.prefix = self._prefix_of(component)
            return super(PerProjectLocation, self)._add_data(component, resource_identifier, source)

        def get_filesystem_path(self, component):
            self.accessor.prefix = self._prefix_of(component)
            return super(PerProjectLocation, self).get_filesystem_path(component)


    def configure_location(session, event):
        location = session.ensure("Location", {{"name": "test.perproject"}})
        ftrack_api.mixin(location, PerProjectLocation, name="PerProjectLocation")
        location.accessor = DiskAccessor(prefix="")
        location.structure = StandardStructure()
        location.priority = 2


    def register(session):
        session.event_hub.subscribe(
            "topic=ftrack.api.session.configure-location", functools.partial(configure_location, session)
        )
"""


@pytest.fixture(autouse=True)
def ftrack_api_alias() -> Iterator[None]:
    alias.install()
    yield
    alias.uninstall()


@pytest.fixture
def log(tmp_path: pathlib.Path) -> Any:
    def read() -> list[list[str]]:
        path = tmp_path / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def session(sandbox, tmp_path: pathlib.Path) -> Iterator[Session]:
    plugins, store = tmp_path / "plugins", tmp_path / "store"
    plugins.mkdir()
    store.mkdir()
    values = {"store": str(store), "log": str(tmp_path / "log")}
    for name, text in (("object_store", OBJECT_STORE), ("per_project", PER_PROJECT)):
        (plugins / f"{name}.py").write_text(textwrap.dedent(text).format(**values))
    with connect(sandbox, plugin_paths=[str(plugins)]) as session:
        yield session


def get_location(session: Session, name: str) -> Any:
    return session.query(f'Location where name is "{name}"').one()


def test_when_an_object_store_is_used_then_data_is_uploaded_once(studio: Studio, log) -> None:
    objects = get_location(studio.session, "test.objects")
    component, sequence = studio.make_component(b"content"), studio.make_sequence(2)
    objects.add_components([component, sequence], studio.origin)
    identifiers = objects.get_resource_identifiers([component, *sequence["members"]])
    assert sorted(key for action, key in log() if action == "put") == sorted(identifiers)
    assert studio.read(objects, component) == b"content"
    studio.archive.add_component(sequence, objects)
    assert studio.archive.get_component_availability(sequence) == 100.0
    objects.remove_components([component, sequence])
    assert sorted(key for action, key in log() if action == "delete") == sorted(identifiers)
    with pytest.raises(Exception, match="unsupported"):
        objects.accessor.get_filesystem_path("x")


def test_when_a_transfer_to_an_object_store_fails_then_nothing_is_uploaded(studio: Studio, log) -> None:
    objects = get_location(studio.session, "test.objects")
    component = studio.make_component(bytes(3 * 1024 * 1024))

    def cancel(done: int, total: int) -> None:
        if done:
            raise RuntimeError("cancelled")

    with pytest.raises(Exception, match="cancelled"):
        objects.add_component(component, studio.origin, on_progress=cancel)
    assert [entry for entry in log() if entry[0] == "put"] == []
    objects.add_component(component, studio.origin)
    assert len([entry for entry in log() if entry[0] == "put"]) == 1


def test_when_a_location_has_a_class_of_its_own_then_its_methods_are_used(
    studio: Studio, session: Session, tmp_path: pathlib.Path
) -> None:
    for _ in range(2):
        location = get_location(session, "test.perproject")
        assert type(location).__name__ == "PerProjectLocation"
        assert session.pick_location() is location
        component = studio.make_component(b"x", name="main")
        location.add_component(component, studio.origin)
        project = studio.version["asset"]["parent"]["project"]["name"]
        path = pathlib.Path(location.get_filesystem_path(component))
        assert path.is_relative_to(tmp_path / "store" / "roots" / project)
        assert path.read_bytes() == b"x"
        location.remove_component(component)
        session.commit()
        session.reset()
        studio.version = session.get("AssetVersion", studio.version["id"])
        studio.origin = session.get("Location", studio.origin["id"])
