"""A component travels from location to location and comes back as it left."""

from __future__ import annotations

import os
import pathlib
import random
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from ftrackd.api import Session

from .conftest import Studio, connect

MEBIBYTE = 1024 * 1024
NAMES = [
    "main",
    "with space",
    "ünïcødé ñame",
    "画像",
    'it\'s "quoted"',
    "a{brace}",
    "per%cent",
    "back\\slash",
    ".hidden",
    "trailing dot.",
]


def travel(studio: Studio, component: Any) -> None:
    """Move along all locations, one by one, so that each copy is made from the one before."""
    studio.disk.add_component(component, studio.origin)
    studio.server.add_component(component, studio.disk)
    studio.disk.remove_component(component)
    studio.archive.add_component(component, studio.server)
    studio.server.remove_component(component)


@pytest.mark.parametrize("name", NAMES)
def test_when_a_file_travels_then_it_is_the_same(studio: Studio, name: str) -> None:
    content = random.Random(name).randbytes(70_000)
    component = studio.make_component(content, name=name)
    travel(studio, component)
    assert studio.read(studio.archive, component) == content
    assert pathlib.Path(studio.archive.get_filesystem_path(component)).read_bytes() == content
    assert studio.registered(component) == {studio.archive["id"]}
    assert studio.names("disk") == []


@pytest.mark.parametrize("size", [0, 20 * MEBIBYTE])
def test_when_a_file_is_empty_or_large_then_it_is_the_same(studio: Studio, size: int) -> None:
    content = random.Random(size).randbytes(size)
    component = studio.make_component(content)
    assert component["size"] == size
    travel(studio, component)
    assert studio.read(studio.archive, component) == content


def test_when_a_source_has_an_odd_name_then_it_is_found(studio: Studio) -> None:
    for name in NAMES:
        path = studio.write(f"{name}.%04d [final].mov", b"x")
        component = studio.session.create_component(path, {"name": name}, location=studio.archive)
        assert component.entity_type == "FileComponent"
        assert component["file_type"] == ".mov"
        assert studio.read(studio.archive, component) == b"x"


def test_when_a_sequence_travels_then_every_frame_is_the_same(studio: Studio) -> None:
    sequence = studio.make_sequence(5)
    contents = [random.Random(number).randbytes(1000 + number) for number in range(1, 6)]
    travel(studio, sequence)
    assert [member["name"] for member in sequence["members"]] == ["0001", "0002", "0003", "0004", "0005"]
    assert [studio.read(studio.archive, member) for member in sequence["members"]] == contents
    assert sequence["size"] == sum(len(content) for content in contents)
    folder = pathlib.Path(studio.archive.get_filesystem_path(sequence)).parent
    assert sorted(os.listdir(folder)) == [f"file.{number:04d}.exr" for number in range(1, 6)]


def test_when_a_container_travels_then_all_in_it_is_the_same(studio: Studio) -> None:
    content = random.Random(7).randbytes(5000)
    file = studio.make_component(content, name="notes file")
    sequence = studio.make_sequence(2)
    inner = studio.make_container(studio.make_component(b"deep", name="deep"), name="inner")
    container = studio.make_container(file, sequence, inner)
    travel(studio, container)
    everything = [container, inner, file, sequence, *sequence["members"], *inner["members"]]
    assert all(studio.registered(component) == {studio.archive["id"]} for component in everything)
    assert studio.read(studio.archive, file) == content
    assert studio.read(studio.archive, inner["members"][0]) == b"deep"
    assert [studio.read(studio.archive, member) for member in sequence["members"]] == [
        random.Random(number).randbytes(1000 + number) for number in (1, 2)
    ]


def test_when_another_session_looks_then_it_finds_the_data(studio: Studio, sandbox) -> None:
    component = studio.make_component(b"shared")
    studio.server.add_component(component, studio.origin)
    with connect(sandbox) as other:
        found = other.get("FileComponent", component["id"])
        location = other.pick_location(found)
        assert location["name"] == "ftrack.server"
        with location.accessor.open(location.get_resource_identifier(found)) as data:
            assert data.read() == b"shared"


def test_when_a_transformer_is_set_then_the_server_keeps_what_it_makes(studio: Studio) -> None:
    class Prefixing:
        contexts: list[Any] = []

        def encode(self, resource_identifier: str, context: Any = None) -> str:
            self.contexts.append(context)
            return f"store://{resource_identifier}"

        def decode(self, resource_identifier: str, context: Any = None) -> str:
            self.contexts.append(context)
            return resource_identifier.removeprefix("store://")

    studio.archive.resource_identifier_transformer = Prefixing()
    component = studio.make_component(b"x")
    studio.archive.add_component(component, studio.origin)
    row = studio.session.query(f"ComponentLocation where component_id is {component['id']}").one()
    assert row["resource_identifier"].startswith("store://")
    assert not studio.archive.get_resource_identifier(component).startswith("store://")
    assert studio.read(studio.archive, component) == b"x"
    assert Prefixing.contexts[0] == {"component": component}


SPARSE_TRIP = """
    import resource, sys
    from ftrackd.api import Session, symbol
    from ftrackd.api.accessor.disk import DiskAccessor
    from ftrackd.api.structure.id import IdStructure

    session = Session(plugin_paths=[], schema_cache_path=False)
    folder, path = sys.argv[1:]
    locations = []
    for name in ("first", "second"):
        location = session.create("Location", {"name": f"sparse.{name}.{folder}"})
        location.accessor = DiskAccessor(f"{folder}/{name}")
        location.structure = IdStructure()
        locations.append(location)
    session.commit()
    first, second = locations
    server = session.get("Location", symbol.SERVER_LOCATION_ID)
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    component = session.create_component(path, {"name": "huge"}, location=first)
    progress = []
    server.add_component(component, first, on_progress=lambda done, total: progress.append((done, total)))
    first.remove_component(component)
    second.add_component(component, server)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert progress == sorted(progress) and progress[-1][0] == progress[-1][1] == component["size"]
    print(peak - baseline, second.get_filesystem_path(component))
    server.remove_component(component)
    session.close()
"""


@pytest.mark.parametrize(
    "size",
    [
        64 * MEBIBYTE,
        pytest.param(5 * 1024 * MEBIBYTE + 12345, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_when_a_sparse_file_travels_then_memory_is_constant(sandbox, tmp_path, size: int) -> None:
    """Whatever the size: the same few megabytes, on the way through two disks and the server."""
    source = tmp_path / "sparse.bin"
    with open(source, "wb") as file:
        file.write(b"begin")
        file.seek(size - 3)
        file.write(b"end")
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SPARSE_TRIP), str(tmp_path), str(source)],
        env={**os.environ, **sandbox.environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    grown, path = result.stdout.split(maxsplit=1)
    assert int(grown) < 40 * 1024
    compared = subprocess.run(["cmp", str(source), path.strip()], check=False)
    assert compared.returncode == 0
    assert os.stat(path.strip()).st_blocks * 512 < size / 10


def test_when_the_session_is_used_by_threads_then_transfers_do_not_mix(
    studio: Studio, session: Session
) -> None:
    import threading

    session.unit_of_work_per_thread = True
    paths = {name: studio.write(f"{name}.mov", name.encode() * 1000) for name in "abcdef"}
    found: dict[str, bytes] = {}
    studio.session.commit()

    def add(name: str) -> None:
        component = session.create_component(paths[name], {"name": name}, location=studio.archive)
        found[name] = studio.read(studio.archive, component)

    threads = [threading.Thread(target=add, args=(name,)) for name in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: name.encode() * 1000 for name in paths}
