"""Adding and removing components: few calls, the events of the field, its errors and their details."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from ftrackd.api import Session, exception, mixin, symbol
from ftrackd.api.accessor.disk import DiskAccessor
from ftrackd.api.data import Data, File
from ftrackd.api.entity.location import Location, MemoryLocationMixin, UnmanagedLocationMixin
from ftrackd.api.structure.base import Structure
from ftrackd.api.structure.standard import StandardStructure

from .conftest import Studio, connect

ADDED = "ftrack.location.component-added"
REMOVED = "ftrack.location.component-removed"


def test_when_components_are_added_then_each_has_its_event_after_the_commit(
    studio: Studio, published: list[Any], calls: list[Any]
) -> None:
    sequence = studio.make_sequence(3)
    single = studio.make_component()
    published.clear()
    calls.clear()
    studio.disk.add_components([sequence, single], studio.origin)
    expected = [*sequence["members"], sequence, single]
    assert published == [
        (ADDED, {"component_id": component["id"], "location_id": studio.disk["id"]}) for component in expected
    ]


def test_when_hundreds_of_frames_are_added_then_a_handful_of_calls_is_made(
    studio: Studio, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = studio.session.create_component(
        f"{studio.sources}/frames.%04d.exr [1-300]", {"version": studio.version, "size": 0}, location=None
    )
    studio.disk.accessor = _CountingAccessor(studio.disk.accessor.prefix)
    for number in range(1, 301):
        studio.write(f"frames.{number:04d}.exr", b"x")
    with monkeypatch.context() as patch, pytest.raises(exception.LocationError):
        patch.setattr(studio.session, "commit", _refuse)
        studio.disk.add_component(sequence, studio.origin)
    assert len(studio.names("disk")) == 300
    calls.clear()
    # Takes over what lies there.
    studio.disk.add_component(sequence, studio.origin)
    assert len(calls) <= 8, [str(batch)[:200] for batch in calls]
    calls.clear()
    studio.disk.remove_component(sequence)
    assert studio.names("disk") == []
    calls.clear()
    studio.disk.add_component(sequence, studio.origin)
    assert len(calls) <= 8, [str(batch)[:200] for batch in calls]
    calls.clear()
    studio.disk.remove_component(sequence)
    assert len(calls) <= 8, [str(batch)[:200] for batch in calls]
    assert studio.names("disk") == []


def _refuse() -> None:
    raise exception.ServerError("refused", exception="ValidationError")


class _CountingAccessor(DiskAccessor):
    """Does not wait for the disk; hundreds of waits are no part of what is tested."""

    def open(self, resource_identifier: str, mode: str = "rb") -> Data:
        return File(self.get_filesystem_path(resource_identifier), mode)


def test_when_components_are_there_already_then_nothing_is_copied(studio: Studio) -> None:
    present, other = studio.make_component(name="present"), studio.make_component(name="other")
    studio.disk.add_component(present, studio.origin)
    with pytest.raises(exception.ComponentInLocationError) as caught:
        studio.disk.add_components([other, present], [studio.origin, studio.origin])
    assert caught.value.details["components"] == [present]
    assert caught.value.details["location"] is studio.disk
    assert studio.registered(other) == set()
    assert len(studio.names("disk")) == 1


def test_when_sources_do_not_match_then_it_says_so(studio: Studio) -> None:
    component = studio.make_component()
    for sources in ([], [studio.origin, studio.origin]):
        with pytest.raises(ValueError, match="one source for all components or one for each of the 1"):
            studio.disk.add_components([component], sources)


def test_when_there_are_no_components_then_nothing_happens(studio: Studio, calls: list[Any]) -> None:
    studio.disk.add_components([], studio.origin)
    studio.disk.remove_components([])
    assert calls == []


def test_when_location_is_not_configured_then_the_error_names_what_is_missing(
    studio: Studio, session: Session
) -> None:
    component = studio.make_component()
    location = session.create("Location", {"name": "unconfigured"})
    session.commit()
    assert location.accessor is symbol.NOT_SET and location.structure is symbol.NOT_SET
    assert not location.accessor and location.priority == 95
    with pytest.raises(exception.LocationError, match="has no structure in this session"):
        location.add_component(component, studio.origin)
    location.structure = StandardStructure()
    with pytest.raises(exception.LocationError, match="has no accessor in this session"):
        location.add_component(component, studio.origin)
    session.delete(location)
    session.commit()


def test_when_a_component_is_not_there_then_all_missing_are_named(studio: Studio) -> None:
    present, first, second = (studio.make_component(name=name) for name in "abc")
    studio.disk.add_component(present, studio.origin)
    for operation in (studio.disk.get_resource_identifiers, studio.disk.remove_components):
        with pytest.raises(exception.ComponentNotInLocationError) as caught:
            operation([first, present, second])
        assert caught.value.details["components"] == [first, second]
    assert studio.registered(present) == {studio.disk["id"]}
    with pytest.raises(exception.LocationError):
        studio.disk.get_filesystem_path(first)
    with pytest.raises(exception.ComponentNotInLocationError):
        studio.disk.get_url(first)


def test_when_components_are_asked_twice_then_the_answers_keep_their_order(studio: Studio) -> None:
    first, second = studio.make_component(name="a"), studio.make_component(name="b")
    studio.disk.add_components([first, second], studio.origin)
    one, two = studio.disk.get_resource_identifiers([first, second])
    assert studio.disk.get_resource_identifiers([second, first, second]) == [two, one, two]
    assert studio.disk.get_filesystem_paths([second]) == [f"{studio.disk.accessor.prefix}/{two}"]


def test_when_other_data_is_in_the_way_then_it_is_not_overwritten(studio: Studio) -> None:
    component = studio.make_component(b"mine")
    studio.disk.add_component(component, studio.origin)
    path = pathlib.Path(studio.disk.get_filesystem_path(component))
    same_name = studio.make_component(b"mine")
    with pytest.raises(exception.LocationError, match=f"the data of component {component['id']}"):
        studio.disk.add_component(same_name, studio.origin)
    studio.disk.remove_component(component)
    path.write_bytes(b"an artist's file")
    with pytest.raises(exception.LocationError, match="other data"):
        studio.disk.add_component(component, studio.origin)
    assert path.read_bytes() == b"an artist's file"
    assert studio.registered(component) == set()


def test_when_two_components_have_one_place_then_neither_is_registered(studio: Studio) -> None:
    """Sharing a file, the removal of one would take the data of the other."""
    first, second = studio.make_component(b"same"), studio.make_component(b"same")
    with pytest.raises(exception.LocationError, match=f"the data of component {first['id']}") as caught:
        studio.disk.add_components([first, second], studio.origin)
    assert [pair[0] for pair in caught.value.details["transferred"]] == [first]
    assert studio.registered(first) == studio.registered(second) == set()


def test_when_some_members_are_there_already_then_the_rest_follows(studio: Studio) -> None:
    sequence = studio.make_sequence(3)
    studio.disk.add_component(sequence["members"][1], studio.origin)
    studio.disk.add_component(sequence, studio.origin)
    assert studio.disk.get_component_availability(sequence) == 100.0
    assert studio.registered(sequence) == {studio.disk["id"]}


def test_when_not_recursive_then_members_are_left_out(studio: Studio, session: Session) -> None:
    sequence = studio.make_sequence(2)
    studio.disk.add_component(sequence, studio.origin, recursive=False)
    assert studio.disk.get_component_availability(sequence) == 0.0
    assert studio.registered(sequence) == {studio.disk["id"]}
    studio.disk.remove_component(sequence, recursive=False)
    assert studio.registered(sequence) == set()


def test_when_removed_then_rows_and_events_go_along(studio: Studio, published: list[Any]) -> None:
    container = studio.make_container(studio.make_component(), studio.make_sequence(2))
    studio.disk.add_component(container, studio.origin)
    published.clear()
    studio.disk.remove_component(container)
    single, sequence = container["members"]
    expected = [single, *sequence["members"], sequence, container]
    assert published == [
        (REMOVED, {"component_id": component["id"], "location_id": studio.disk["id"]})
        for component in expected
    ]
    assert studio.disk.get_component_availabilities([container, single]) == [0.0, 0.0]
    assert studio.names("disk") == []
    studio.disk.add_component(container, studio.origin)


def test_when_data_is_gone_then_the_component_can_still_be_removed(studio: Studio) -> None:
    component = studio.make_component()
    studio.disk.add_component(component, studio.origin)
    pathlib.Path(studio.disk.get_filesystem_path(component)).unlink()
    studio.disk.remove_component(component)
    assert studio.registered(component) == set()


def test_when_removing_fails_then_rows_say_what_is_left(studio: Studio) -> None:
    first, second, third = (studio.make_component(name=name) for name in "abc")
    studio.disk.add_components([first, second, third], studio.origin)

    class Stubborn(DiskAccessor):
        def remove(self, resource_identifier: str) -> None:
            if resource_identifier.endswith("b.mov"):
                raise exception.AccessorPermissionDeniedError("remove", resource_identifier)
            super().remove(resource_identifier)

    studio.disk.accessor = Stubborn(studio.disk.accessor.prefix)
    with pytest.raises(exception.AccessorPermissionDeniedError):
        studio.disk.remove_components([first, second, third])
    assert [bool(studio.registered(component)) for component in (first, second, third)] == [False, True, True]


def test_when_availability_is_asked_then_containers_are_the_mean_of_members(
    studio: Studio, session: Session, calls: list[Any]
) -> None:
    sequence = studio.make_sequence(3)
    alone = studio.make_component()
    session.commit()
    studio.disk.add_component(sequence["members"][0], studio.origin)
    container = studio.make_container(sequence, alone)
    studio.disk.add_component(alone, studio.origin)
    session.commit()
    calls.clear()
    locations = [studio.disk, studio.server]
    assert session.get_component_availabilities([sequence, container, alone], locations=locations) == [
        {studio.disk["id"]: 33.333333333, studio.server["id"]: 0.0},
        {studio.disk["id"]: 66.666666667, studio.server["id"]: 0.0},
        {studio.disk["id"]: 100.0, studio.server["id"]: 0.0},
    ]
    assert len(calls) <= 4
    assert session.get_component_availability(alone)[studio.disk["id"]] == 100.0
    assert studio.origin["id"] in alone.get_availability()
    assert alone.get_availability(locations=[studio.server]) == {studio.server["id"]: 0.0}
    assert session.get_component_availabilities([], locations=locations) == []


def test_when_progress_is_wanted_then_it_rises_to_the_total(studio: Studio) -> None:
    studio.write("big.mov", bytes(3 * symbol.CHUNK_SIZE + 5))
    big = studio.session.create_component(str(studio.sources / "big.mov"), {"name": "big"}, location=None)
    sequence = studio.make_sequence(2)
    total = 3 * symbol.CHUNK_SIZE + 5 + 1001 + 1002
    seen: list[tuple[int, int]] = []
    studio.archive.add_components(
        [big, sequence], studio.origin, on_progress=lambda done, expected: seen.append((done, expected))
    )
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    assert (symbol.CHUNK_SIZE, total) in seen
    assert seen == sorted(seen)


def test_when_the_known_size_is_wrong_then_progress_still_ends_at_the_total(studio: Studio) -> None:
    for size in (0, 10, 10_000):
        component = studio.make_component(bytes(5000), name=f"size{size}", size=size)
        seen: list[tuple[int, int]] = []
        studio.archive.add_component(
            component, studio.origin, on_progress=lambda *numbers, seen=seen: seen.append(numbers)
        )
        assert seen[-1] == (5000, 5000)
        assert all(done <= expected for done, expected in seen)


def test_when_progress_raises_then_the_transfer_ends(studio: Studio) -> None:
    component = studio.make_component(bytes(3 * symbol.CHUNK_SIZE))

    def cancel(done: int, total: int) -> None:
        if done:
            raise RuntimeError("cancelled by the artist")

    with pytest.raises(exception.LocationError, match="cancelled by the artist"):
        studio.disk.add_component(component, studio.origin, on_progress=cancel)
    assert studio.names("disk") == []
    assert studio.registered(component) == set()


def test_when_a_mixin_overrides_add_data_then_it_is_called_as_ever(studio: Studio) -> None:
    """Location plugins override ``_add_data(component, resource_identifier, source)``."""
    seen: list[Any] = []

    class Watching(Location):
        def _add_data(self, component: Any, resource_identifier: str, source: Any) -> None:
            seen.append((component, resource_identifier, source))
            super()._add_data(component, resource_identifier, source)

    mixin(studio.disk, Watching, name="WatchingLocation")
    component = studio.make_component(b"x")
    progress: list[Any] = []
    studio.disk.add_component(component, studio.origin, on_progress=lambda *numbers: progress.append(numbers))
    assert seen == [(component, studio.disk.get_resource_identifier(component), studio.origin)]
    assert progress[-1] == (1, 1)
    assert type(studio.disk).__name__ == "WatchingLocation"


def test_when_registration_is_overridden_for_one_then_it_is_called_for_each(studio: Studio) -> None:
    seen: list[str] = []

    class Recording(Location):
        def _register_component_in_location(self, component: Any, resource_identifier: str) -> Any:
            seen.append(f"+{component['name']}")
            return super()._register_component_in_location(component, resource_identifier)

        def _deregister_component_in_location(self, component: Any) -> None:
            seen.append(f"-{component['name']}")
            self._deregister_components_in_location_of_base([component])

        def _deregister_components_in_location_of_base(self, components: Any) -> None:
            conditions = f"location_id is {self['id']} and component_id is {components[0]['id']}"
            for row in self.session.query(f"ComponentLocation where {conditions}"):
                self.session.delete(row)
            self.session.commit()

    mixin(studio.disk, Recording)
    components = [studio.make_component(name="a"), studio.make_component(name="b")]
    studio.disk.add_components(components, studio.origin)
    studio.disk.remove_components(components)
    assert seen == ["+a", "+b", "-a", "-b"]
    assert studio.registered(components[0]) == set()


def test_when_unmanaged_then_data_stays_where_it_is(studio: Studio, session: Session) -> None:
    unmanaged = session.get("Location", symbol.UNMANAGED_LOCATION_ID)
    assert isinstance(unmanaged, UnmanagedLocationMixin)
    component = studio.make_component(b"x")
    path = studio.origin.get_resource_identifier(component)
    unmanaged.add_component(component, studio.origin)
    assert unmanaged.get_filesystem_path(component) == path
    unmanaged.remove_component(component)
    assert pathlib.Path(path).read_bytes() == b"x"


def test_when_in_memory_then_the_server_knows_nothing(studio: Studio, calls: list[Any]) -> None:
    assert isinstance(studio.origin, MemoryLocationMixin)
    component = studio.make_component(b"x")
    assert studio.origin.get_component_availability(component) == 0.0
    assert studio.origin.get_filesystem_path(component).endswith(".mov")
    with pytest.raises(exception.ComponentInLocationError):
        studio.origin.add_component(component, "/elsewhere")
    studio.origin.remove_component(component)
    with pytest.raises(exception.ComponentNotInLocationError):
        studio.origin.get_resource_identifier(component)
    assert studio.registered(component) == set()


def test_when_memory_is_full_then_the_oldest_registrations_go(studio: Studio, monkeypatch) -> None:
    monkeypatch.setattr(type(studio.origin), "registration_limit", 2)
    components = [studio.make_component(name=str(number)) for number in range(5)]
    assert len(studio.origin._registrations) == 3
    sequence = studio.make_sequence(10)
    assert len(studio.origin.get_resource_identifiers(list(sequence["members"]))) == 10
    with pytest.raises(exception.ComponentNotInLocationError):
        studio.origin.get_resource_identifier(components[0])


def test_when_an_accessor_only_looks_like_one_then_it_works(studio: Studio) -> None:
    """Some plugins' accessors are not derived from the base class."""
    real = studio.archive.accessor

    class Lookalike:
        def __getattr__(self, name: str) -> Any:
            if name == "receive_data":
                raise AttributeError(name)
            return getattr(real, name)

    studio.archive.accessor = Lookalike()
    component = studio.make_component(b"content")
    studio.archive.add_component(component, studio.origin)
    assert studio.read(studio.archive, component) == b"content"
    other = studio.make_component(bytes(3 * symbol.CHUNK_SIZE), name="other")

    def cancel(done: int, total: int) -> None:
        if done:
            raise RuntimeError("cancelled")

    with pytest.raises(exception.LocationError, match="cancelled"):
        studio.archive.add_component(other, studio.origin, on_progress=cancel)
    assert len(studio.names("archive")) == 1


def test_when_names_are_unknown_then_str_does_not_ask(studio: Studio, calls: list[Any]) -> None:
    assert str(studio.disk) == f'<Location("{studio.disk["name"]}", {studio.disk["id"]})>'
    nameless = studio.session.create("Location", {"id": studio.disk["id"][::-1]}, reconstructing=True)
    assert str(nameless) == f"<Location({nameless['id']})>"
    assert calls == []


def test_when_frames_are_committed_then_each_only_refers_to_its_sequence(
    studio: Studio, session: Session, calls: list[Any]
) -> None:
    """The sequence with its members, written out with every frame, makes requests of quadratic size."""
    sequence = studio.make_sequence(3)
    calls.clear()
    session.commit()
    creates = [
        operation
        for batch in calls
        for operation in batch
        if operation["action"] == "create" and operation["entity_type"] == "FileComponent"
    ]
    assert [operation["entity_data"]["container"] for operation in creates] == 3 * [
        {"__entity_type__": "SequenceComponent", "id": sequence["id"]}
    ]


def test_when_components_come_twice_then_they_are_added_and_removed_once(
    studio: Studio, session: Session, published: list[Any]
) -> None:
    sequence = studio.make_sequence(2)
    member = sequence["members"][0]
    published.clear()
    studio.disk.add_components([member, sequence, member], studio.origin)
    assert [data["component_id"] for _, data in published] == [
        component["id"] for component in (member, sequence["members"][1], sequence)
    ]
    rows = session.query(f"ComponentLocation where location_id is {studio.disk['id']}").all()
    assert len(rows) == 3
    studio.disk.remove_components([member, sequence, member])
    assert studio.names("disk") == []
    assert session.query(f"ComponentLocation where location_id is {studio.disk['id']}").all() == []


@pytest.mark.parametrize("source", ["/path/file.mov", None])
def test_when_the_source_is_no_location_then_the_error_says_what_it_must_be(
    studio: Studio, source: str | None
) -> None:
    component = studio.make_component()
    with pytest.raises(exception.LocationError, match="the source must be a location"):
        studio.disk.add_component(component, source)


def test_when_a_structure_is_wrong_then_the_error_says_how(studio: Studio) -> None:
    class Forgetful(Structure):
        def get_resource_identifier(self, entity: Any, context: Any = None) -> Any:
            return None

    class Wrong(Structure):
        def get_resource_identifier(self, entity: Any, context: Any = None) -> Any:
            return context["project"]

    component = studio.make_component()
    for structure, text in (
        (Forgetful(), r"Forgetful.get_resource_identifier\(\) returned None"),
        (Wrong(), "KeyError: 'project'"),
    ):
        studio.disk.structure = structure
        with pytest.raises(exception.LocationError, match=text):
            studio.disk.add_component(component, studio.origin)


def test_when_a_component_is_created_with_progress_then_it_is_reported(studio: Studio) -> None:
    seen: list[tuple[int, int]] = []
    studio.version.create_component(
        studio.write("a.mov", b"12345"), location=studio.disk, on_progress=lambda *n: seen.append(n)
    )
    assert seen[-1] == (5, 5)


def test_when_another_session_moves_a_sequence_then_frames_are_not_asked_one_by_one(
    studio: Studio, session: Session, sandbox
) -> None:
    sequences = [studio.make_sequence(20, name=name) for name in ("beauty", "depth")]
    studio.archive.add_components(sequences, studio.origin)
    with connect(sandbox) as other:
        batches: list[Any] = []
        call = other.call

        def record(data: Any) -> Any:
            batches.append(data)
            return call(data)

        locations = []
        for location in (studio.archive, studio.disk):
            theirs = other.get("Location", location["id"])
            theirs.accessor, theirs.structure = location.accessor, location.structure
            locations.append(theirs)
        found = [other.get("Component", sequence["id"]) for sequence in sequences]
        other.call = record
        locations[1].add_components(found, locations[0])
        # Two sequences of twenty frames; each asking for itself would be hundreds.
        assert len(batches) <= 20, [str(batch)[:300] for batch in batches]
    assert len(studio.names("disk")) == 40
