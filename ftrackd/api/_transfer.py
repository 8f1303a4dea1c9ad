"""One call of adding components to a location: what belongs to it, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from ftrackd.api import symbol
from ftrackd.api.accessor.base import Accessor
from ftrackd.api.exception import ComponentNotInLocationError, LocationError, StructureError

if TYPE_CHECKING:
    from ftrackd.api.data import Data
    from ftrackd.api.entity.base import Entity
    from ftrackd.api.structure.base import Structure

#: Called with the bytes done and the bytes expected in all.
OnProgress = Callable[[int, int], None]

#: What structures and transfers read of the members of containers.
_MEMBER_PROJECTIONS: Final = ", ".join(
    f"members.{name}" for name in ("name", "file_type", "size", "system_type", "container_id")
)

_current: ContextVar[Transfer | None] = ContextVar("ftrack_api_transfer", default=None)


def current() -> Transfer | None:
    """Return the transfer that this thread is in.

    Overridden methods of locations keep the signatures that plugins know, so that what belongs to the
    whole transfer cannot be passed through them.
    """
    return _current.get()


def get_source_identifier(component: Entity, source: Any) -> str:
    """Return the identifier of *component* in the location *source*, looked up already or asked for now.

    Raises ``ComponentNotInLocationError``, and ``TypeError`` when *source* is no location.
    """
    if not hasattr(source, "get_resource_identifier"):
        raise TypeError(f"the source must be a location, such as ftrack.origin, not {source!r}")
    transfer = current()
    known = transfer.find_source_identifier(component, source) if transfer is not None else None
    if known is not None:
        return known
    identifier: str = source.get_resource_identifier(component)
    return identifier


def identify(component: Entity, structure: Structure, context: dict[str, Any]) -> str:
    """Return what *structure* calls *component*; raises ``StructureError`` when that is no text."""
    identifier: Any = structure.get_resource_identifier(component, context)
    if not isinstance(identifier, str):
        raise StructureError(
            "{structure}.get_resource_identifier() returned {identifier!r} instead of text.",
            details={"structure": type(structure).__name__, "identifier": identifier},
        )
    return identifier


class Transfer:
    """Progress of a transfer, and the identifiers that its components have at their sources."""

    def __init__(
        self, components: Sequence[tuple[Entity, Any]], on_progress: OnProgress | None = None
    ) -> None:
        """Prepare for pairs of component and source."""
        self._components = components
        self._on_progress = on_progress
        self._identifiers: dict[tuple[int, str], str] = {}
        #: What was copied completely, in that order.
        self.transferred: list[tuple[Entity, str]] = []
        #: What of that was there before.
        self.taken_over: list[tuple[Entity, str]] = []
        self._holders: dict[str, str] = {}
        self._done = 0
        self._total = sum(_get_size(component) for component, _ in components) if on_progress else 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be the current transfer of this thread meanwhile."""
        token = _current.set(self)
        try:
            self._look_up_sources()
            self._report()
            yield
        finally:
            _current.reset(token)

    def find_source_identifier(self, component: Entity, source: Any) -> str | None:
        """Return the identifier of *component* in the location *source* if it was looked up."""
        return self._identifiers.get((id(source), component["id"]))

    def note_transferred(self, component: Entity, resource_identifier: str) -> None:
        """Record that all of *component* is at *resource_identifier*."""
        self.transferred.append((component, resource_identifier))
        self._holders.setdefault(resource_identifier, component["id"])

    def note_taken_over(self, component: Entity, resource_identifier: str) -> None:
        """Record that the data of *component* was at *resource_identifier* already."""
        self.taken_over.append((component, resource_identifier))

    def find_holder(self, resource_identifier: str) -> str | None:
        """Return the id of the component that this transfer put at *resource_identifier*."""
        return self._holders.get(resource_identifier)

    def note_bytes(self, count: int) -> None:
        """Report *count* more bytes."""
        self._done += count
        self._report()

    @contextmanager
    def component(self, component: Entity) -> Iterator[None]:
        """Count *component* as done at the end, whether or not its bytes were reported one by one.

        A size on the server that is not that of the data corrects what is expected in all.
        """
        before = self._done
        yield
        if self._on_progress is None:
            return
        size = _get_size(component)
        if self._done == before:
            self._done += size
        self._total += self._done - before - size
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._done, max(self._done, self._total))

    def _look_up_sources(self) -> None:
        """Ask each source once for all of its components."""
        by_source: dict[int, tuple[Any, list[Entity]]] = {}
        for component, source in self._components:
            if hasattr(source, "get_resource_identifiers"):
                by_source.setdefault(id(source), (source, []))[1].append(component)
        for source, components in by_source.values():
            try:
                identifiers = source.get_resource_identifiers(components)
            except ComponentNotInLocationError:
                # Whoever needs one of the missing is told when its turn comes.
                continue
            for component, identifier in zip(components, identifiers, strict=True):
                self._identifiers[id(source), component["id"]] = identifier


def copy_data(source: tuple[Accessor, str], target: tuple[Accessor, str]) -> None:
    """Copy from one accessor and identifier to another: wholly or not at all.

    Raises ``AccessorError`` and ``OSError``.
    """
    source_accessor, source_identifier = source
    target_accessor: Any = target[0]
    target_identifier = target[1]
    transfer = current()
    on_bytes = transfer.note_bytes if transfer is not None else None
    data = source_accessor.open(source_identifier, "rb")
    try:
        if isinstance(target_accessor, Accessor):
            target_accessor.receive_data(target_identifier, data, on_bytes)
        else:
            # Made to look like an accessor without being derived from one.
            Accessor.receive_data(target_accessor, target_identifier, data, on_bytes)
    finally:
        data.close()


def has_same_data(source: tuple[Accessor, str], target: tuple[Accessor, str]) -> bool:
    """Return whether both hold the same bytes."""
    (source_accessor, source_identifier), (target_accessor, target_identifier) = source, target
    ours = source_accessor.open(source_identifier, "rb")
    try:
        theirs = target_accessor.open(target_identifier, "rb")
        try:
            return _read_same(ours, theirs)
        finally:
            theirs.close()
    finally:
        ours.close()


def _read_same(ours: Data, theirs: Data) -> bool:
    while True:
        chunk = ours.read(symbol.CHUNK_SIZE)
        if chunk != theirs.read(symbol.CHUNK_SIZE):
            return False
        if not chunk:
            return True


def _get_size(component: Entity) -> int:
    """Return the bytes to expect for *component* itself: containers have none besides their members'."""
    return 0 if is_container(component) else int(component["size"] or 0)


def is_container(component: Entity) -> bool:
    """Return whether *component* can have members: a sequence or another container."""
    return "members" in component.keys()  # noqa: SIM118 "in component" would load the members


def pair_with_sources(components: Sequence[Entity], sources: Any) -> list[tuple[Entity, Any]]:
    """Return each component with the location to take it from.

    Raises ``ValueError`` when there are neither one nor as many *sources* as *components*.
    """
    # An entity is a mapping and a path is text: both are one source.
    many = isinstance(sources, Sequence) and not isinstance(sources, str)
    listed = list(sources) if many else [sources]
    if len(listed) == 1:
        listed *= len(components)
    if len(listed) != len(components):
        raise ValueError(
            f"There must be one source for all components or one for each of the {len(components)}, "
            f"not {len(listed)}."
        )
    return list(zip(components, listed, strict=True))


def flatten(pairs: Sequence[tuple[Entity, Any]], session: Any) -> list[tuple[Entity, Any]]:
    """Return *pairs* of component and source with all members, each before its container.

    The members of containers are loaded into *session* in one call per level of containers.
    """
    level = [component for component, _ in pairs]
    while containers := [component for component in level if is_container(component)]:
        session.populate(containers, _MEMBER_PROJECTIONS)
        level = [member for container in containers for member in container["members"]]
    flat: list[tuple[Entity, Any]] = []
    for component, source in pairs:
        _append_members_first(component, source, flat)
    return flat


def _append_members_first(component: Entity, source: Any, flat: list[tuple[Entity, Any]]) -> None:
    if is_container(component):
        for member in component["members"]:
            _append_members_first(member, source, flat)
    flat.append((component, source))


def unique(pairs: Sequence[tuple[Entity, Any]]) -> list[tuple[Entity, Any]]:
    """Return *pairs* of component and source without those whose component came before."""
    first: dict[str, tuple[Entity, Any]] = {}
    for component, source in pairs:
        first.setdefault(component["id"], (component, source))
    return list(first.values())


def require(location: Any, name: str) -> Any:
    """Return the accessor or structure of *location*; raises ``LocationError`` when it has none."""
    value = getattr(location, name)
    if not value:
        raise LocationError(
            "The location {location} has no {name} in this session. The plugin that sets it, when "
            "ftrack.api.session.configure-location is published, is missing on the plugin path or failed.",
            details={"location": location, "name": name},
        )
    return value
