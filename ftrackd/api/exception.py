"""The errors of the client library, under the names plugins catch.

Everything derives from :class:`Error`, which is itself a :class:`ftrackd.errors.FtrackdError`::

    Error
    ├── AuthenticationError, PermissionDeniedError, ConnectionClosedError
    ├── ServerError                      the server answered with an error
    │   └── ServerCompatibilityError
    ├── NetworkError                     no usable answer from the server at all
    │   ├── ServerConnectionError        also a requests.exceptions.ConnectionError
    │   ├── ServerTimeoutError           also a requests.exceptions.Timeout
    │   └── ServerRequestError           also a requests.exceptions.RequestException
    ├── NotFoundError, NotUniqueError, ParseError, OperationError, StructureError
    ├── IncorrectResultError > NoResultFoundError, MultipleResultsFoundError
    ├── EntityTypeError > UnrecognisedEntityTypeError
    ├── InvalidStateError > InvalidStateTransitionError
    ├── AttributeError > ImmutableAttributeError
    ├── CollectionError > ImmutableCollectionError, DuplicateItemInCollectionError
    ├── EventHubError > EventHubConnectionError, EventHubPacketError
    ├── LocationError > ComponentNotInAnyLocationError, ComponentNotInLocationError, ...
    └── AccessorError > AccessorOperationFailedError, AccessorResourceIdentifierError, ...

The three network errors with a foreign base are made in :mod:`ftrackd.api._network_error`, on first use,
so that importing this module does not import requests.
"""

from __future__ import annotations

import sys
import traceback as _traceback
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ftrackd.errors import FtrackdError

if TYPE_CHECKING:
    from ftrackd.api._network_error import ServerConnectionError as ServerConnectionError
    from ftrackd.api._network_error import ServerRequestError as ServerRequestError
    from ftrackd.api._network_error import ServerTimeoutError as ServerTimeoutError

_NETWORK_ERRORS = frozenset({"ServerConnectionError", "ServerRequestError", "ServerTimeoutError"})


def __getattr__(name: str) -> Any:
    if name in _NETWORK_ERRORS:
        from ftrackd.api import _network_error

        return getattr(_network_error, name)
    raise _builtin_attribute_error(f"module {__name__!r} has no attribute {name!r}")


class Error(FtrackdError):
    """The root of the client's errors.

    `message` may hold ``{name}`` fields that are filled from `details`; a message whose braces are not
    such fields is shown as it is. `traceback` holds the text of the error that was being handled when this
    one was made.
    """

    default_message = "Unspecified error occurred."

    def __init__(self, message: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, details)
        self.message: str = self.default_message if message is None else message
        self.details: dict[str, Any] = dict(details) if details else {}
        self.traceback: str = _traceback.format_exc() if sys.exc_info()[0] is not None else ""

    def __str__(self) -> str:
        if not self.details:
            return str(self.message)
        try:
            return str(self.message).format(**self.details)
        except (KeyError, IndexError, ValueError, TypeError, _builtin_attribute_error):
            # Braces that are part of somebody's text, not fields of ours.
            return str(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.__dict__.copy(), self.args)


def _restore(error_class: type[Error], state: dict[str, Any], args: tuple[Any, ...]) -> Error:
    """Rebuild a pickled error without its constructor, whose signature differs from class to class."""
    error = error_class.__new__(error_class)
    error.args = args
    error.__dict__.update(state)
    return error


class AuthenticationError(Error):
    """The server does not accept the credentials."""

    default_message = "Authentication error."


class ServerError(Error):
    """The server answered with an error.

    Attributes: `exception` the server's name for the kind of error (None when the answer was not from
    ftrack), `content` the text it sent, `error_code` its code when it gave one, `status` the HTTP status
    when known.
    """

    default_message = "Server reported error processing request."

    def __init__(
        self,
        message: str | None = None,
        details: Mapping[str, Any] | None = None,
        *,
        exception: str | None = None,
        content: str | None = None,
        error_code: Any = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, details)
        self.exception = exception
        self.content = content
        self.error_code = error_code
        self.status = status

    def __str__(self) -> str:
        # The text is the server's: braces in it are never fields.
        if self.message == self.default_message:
            return super().__str__()
        return str(self.message)


class ServerCompatibilityError(ServerError):
    """The server lacks what this client needs."""

    default_message = "Server incompatible."


class NetworkError(Error):
    """No usable answer came from the server: refused, dropped, timed out, or nonsense on the wire."""

    default_message = "Server could not be reached."


class NotFoundError(Error):
    """Something that was asked for does not exist."""

    default_message = "Not found."


class NotUniqueError(Error):
    """Something that must be unique exists already."""

    default_message = "Non-unique value detected."


class IncorrectResultError(Error):
    """A query gave another number of results than was asked for."""

    default_message = "Incorrect result detected."


class NoResultFoundError(IncorrectResultError):
    """A result was needed and there was none."""

    default_message = "Expected result, but no result was found."


class MultipleResultsFoundError(IncorrectResultError):
    """One result was needed and there were several."""

    default_message = "Expected single result, but received multiple results."


class EntityTypeError(Error):
    """Something is wrong with an entity type."""

    default_message = "Entity type error."


class UnrecognisedEntityTypeError(EntityTypeError):
    """The server's schemas do not name the entity type."""

    default_message = 'Entity type "{entity_type}" not recognised.'

    def __init__(
        self, entity_type: str, message: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, {**(details or {}), "entity_type": entity_type})


class OperationError(Error):
    """Something is wrong with a recorded operation."""

    default_message = "Operation error."


class InvalidStateError(Error):
    """An entity is in a state that does not allow what was asked."""

    default_message = "Invalid state."


class InvalidStateTransitionError(InvalidStateError):
    """An entity cannot go from one state to the other."""

    default_message = (
        "Invalid transition from {current_state!r} to {target_state!r} state for entity {entity}"
    )

    def __init__(
        self,
        current_state: Any,
        target_state: Any,
        entity: Any,
        message: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        own = {"current_state": current_state, "target_state": target_state, "entity": entity}
        super().__init__(message, {**(details or {}), **own})


_builtin_attribute_error = AttributeError


class AttributeError(Error):
    """Something is wrong with an attribute of an entity."""

    default_message = "Attribute error."


class ImmutableAttributeError(AttributeError):
    """The attribute has a value and may not get another one."""

    default_message = 'Cannot modify value of immutable "{attribute.name}" attribute.'

    def __init__(
        self, attribute: Any, message: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, {**(details or {}), "attribute": attribute})


class CollectionError(Error):
    """Something is wrong with a collection."""

    default_message = "Collection error."

    def __init__(
        self, collection: Any, message: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, {**(details or {}), "collection": collection})


class ImmutableCollectionError(CollectionError):
    """The collection may not be changed."""

    default_message = "Cannot modify value of immutable collection {collection!r}."


class DuplicateItemInCollectionError(CollectionError):
    """The collection holds the item already."""

    default_message = "Item {item} already exists in collection {collection!r}."

    def __init__(
        self, item: Any, collection: Any, message: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(collection, message, {**(details or {}), "item": item})


class ParseError(Error):
    """An expression cannot be understood."""

    default_message = "Failed to parse."


class EventHubError(Error):
    """Something is wrong with the event hub."""

    default_message = "Event hub error occurred."


class EventHubConnectionError(EventHubError):
    """The event hub is not connected, or cannot connect."""

    default_message = "Event hub is not connected."


class EventHubPacketError(EventHubError):
    """A packet of the event hub cannot be understood or built."""

    default_message = "Invalid packet."


class PermissionDeniedError(Error):
    """The user may not do what was asked."""

    default_message = "Permission denied."


class LocationError(Error):
    """Something is wrong with a location."""

    default_message = "Unspecified location error"


class ComponentNotInAnyLocationError(LocationError):
    """The component is in no location."""

    default_message = "Component not available in any location."


class ComponentNotInLocationError(LocationError):
    """Components are not in the location; `details["components"]` names them."""

    default_message = "Component(s) {formatted_components} not found in location {location}."

    def __init__(
        self,
        components: Any,
        location: Any,
        message: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, {**(details or {}), **_component_details(components, location)})


class ComponentInLocationError(LocationError):
    """Components are in the location already; `details["components"]` names them."""

    default_message = "Component(s) {formatted_components} already exist in location {location}."

    def __init__(
        self,
        components: Any,
        location: Any,
        message: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, {**(details or {}), **_component_details(components, location)})


def _component_details(components: Any, location: Any) -> dict[str, Any]:
    # One component is a mapping and therefore iterable too.
    many = isinstance(components, Iterable) and not isinstance(components, Mapping)
    listed = list(components) if many else [components]
    formatted = ", ".join(str(component) for component in listed)
    return {"components": listed, "formatted_components": formatted, "location": location}


class AccessorError(Error):
    """Something is wrong with an accessor."""

    default_message = "Unspecified accessor error"


class _AccessorResultError(AccessorError):
    """What the errors about one operation on one resource share."""

    def __init__(
        self,
        operation: str = "",
        resource_identifier: str | None = None,
        error: BaseException | str | None = None,
        message: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        own = {"operation": operation, "resource_identifier": resource_identifier, "error": error}
        super().__init__(message, {**(details or {}), **own})


class AccessorOperationFailedError(_AccessorResultError):
    """An operation of an accessor failed."""

    default_message = "Operation {operation} failed: {error}"


class AccessorUnsupportedOperationError(AccessorOperationFailedError):
    """The accessor does not know the operation."""

    default_message = "Operation {operation} unsupported."


class AccessorPermissionDeniedError(AccessorOperationFailedError):
    """The storage refused the operation."""

    default_message = "Cannot {operation} {resource_identifier}. Permission denied."


class AccessorResourceIdentifierError(AccessorError):
    """The accessor cannot make sense of a resource identifier."""

    default_message = "Resource identifier is invalid: {resource_identifier}."

    def __init__(
        self, resource_identifier: Any, message: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, {**(details or {}), "resource_identifier": resource_identifier})


class AccessorFilesystemPathError(AccessorResourceIdentifierError):
    """A resource identifier cannot become a path on the file system."""

    default_message = "Could not determine filesystem path from resource identifier: {resource_identifier}."


class AccessorResourceError(_AccessorResultError):
    """Something is wrong with a resource in the storage."""

    default_message = "Unspecified resource error: {resource_identifier}"


class AccessorResourceNotFoundError(AccessorResourceError):
    """The resource does not exist."""

    default_message = "Resource not found: {resource_identifier}"


class AccessorParentResourceNotFoundError(AccessorResourceError):
    """The container of the resource does not exist, or lies outside of what the accessor may reach."""

    default_message = "Parent resource is missing: {resource_identifier}"


class AccessorResourceInvalidError(AccessorResourceError):
    """The resource is not of the kind that the operation needs."""

    default_message = "Resource invalid: {resource_identifier}"


class AccessorContainerNotEmptyError(AccessorResourceError):
    """The container still holds resources."""

    default_message = "Container is not empty: {resource_identifier}"


class StructureError(Error):
    """A structure cannot make a resource identifier."""

    default_message = "Unspecified structure error"


class ConnectionClosedError(Error):
    """The session was closed before it was used."""

    default_message = "Connection closed."
