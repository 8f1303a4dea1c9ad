"""Locations: where the data of components is."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftrackd.api import _transfer, inspection, symbol
from ftrackd.api.entity import _location_error, _location_query
from ftrackd.api.entity._location_mixin import (
    MemoryLocationMixin,
    OriginLocationMixin,
    ServerLocationMixin,
    UnmanagedLocationMixin,
)
from ftrackd.api.entity.base import Entity
from ftrackd.api.event.base import Event
from ftrackd.api.exception import (
    AccessorParentResourceNotFoundError,
    AccessorResourceNotFoundError,
    AccessorUnsupportedOperationError,
    ComponentInLocationError,
    ComponentNotInLocationError,
    NetworkError,
    ServerError,
)
from ftrackd.api.logging import LazyLogMessage as L

if TYPE_CHECKING:
    from ftrackd.api.accessor.base import Accessor
    from ftrackd.api.resource_identifier_transformer.base import ResourceIdentifierTransformer
    from ftrackd.api.structure.base import Structure

__all__ = [
    "Location",
    "MemoryLocationMixin",
    "OriginLocationMixin",
    "ServerLocationMixin",
    "UnmanagedLocationMixin",
]


class Location(Entity):
    """A storage of components.

    Plugins give a location its :attr:`accessor`, :attr:`structure` and, if need be,
    :attr:`resource_identifier_transformer`. All are ``symbol.NOT_SET``, which is falsy, until then.
    """

    #: Decides the resource identifiers of components that are added.
    structure: Structure | symbol.Symbol = symbol.NOT_SET

    #: Translates resource identifiers to what is stored on the server and back.
    resource_identifier_transformer: ResourceIdentifierTransformer | symbol.Symbol = symbol.NOT_SET

    #: Of several locations the one with the lowest number is picked.
    priority: int = 95

    _accessor: Accessor | symbol.Symbol = symbol.NOT_SET

    @property
    def accessor(self) -> Accessor | symbol.Symbol:
        """How the data is reached; ``symbol.NOT_SET`` in a location that this session cannot reach."""
        return self._accessor

    @accessor.setter
    def accessor(self, accessor: Accessor | symbol.Symbol) -> None:
        self._accessor = accessor
        if accessor:
            # What a plugin configured outlasts the identity map, which a reset empties.
            self.session.remember_configured_location(self)

    def __str__(self) -> str:
        """Return class, id, and the name, if that is known without asking."""
        with self.session.auto_populating(False):
            name = self["name"]
        known_name = "" if name is symbol.NOT_SET else f'"{name}", '
        return f"<{type(self).__name__}({known_name}{self['id']})>"

    def add_component(
        self,
        component: Entity,
        source: Any,
        recursive: bool = True,
        *,
        on_progress: _transfer.OnProgress | None = None,
    ) -> None:
        """Add *component* with its data, taken from the location *source*; see :meth:`add_components`."""
        self.add_components([component], [source], recursive=recursive, on_progress=on_progress)

    def add_components(
        self,
        components: Sequence[Entity],
        sources: Any,
        recursive: bool = True,
        _depth: int = 0,
        *,
        on_progress: _transfer.OnProgress | None = None,
    ) -> None:
        """Add *components* with their data.

        All are copied first and then registered in one commit of the session, followed by one
        ``ftrack.location.component-added`` event each. When anything fails nothing is registered; adding
        them again takes over the data that had been copied completely.

        Args:
            components: The components; nothing happens without any.
            sources: The location to take all of them from, or one for each.
            recursive: Whether the members of containers are added too. Members that the location has
                already are left alone.
            on_progress: Called with the bytes done and the bytes expected in all, from this thread: at
                the beginning, after every chunk and at the end. An error it raises ends the transfer.

        Raises:
            ValueError: There are neither one nor as many sources as components.
            ComponentInLocationError: Some of *components* are in this location; nothing was copied.
            LocationError: The location is not configured, or the transfer failed.
                ``details["transferred"]`` then lists ``(component, resource identifier)`` for the data
                that was copied completely.
        """
        pairs = _transfer.pair_with_sources(components, sources)
        if not pairs:
            return
        structure: Structure = _transfer.require(self, "structure")
        present = self._find_present([component for component, _ in pairs])
        if present:
            raise ComponentInLocationError(present, self)
        pairs = self._with_members(pairs) if recursive else _transfer.unique(pairs)
        transfer = _transfer.Transfer(pairs, on_progress)
        with transfer.running():
            for component, source in pairs:
                try:
                    with transfer.component(component):
                        context = self._get_context(component, source)
                        identifier = _transfer.identify(component, structure, context)
                        self._add_data(component, identifier, source)
                # Structures and accessors are plugins' code, which may raise anything.
                except Exception as error:
                    raise _location_error.transfer_failed(
                        self, component, error, transfer.transferred
                    ) from error
                transfer.note_transferred(component, identifier)
            self._refuse_occupied(transfer)
        for component in self._register(transfer.transferred):
            self._publish(symbol.COMPONENT_ADDED_TO_LOCATION_TOPIC, component)

    def remove_component(self, component: Entity, recursive: bool = True) -> None:
        """Remove *component* and its data; see :meth:`remove_components`."""
        self.remove_components([component], recursive=recursive)

    def remove_components(self, components: Sequence[Entity], recursive: bool = True) -> None:
        """Remove *components* and their data.

        Each gets one ``ftrack.location.component-removed`` event. When removing data fails, what was
        removed before is no longer registered and the rest still is. Data that is missing already is no
        error.

        Args:
            components: The components; nothing happens without any.
            recursive: Whether the members of containers that are in this location are removed too.

        Raises:
            ComponentNotInLocationError: Some of *components* are not in this location; nothing was removed.
            AccessorError: Removing data failed.
        """
        if not components:
            return
        # Before anything is removed, all must be known to be here.
        self._get_resource_identifiers(components)
        pairs: list[tuple[Entity, Any]] = [(component, self) for component in components]
        pairs = self._with_members(pairs, present=True) if recursive else _transfer.unique(pairs)
        removed: list[Entity] = []
        try:
            with _transfer.Transfer(pairs).running():
                for component, _ in pairs:
                    self._remove_data(component)
                    removed.append(component)
        finally:
            if removed:
                self._deregister_components_in_location(removed)
                for component in removed:
                    self._publish(symbol.COMPONENT_REMOVED_FROM_LOCATION_TOPIC, component)

    def get_component_availability(self, component: Entity) -> float:
        """Return how much of *component* is here, in percent."""
        return self.get_component_availabilities([component])[0]

    def get_component_availabilities(self, components: Sequence[Entity]) -> list[float]:
        """Return how much of each of *components* is here, in percent."""
        availabilities = self.session.get_component_availabilities(components, locations=[self])
        return [availability[self["id"]] for availability in availabilities]

    def get_resource_identifier(self, component: Entity) -> str:
        """Return the resource identifier of *component*; raises ``ComponentNotInLocationError``."""
        return self.get_resource_identifiers([component])[0]

    def get_resource_identifiers(self, components: Sequence[Entity]) -> list[str]:
        """Return the resource identifiers of *components*, in their order.

        Raises ``ComponentNotInLocationError`` with all the missing ones.
        """
        return self._get_resource_identifiers(components)

    def get_filesystem_path(self, component: Entity) -> str:
        """Return the path of *component* on this machine; see :meth:`get_filesystem_paths`."""
        return self.get_filesystem_paths([component])[0]

    def get_filesystem_paths(self, components: Sequence[Entity]) -> list[str]:
        """Return the paths of *components* on this machine.

        Raises ``ComponentNotInLocationError``, ``LocationError`` when no accessor is configured and
        ``AccessorError`` when the storage has no paths.
        """
        identifiers = self.get_resource_identifiers(components)
        accessor: Accessor = _transfer.require(self, "accessor")
        return [accessor.get_filesystem_path(identifier) for identifier in identifiers]

    def get_url(self, component: Entity) -> str:
        """Return the URL of *component*.

        Raises ``ComponentNotInLocationError``, ``LocationError`` when no accessor is configured and
        ``AccessorUnsupportedOperationError`` when the storage has no URLs.
        """
        identifier = self.get_resource_identifier(component)
        accessor: Accessor = _transfer.require(self, "accessor")
        return accessor.get_url(identifier)

    def _get_context(self, component: Entity, source: Any) -> dict[str, Any]:
        """Return what the structure may know about *component*: its identifier at *source*."""
        context: dict[str, Any] = {}
        if source:
            with contextlib.suppress(ComponentNotInLocationError):
                context["source_resource_identifier"] = _transfer.get_source_identifier(component, source)
        return context

    def _add_data(self, component: Entity, resource_identifier: str, source: Any) -> None:
        """Copy the data of *component* from *source* to *resource_identifier*.

        A sequence has no data besides its members'. Raises ``LocationError`` when there is other data.
        """
        accessor: Accessor = _transfer.require(self, "accessor")
        self.logger.debug(
            L("Adding data of component {0!r} from source {1} to location {2}.", component, source, self)
        )
        if _transfer.is_container(component):
            if component.entity_type != "SequenceComponent":
                accessor.make_container(resource_identifier)
            return
        # Directly in the prefix, or in a storage that knows no containers, there is nothing to make.
        with contextlib.suppress(
            AccessorParentResourceNotFoundError, AccessorUnsupportedOperationError, NotImplementedError
        ):
            accessor.make_container(accessor.get_container(resource_identifier))
        source_identifier = _transfer.get_source_identifier(component, source)
        origin = (_transfer.require(source, "accessor"), source_identifier)
        target = (accessor, resource_identifier)
        if not accessor.exists(resource_identifier):
            try:
                _transfer.copy_data(origin, target)
                return
            except FileExistsError:
                self.logger.debug(L("Somebody else was faster to put data at {0}.", resource_identifier))
        # What an interrupted transfer copied completely is taken over, as is what another process just
        # copied for the same component; nothing is ever overwritten.
        is_same = _transfer.has_same_data(origin, target)
        transfer = _transfer.current()
        if is_same and transfer is not None:
            transfer.note_taken_over(component, resource_identifier)
            return
        holders = self._find_holders([(component, resource_identifier)])
        if holders or not is_same:
            raise _location_error.occupied(resource_identifier, holders.get(component["id"], ()))

    def _refuse_occupied(self, transfer: _transfer.Transfer) -> None:
        """Raise ``LocationError`` when what *transfer* took over is another component's.

        Asked for all at once, and as late as can be: the other one may be added at the same time.
        """
        holders = self._find_holders(transfer.taken_over)
        for component, identifier in transfer.taken_over:
            if component["id"] in holders:
                error = _location_error.occupied(identifier, holders[component["id"]])
                rest = _without(transfer.transferred, [component])
                raise _location_error.transfer_failed(self, component, error, rest) from error

    def _find_holders(self, pairs: Sequence[tuple[Entity, str]]) -> dict[str, list[str]]:
        """Return, by component id, the ids of other components whose data is at its resource identifier."""
        stored = [self._encode_resource_identifier(*pair) for pair in pairs]
        registered = _location_query.find_identifier_holders(self, stored)
        transfer = _transfer.current()
        found: dict[str, list[str]] = {}
        for (component, identifier), text in zip(pairs, stored, strict=True):
            added = transfer.find_holder(identifier) if transfer is not None else None
            holders = [*registered.get(text, ()), *([added] if added is not None else ())]
            if others := [holder for holder in holders if holder != component["id"]]:
                found[component["id"]] = others
        return found

    def _remove_data(self, component: Entity) -> None:
        """Remove the data of *component*; data that is gone already is no error."""
        identifier = _transfer.get_source_identifier(component, self)
        accessor: Accessor = _transfer.require(self, "accessor")
        try:
            accessor.remove(identifier)
        except AccessorResourceNotFoundError:
            # A sequence has none besides its members', and a removal that was killed may have got this far.
            if component.entity_type != "SequenceComponent":
                self.logger.warning(L("The data of {0!r} was missing in location {1}.", component, self))

    def _register_components_in_location(
        self, components: Sequence[Entity], resource_identifiers: Sequence[str]
    ) -> None:
        """Record on the server that *components* are here, all or none."""
        rows: list[Entity] = []
        sent: list[Any] = []
        try:
            for component, identifier in zip(components, resource_identifiers, strict=True):
                row = self._register_component_in_location(component, identifier)
                rows.extend([row] if row is not None else [])
            sent = list(self.session.recorded_operations)
            self.session.commit()
        except BaseException as error:
            if _may_have_been_done(error) and _location_query.exist(self.session, rows):
                # The commit is one transaction: what is there of it says that all of it was done.
                self.session.settle_unanswered(sent)
                return
            # Else the next commit, whoever makes it, would register what this call reports as failed.
            self.session.withdraw(rows)
            raise

    def _register_component_in_location(self, component: Entity, resource_identifier: str) -> Entity | None:
        """Create the record that *component* is here, to be committed."""
        row: Entity = self.session.create(
            "ComponentLocation",
            {"component": component, "location": self, "resource_identifier": resource_identifier},
        )
        return row

    def _deregister_components_in_location(self, components: Sequence[Entity]) -> None:
        """Remove the records that *components* are here."""
        if type(self)._deregister_component_in_location is not Location._deregister_component_in_location:
            for component in components:
                self._deregister_component_in_location(component)
            return
        for row in _location_query.find_component_locations(self, components):
            self.session.delete(row)
        self.session.commit()

    def _deregister_component_in_location(self, component: Entity) -> None:
        """Remove the record that *component* is here; where this is overridden it is called for each."""
        self._deregister_components_in_location([component])

    def _get_resource_identifiers(self, components: Sequence[Entity]) -> list[str]:
        """Return the identifiers of *components*; raises ``ComponentNotInLocationError``."""
        stored = _location_query.find_resource_identifiers(self, components)
        missing = [component for component in components if component["id"] not in stored]
        if missing:
            raise ComponentNotInLocationError(missing, self)
        identifiers = [stored[component["id"]] for component in components]
        transformer: Any = self.resource_identifier_transformer
        if not transformer:
            return identifiers
        return [
            transformer.decode(identifier, context={"component": component})
            for component, identifier in zip(components, identifiers, strict=True)
        ]

    def _encode_resource_identifier(self, component: Entity, resource_identifier: str) -> str:
        transformer: Any = self.resource_identifier_transformer
        if not transformer:
            return resource_identifier
        encoded: str = transformer.encode(resource_identifier, context={"component": component})
        return encoded

    def _with_members(
        self, pairs: Sequence[tuple[Entity, Any]], *, present: bool = False
    ) -> list[tuple[Entity, Any]]:
        """Return *pairs* of component and source with the members of containers, each before its container.

        Of the members only those that are not here yet, or with *present* only those that are here.
        """
        flat = _transfer.unique(_transfer.flatten(pairs, self.session))
        asked_for = {component["id"] for component, _ in pairs}
        members = [component for component, _ in flat if component["id"] not in asked_for]
        members_here = {component["id"] for component in self._find_present(members)}
        return [
            (component, source)
            for component, source in flat
            if component["id"] in asked_for or (component["id"] in members_here) is present
        ]

    def _find_present(self, components: list[Entity]) -> list[Entity]:
        """Return those of *components* that are in this location."""
        if not components:
            return []
        try:
            self._get_resource_identifiers(components)
        except ComponentNotInLocationError as error:
            missing = {component["id"] for component in error.details["components"]}
            return [component for component in components if component["id"] not in missing]
        return components

    def _register(self, transferred: Sequence[tuple[Entity, str]]) -> list[Entity]:
        """Register what was transferred, and return the components that this call registered."""
        # Copying may have taken hours, in which somebody else added the same.
        committed = [item for item, _ in transferred if inspection.state(item) is not symbol.CREATED]
        pairs = list(transferred)
        try:
            present = self._find_present(committed)
            while pairs := _without(transferred, present):
                try:
                    identifiers = [self._encode_resource_identifier(*pair) for pair in pairs]
                    self._register_components_in_location([item for item, _ in pairs], identifiers)
                    break
                except ServerError:
                    before, present = present, self._find_present(committed)
                    # Refused, unless somebody was faster once more, between the question and the commit.
                    if len(present) <= len(before):
                        raise
            return [component for component, _ in pairs]
        # The server, the network, or a plugin's transformer or overridden method.
        except Exception as error:
            raise _location_error.registration_failed(self, len(pairs), error, transferred) from error

    def _publish(self, topic: str, component: Entity) -> None:
        data = {"component_id": component["id"], "location_id": self["id"]}
        self.session.event_hub.publish(Event(topic=topic, data=data), on_error="ignore")


def _without(pairs: Sequence[tuple[Entity, str]], components: Sequence[Entity]) -> list[tuple[Entity, str]]:
    identifiers = {component["id"] for component in components}
    return [pair for pair in pairs if pair[0]["id"] not in identifiers]


def _may_have_been_done(error: BaseException) -> bool:
    """Return whether *error* leaves open if the server did what it was asked."""
    # An error without a name of the server's was made up by something on the way.
    return isinstance(error, NetworkError) or (isinstance(error, ServerError) and error.exception is None)
