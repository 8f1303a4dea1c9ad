"""Transfers that end half-way leave nothing half, and succeed the next time."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest

from ftrackd.api import Session, exception, symbol
from ftrackd.api.accessor import _server_request
from ftrackd.api.accessor.disk import DiskAccessor
from ftrackd.api.data import Data, File, FileWrapper

from .conftest import Studio, connect

MEBIBYTE = 1024 * 1024


def visible(names: list[str]) -> list[str]:
    return [name for name in names if not name.rpartition("/")[2].startswith(".")]


class FillingAccessor(DiskAccessor):
    """A disk that is full after `capacity` bytes."""

    capacity = 0

    def open(self, resource_identifier: str, mode: str = "rb") -> Data:
        data: Any = super().open(resource_identifier, mode)
        write = data.write

        def write_what_fits(content: bytes) -> None:
            self.capacity -= len(content)
            if self.capacity < 0:
                raise OSError(28, "No space left on device")
            write(content)

        data.write = write_what_fits
        return data


def test_when_the_disk_is_full_then_nothing_is_registered_and_the_next_run_succeeds(studio: Studio) -> None:
    sequence = studio.make_sequence(5)
    studio.disk.accessor = FillingAccessor(studio.disk.accessor.prefix)
    studio.disk.accessor.capacity = 3000
    with pytest.raises(exception.LocationError, match="No space left on device") as caught:
        studio.disk.add_component(sequence, studio.origin)
    frames = sequence["members"]
    assert [component for component, _ in caught.value.details["transferred"]] == list(frames[:2])
    for component, identifier in caught.value.details["transferred"]:
        assert studio.disk.accessor.exists(identifier)
        assert studio.registered(component) == set()
    assert len(studio.names("disk")) == 2
    assert studio.registered(sequence) == set()
    studio.disk.accessor.capacity = 1_000_000
    studio.disk.add_component(sequence, studio.origin)
    assert studio.disk.get_component_availability(sequence) == 100.0
    assert len(studio.names("disk")) == 5


def test_when_the_server_refuses_the_registration_then_it_can_be_repeated(
    studio: Studio, session: Session
) -> None:
    component = studio.make_component(b"x")
    session.commit()
    call = session.call

    def refuse(data: Any) -> Any:
        if any(operation.get("entity_type") == "ComponentLocation" for operation in data):
            raise exception.ServerError("the database is locked")
        return call(data)

    session.call = refuse
    with pytest.raises(exception.LocationError, match="the database is locked") as caught:
        studio.disk.add_component(component, studio.origin)
    assert [pair[0] for pair in caught.value.details["transferred"]] == [component]
    session.call = call
    session.commit()
    assert studio.registered(component) == set()
    studio.disk.add_component(component, studio.origin)
    rows = session.query(f"ComponentLocation where component_id is {component['id']}").all()
    assert len(rows) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "fail_requests", "status": 502, "after": True},
        {"fault": "drop_requests", "after": True},
    ],
)
def test_when_only_the_answer_is_lost_then_the_registration_counts(
    studio: Studio, session: Session, sandbox, fault: dict[str, Any]
) -> None:
    """The server has it all; telling the caller otherwise would make it add everything twice."""
    commit = session.commit

    def commit_unheard() -> None:
        sandbox.fault(path="/api", count=1, **fault)
        commit()

    session.commit = commit_unheard
    sequence = studio.make_sequence(2, name="unheard")
    studio.disk.add_component(sequence, studio.origin)
    session.commit = commit
    assert session.created == session.modified == []
    assert sequence["name"] == "unheard"
    assert {member["name"] for member in sequence["members"]} == {"0001", "0002"}
    assert studio.registered(sequence) == {studio.disk["id"]}
    session.commit()
    studio.disk.remove_component(sequence)
    studio.disk.add_component(sequence, studio.origin)
    assert studio.disk.get_component_availability(sequence) == 100.0


def test_when_neither_commit_nor_question_is_answered_then_it_has_failed(
    studio: Studio, session: Session, sandbox
) -> None:
    component = studio.make_component()
    session.commit()
    commit = session.commit

    def commit_in_vain() -> None:
        sandbox.fault(fault="fail_requests", path="/api", status=500)
        commit()

    session.commit = commit_in_vain
    try:
        with pytest.raises(exception.LocationError, match="500"):
            studio.disk.add_component(component, studio.origin)
    finally:
        sandbox.clear_faults()
    session.commit = commit
    assert session.created == []
    session.commit()
    assert studio.registered(component) == set()
    studio.disk.add_component(component, studio.origin)
    assert studio.registered(component) == {studio.disk["id"]}


def test_when_adding_a_new_component_fails_then_it_is_not_created(studio: Studio, session: Session) -> None:
    path = studio.write("frames.mov", b"x")
    studio.disk.accessor = FillingAccessor(studio.disk.accessor.prefix)
    name = f"half_{os.urandom(4).hex()}"
    for source in (path, f"{studio.sources}/missing.%04d.exr [1-3]"):
        with pytest.raises(exception.LocationError) as caught:
            session.create_component(source, {"name": name, "version": studio.version}, location=studio.disk)
        assert caught.value.details["component"]["id"] in str(caught.value)
        assert not session.recorded_operations
    assert session.query(f'Component where name is "{name}"').all() == []
    assert session.query(f"Component where version_id is {studio.version['id']}").all() == []


def test_when_the_source_is_missing_then_the_error_names_it(studio: Studio) -> None:
    component = studio.make_component()
    path = studio.origin.get_resource_identifier(component)
    pathlib.Path(path).unlink()
    with pytest.raises(exception.LocationError, match=path):
        studio.disk.add_component(component, studio.origin)
    assert studio.names("disk") == []


def test_when_third_party_data_is_not_atomic_then_the_partial_file_is_removed(studio: Studio) -> None:
    class Plain(DiskAccessor):
        """As accessors of plugins are: what they write is visible at once."""

        def open(self, resource_identifier: str, mode: str = "rb") -> Data:
            return File(self.get_filesystem_path(resource_identifier), mode)

    class Breaking(FileWrapper):
        def read(self, limit: int | None = None) -> Any:
            if self.tell():
                raise ConnectionResetError("the source went away")
            return super().read(10)

    class BreakingAccessor(DiskAccessor):
        def open(self, resource_identifier: str, mode: str = "rb") -> Data:
            return Breaking(open(resource_identifier, mode))

    studio.disk.accessor = Plain(studio.disk.accessor.prefix)
    component = studio.make_component(bytes(100))
    intact, studio.origin.accessor = studio.origin.accessor, BreakingAccessor("")
    with pytest.raises(exception.LocationError, match="the source went away"):
        studio.disk.add_component(component, studio.origin)
    assert studio.names("disk") == []
    studio.origin.accessor = intact
    studio.disk.add_component(component, studio.origin)
    assert studio.read(studio.disk, component) == bytes(100)


KILLED = """
    import os, signal, sys
    from ftrackd.api import Session
    from ftrackd.api.accessor.disk import DiskAccessor
    from ftrackd.api.structure.standard import StandardStructure

    session = Session(plugin_paths=[], schema_cache_path=False)
    prefix, location_id, source_prefix, source_id, component_id, limit = sys.argv[1:]
    source = session.get("Location", source_id)
    if source_prefix:
        source.accessor = DiskAccessor(source_prefix)
    target = session.get("Location", location_id)
    if prefix:
        target.accessor = DiskAccessor(prefix)
        target.structure = StandardStructure()

    def die(done, total):
        if done > int(limit):
            os.kill(os.getpid(), signal.SIGKILL)

    target.add_component(session.get("Component", component_id), source, on_progress=die)
"""


def run_killed(sandbox: Any, *arguments: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), *arguments],
        env={**os.environ, **sandbox.environment},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -9, killed.stderr


def test_when_the_process_is_killed_then_a_second_run_succeeds(studio: Studio, sandbox) -> None:
    """SIGKILL after some frames were copied completely and one half."""
    for number in range(1, 6):
        studio.write(f"big.{number:04d}.exr", os.urandom(3 * symbol.CHUNK_SIZE))
    sequence = studio.session.create_component(
        f"{studio.sources}/big.%04d.exr [1-5]", {"version": studio.version}, location=studio.archive
    )
    run_killed(
        sandbox,
        studio.disk.accessor.prefix,
        studio.disk["id"],
        studio.archive.accessor.prefix,
        studio.archive["id"],
        sequence["id"],
        str(7 * symbol.CHUNK_SIZE),
    )
    left = studio.names("disk")
    assert len(visible(left)) == 2
    assert len(left) == 3
    for name in visible(left):
        assert (studio.folder / "disk" / name).stat().st_size == 3 * symbol.CHUNK_SIZE
    assert studio.registered(sequence) == {studio.archive["id"]}
    studio.disk.add_component(sequence, studio.archive)
    assert studio.disk.get_component_availability(sequence) == 100.0
    assert len(studio.names("disk")) == 5
    for member in sequence["members"]:
        assert studio.read(studio.disk, member) == studio.read(studio.archive, member)


def test_when_the_uploading_process_is_killed_then_a_second_run_succeeds(studio: Studio, sandbox) -> None:
    content = os.urandom(20 * MEBIBYTE)
    component = studio.make_component(content)
    studio.archive.add_component(component, studio.origin)
    run_killed(
        sandbox,
        "",
        studio.server["id"],
        studio.archive.accessor.prefix,
        studio.archive["id"],
        component["id"],
        "0",
    )
    assert studio.registered(component) == {studio.archive["id"]}
    with pytest.raises(exception.AccessorResourceNotFoundError):
        studio.server.accessor.open(component["id"]).read()
    studio.server.add_component(component, studio.archive)
    assert studio.read(studio.server, component) == content


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(_server_request, "RETRY_DELAYS_S", (0.05, 0.05))


@pytest.mark.parametrize("size", [1000, 20 * MEBIBYTE])
@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "drop_requests", "count": 1},
        {"fault": "fail_requests", "status": 503, "count": 2},
        {"fault": "fail_requests", "status": 502, "count": 1, "after": True},
    ],
)
def test_when_connections_drop_now_and_then_then_the_transfer_goes_through(
    studio: Studio, sandbox, impatient: None, size: int, fault: dict[str, Any]
) -> None:
    content = os.urandom(size)
    component = studio.make_component(content)
    try:
        sandbox.fault(path="/component/upload", **fault)
        studio.server.add_component(component, studio.origin)
        sandbox.fault(path="/component/get", **fault)
        studio.archive.add_component(component, studio.server)
    finally:
        sandbox.clear_faults()
    assert studio.read(studio.archive, component) == content


def test_when_the_storage_stays_away_then_nothing_is_registered(
    studio: Studio, sandbox, impatient: None
) -> None:
    component = studio.make_component(os.urandom(1000))
    studio.session.commit()
    try:
        sandbox.fault(fault="drop_requests", path="/component")
        with pytest.raises(exception.LocationError, match="Could not write the data") as caught:
            studio.server.add_component(component, studio.origin)
    finally:
        sandbox.clear_faults()
    assert studio.session.api_key not in str(caught.value)
    assert studio.registered(component) == set()
    studio.server.add_component(component, studio.origin)
    try:
        sandbox.fault(fault="drop_requests", path="/component")
        with pytest.raises(exception.LocationError, match="Could not read the data"):
            studio.disk.add_component(component, studio.server)
    finally:
        sandbox.clear_faults()
    assert studio.names("disk") == []
    studio.disk.add_component(component, studio.server)
    assert studio.registered(component) == {studio.server["id"], studio.disk["id"]}


def test_when_interrupted_from_the_keyboard_then_nothing_partial_stays(studio: Studio) -> None:
    component = studio.make_component(bytes(3 * symbol.CHUNK_SIZE))
    started = time.monotonic()

    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    for location in (studio.disk, studio.server):
        with pytest.raises(KeyboardInterrupt):
            location.add_component(component, studio.origin, on_progress=interrupt)
    assert time.monotonic() - started < 30
    assert studio.names("disk") == []
    assert studio.registered(component) == set()


def add_from_elsewhere(studio: Studio, sandbox: Any, components: list[Any]) -> None:
    """Do what another process does: add `components` from the archive to the disk."""
    with connect(sandbox) as other:
        archive, disk = (other.get("Location", item["id"]) for item in (studio.archive, studio.disk))
        for theirs, ours in ((archive, studio.archive), (disk, studio.disk)):
            theirs.accessor, theirs.structure = ours.accessor, ours.structure
        disk.add_components([other.get("Component", item["id"]) for item in components], archive)


@pytest.fixture
def archived(studio: Studio, published: list[Any]) -> list[Any]:
    """Provide two components that are in the archive."""
    content = os.urandom(3 * symbol.CHUNK_SIZE)
    components = [studio.make_component(content), studio.make_component(b"x", name="other")]
    studio.archive.add_components(components, studio.origin)
    published.clear()
    return components


@pytest.mark.parametrize("faster_with", [1, 2])
def test_when_somebody_else_adds_the_same_meanwhile_then_it_is_there_once(
    studio: Studio, session: Session, sandbox, published: list[Any], archived: list[Any], faster_with: int
) -> None:
    theirs = archived[:faster_with]
    done_by_other: list[Any] = []

    def interfere(done: int, total: int) -> None:
        if done and not done_by_other:
            done_by_other.extend(theirs)
            add_from_elsewhere(studio, sandbox, theirs)

    studio.disk.add_components(archived, studio.archive, on_progress=interfere)
    rows = session.query(f"ComponentLocation where location_id is {studio.disk['id']}").all()
    assert sorted(row["component_id"] for row in rows) == sorted(item["id"] for item in archived)
    assert [data["component_id"] for _, data in published] == [item["id"] for item in archived[faster_with:]]
    assert [studio.read(studio.disk, item) for item in archived] == [
        studio.read(studio.archive, item) for item in archived
    ]
    assert len(studio.names("disk")) == 2


def test_when_somebody_else_registers_the_same_at_that_moment_then_it_is_there_once(
    studio: Studio, session: Session, sandbox, published: list[Any], archived: list[Any]
) -> None:
    commit = session.commit

    def commit_second() -> None:
        session.commit = commit
        add_from_elsewhere(studio, sandbox, archived[:1])
        commit()

    session.commit = commit_second
    studio.disk.add_components(archived, studio.archive)
    assert [data["component_id"] for _, data in published] == [archived[1]["id"]]
    assert all(studio.disk["id"] in studio.registered(component) for component in archived)
    assert not session.recorded_operations


def test_when_other_data_comes_to_the_same_place_meanwhile_then_it_is_not_lost(
    studio: Studio, archived: list[Any]
) -> None:
    component = archived[0]
    other = studio.make_component(b"theirs")

    def interfere(done: int, total: int) -> None:
        if 0 < done < total and not studio.disk.get_component_availability(other):
            studio.disk.add_component(other, studio.origin)

    with pytest.raises(exception.LocationError, match=f"the data of component {other['id']}"):
        studio.disk.add_component(component, studio.archive, on_progress=interfere)
    assert studio.read(studio.disk, other) == b"theirs"
    assert studio.registered(component) == {studio.archive["id"]}
    assert len(studio.names("disk")) == 1
