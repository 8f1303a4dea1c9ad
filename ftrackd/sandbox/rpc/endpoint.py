"""``POST /api``: a batch of operations in, results out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from starlette.responses import Response

from ftrackd.sandbox import json_text
from ftrackd.sandbox.auth import INVALID_CREDENTIALS, Actor
from ftrackd.sandbox.errors import RequestError
from ftrackd.sandbox.rpc import administration, rows, uploads
from ftrackd.sandbox.rpc.batch import Batch, RequestOptions
from ftrackd.sandbox.rpc.operation import Operation
from ftrackd.sandbox.rpc.reply import (
    InvalidActionError,
    InvalidCredentialsError,
    MalformedRequestError,
    describe_error,
    is_strict,
    json_response,
)

if TYPE_CHECKING:
    from ftrackd.sandbox.services import Services

Action: TypeAlias = Callable[[Batch, Operation], Any]

ACTIONS: Final[Mapping[str, Action]] = {
    **rows.ACTIONS,
    **administration.ACTIONS,
    **uploads.ACTIONS,
}

#: Batches of these alone never wait for another's transaction.
READING: Final = frozenset(
    {
        "query",
        "search",
        "query_server_information",
        "query_schemas",
        "get_widget_url",
        "get_upload_metadata",
        "complete_multipart_upload",
        "_generate_signed_url",
        "generate_signed_url",
        "compute_rollups",
        "permissions",
        "_track_usage",
    }
)

_logger = logging.getLogger(__name__)


def answer_request(services: Services, body: bytes, headers: Mapping[str, str], server_url: str) -> Response:
    """Return the response to the *body* of a request; errors answer 200 unless the client is strict."""
    try:
        actor = services.authenticator.authenticate(headers.get("ftrack-user"), headers.get("ftrack-api-key"))
        if actor is None:
            raise InvalidCredentialsError(INVALID_CREDENTIALS)
        return json_response(_answer(services, actor, body, RequestOptions.from_headers(headers, server_url)))
    except Exception as error:  # noqa: BLE001 - one request is contained; the server goes on
        reply = describe_error(error)
        _logger.info("Answered an error: %s", reply.body["content"])
        return json_response(reply.body, reply.status if is_strict(headers) else 200)


def _answer(services: Services, actor: Actor, body: bytes, options: RequestOptions) -> Any:
    """Return the list of results; a bare operation, as legacy clients send it, has a bare result."""
    try:
        decoded = json_text.decode(body)
    except ValueError as error:
        raise MalformedRequestError(f"The body is not JSON: {error}") from error
    operations = [decoded] if isinstance(decoded, dict) else decoded
    if not isinstance(operations, list):
        raise MalformedRequestError("The body is not a list of operations.")
    results = perform(services, actor, operations, options)
    return results[0] if isinstance(decoded, dict) else results


def perform(services: Services, actor: Actor, operations: list[Any], options: RequestOptions) -> list[Any]:
    """Carry out *operations* in one transaction, announce what they changed and return their results."""
    actions = [_find_action(operation) for operation in operations]
    if all(operation["action"] in READING for operation in operations):
        with services.store.reader() as connection:
            batch = Batch(services, actor, options, reader=connection)
            return _perform_each(batch, actions, operations)
    with services.write(actor, options.client_token, options.push_token) as transaction:
        batch = Batch(services, actor, options, open_transaction=transaction)
        results = _perform_each(batch, actions, operations)
        batch.finish()
    for callback in batch.after_commit:
        callback()
    return results


def _perform_each(batch: Batch, actions: list[Action], operations: list[Operation]) -> list[Any]:
    """Return the results of *operations*; an error says which of them it is about."""
    results = []
    for index, (action, operation) in enumerate(zip(actions, operations, strict=True)):
        try:
            results.append(action(batch, operation))
        except RequestError as error:
            if len(operations) > 1:
                error.operation = _describe(operation, index, len(operations))
            raise
    return results


def _describe(operation: Operation, index: int, count: int) -> str:
    entity_type = operation.get("entity_type")
    what = f"{operation['action']} {entity_type}" if isinstance(entity_type, str) else operation["action"]
    return f"Operation {index + 1} of {count} ({what})"


def _find_action(operation: Any) -> Action:
    """Return the action of *operation*; raise before anything is carried out when there is none."""
    if not isinstance(operation, dict):
        raise MalformedRequestError("An operation is an object with an 'action'.")
    action = ACTIONS.get(operation["action"]) if isinstance(operation.get("action"), str) else None
    if action is None:
        raise InvalidActionError(operation.get("action"))
    return action
