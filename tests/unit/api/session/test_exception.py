import pickle

import pytest
import requests

from ftrackd.api import exception
from ftrackd.errors import FtrackdError

#: Every name of the official client's exception module, with the base it must be caught by.
_NAMES = {
    "Error": FtrackdError,
    "AuthenticationError": exception.Error,
    "ServerError": exception.Error,
    "ServerCompatibilityError": exception.ServerError,
    "NotFoundError": exception.Error,
    "NotUniqueError": exception.Error,
    "IncorrectResultError": exception.Error,
    "NoResultFoundError": exception.IncorrectResultError,
    "MultipleResultsFoundError": exception.IncorrectResultError,
    "EntityTypeError": exception.Error,
    "UnrecognisedEntityTypeError": exception.EntityTypeError,
    "OperationError": exception.Error,
    "InvalidStateError": exception.Error,
    "InvalidStateTransitionError": exception.InvalidStateError,
    "AttributeError": exception.Error,
    "ImmutableAttributeError": exception.AttributeError,
    "CollectionError": exception.Error,
    "ImmutableCollectionError": exception.CollectionError,
    "DuplicateItemInCollectionError": exception.CollectionError,
    "ParseError": exception.Error,
    "EventHubError": exception.Error,
    "EventHubConnectionError": exception.EventHubError,
    "EventHubPacketError": exception.EventHubError,
    "PermissionDeniedError": exception.Error,
    "LocationError": exception.Error,
    "ComponentNotInAnyLocationError": exception.LocationError,
    "ComponentNotInLocationError": exception.LocationError,
    "ComponentInLocationError": exception.LocationError,
    "AccessorError": exception.Error,
    "AccessorOperationFailedError": exception.AccessorError,
    "AccessorUnsupportedOperationError": exception.AccessorOperationFailedError,
    "AccessorPermissionDeniedError": exception.AccessorOperationFailedError,
    "AccessorResourceIdentifierError": exception.AccessorError,
    "AccessorFilesystemPathError": exception.AccessorResourceIdentifierError,
    "AccessorResourceError": exception.AccessorError,
    "AccessorResourceNotFoundError": exception.AccessorResourceError,
    "AccessorParentResourceNotFoundError": exception.AccessorResourceError,
    "AccessorResourceInvalidError": exception.AccessorResourceError,
    "AccessorContainerNotEmptyError": exception.AccessorResourceError,
    "StructureError": exception.Error,
    "ConnectionClosedError": exception.Error,
}


@pytest.mark.parametrize("name", _NAMES)
def test_when_an_error_is_caught_by_its_family_then_it_is_caught(name: str) -> None:
    assert issubclass(getattr(exception, name), _NAMES[name])


def test_when_a_message_has_fields_then_details_fill_them() -> None:
    error = exception.Error("{what} is missing", details={"what": "A plate"})
    assert str(error) == "A plate is missing"
    assert error.details == {"what": "A plate"}


@pytest.mark.parametrize("text", ["KeyError: {'id': 1}", "{0}", "{", "set {a.b}"])
def test_when_a_text_has_braces_of_its_own_then_it_is_shown_as_it_is(text: str) -> None:
    assert str(exception.Error(text, details={"other": 1})) == text
    assert str(exception.ServerError(text)) == text
    assert str(exception.ServerError(text, details={"id": 1})) == text


def test_when_an_error_is_made_while_another_is_handled_then_it_holds_its_traceback() -> None:
    try:
        raise ValueError("the cause")
    except ValueError:
        error = exception.Error()
    assert "ValueError: the cause" in error.traceback
    assert exception.Error().traceback == ""


@pytest.mark.parametrize(
    "error",
    [
        exception.ComponentNotInLocationError(["a", "b"], "studio"),
        exception.UnrecognisedEntityTypeError("Shto"),
        exception.ServerError("no", exception="ValidationError", content="no", error_code="x", status=422),
        exception.AccessorOperationFailedError("remove", "a/b", ValueError("disk")),
    ],
)
def test_when_an_error_crosses_processes_then_nothing_is_lost(error: exception.Error) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__.keys() == error.__dict__.keys()


def test_when_components_are_named_then_the_error_lists_them() -> None:
    error = exception.ComponentInLocationError(["a", "b"], "studio")
    assert error.details["components"] == ["a", "b"]
    assert str(error) == "Component(s) a, b already exist in location studio."
    alone = exception.ComponentInLocationError({"id": 1}, "studio")
    assert alone.details["components"] == [{"id": 1}]


def test_when_only_a_text_is_given_to_an_accessor_error_then_it_is_the_operation() -> None:
    assert str(exception.AccessorOperationFailedError("text")) == "Operation text failed: None"


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("ServerConnectionError", requests.exceptions.ConnectionError),
        ("ServerTimeoutError", requests.exceptions.Timeout),
        ("ServerRequestError", requests.exceptions.RequestException),
    ],
)
def test_when_code_catches_the_error_of_requests_then_ours_is_caught(name: str, foreign: type) -> None:
    error_class = getattr(exception, name)
    assert issubclass(error_class, exception.NetworkError)
    with pytest.raises(foreign):
        raise error_class("gone")
    assert str(error_class("gone")) == "gone"


def test_when_a_name_is_unknown_then_the_module_says_so() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = exception.Nothing
