"""``POST /api``: a batch of operations in, results out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from ftrackd.sandbox import json_text
from ftrackd.sandbox.auth import INVALID_CREDENTIALS, Actor
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

ACTIONS: Final[Mapping[str, Callable[[Batch, Operation], Any]]] = {
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
            batch = Batch(services, actor, options, connection)
            return [action(batch, operation) for action, operation in zip(actions, operations, strict=True)]
    with services.write(actor, options.client_token, options.push_token) as transaction:
        batch = Batch(services, actor, options, transaction.connection, transaction)
        results = [action(batch, operation) for action, operation in zip(actions, operations, strict=True)]
        batch.finish()
    for callback in batch.after_commit:
        callback()
    return results


def _find_action(operation: Any) -> Callable[[Batch, Operation], Any]:
    """Return the action of *operation*; raise before anything is carried out when there is none."""
    if not isinstance(operation, dict):
        raise MalformedRequestError("An operation is an object with an 'action'.")
    action = ACTIONS.get(operation["action"]) if isinstance(operation.get("action"), str) else None
    if action is None:
        raise InvalidActionError(operation.get("action"))
    return action
