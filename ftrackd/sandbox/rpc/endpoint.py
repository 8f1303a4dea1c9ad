"""``POST /api``: a batch of operations in, results out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from ftrackd.sandbox import json_text
from ftrackd.sandbox.auth import INVALID_CREDENTIALS
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


def answer_request(services: Services, body: bytes, headers: Mapping[str, str], server_url: str) -> Response:
    """Return the response to the *body* of a request; errors answer 200 unless the client is strict."""
    try:
        return json_response(_results(services, body, headers, server_url))
    except Exception as error:  # noqa: BLE001 - one request is contained; the server goes on
        reply = describe_error(error)
        return json_response(reply.body, reply.status if is_strict(headers) else 200)


def _results(services: Services, body: bytes, headers: Mapping[str, str], server_url: str) -> Any:
    actor = services.authenticator.authenticate(headers.get("ftrack-user"), headers.get("ftrack-api-key"))
    if actor is None:
        raise InvalidCredentialsError(INVALID_CREDENTIALS)
    try:
        operations = json_text.decode(body)
    except ValueError as error:
        raise MalformedRequestError(f"The body is not JSON: {error}") from error
    is_bare = isinstance(operations, dict)
    if is_bare:
        operations = [operations]
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise MalformedRequestError("The body is not a list of operations.")
    results: list[Any] = []
    for operation in operations:
        if operation.get("action") == "query_server_information":
            results.append(
                {
                    "version": "dev",
                    "schema_hash": "",
                    "is_timezone_support_enabled": True,
                    "storage_scenario": None,
                }
            )
        elif operation.get("action") == "query_schemas":
            results.append([])
        else:
            raise InvalidActionError(operation.get("action"))
    return results[0] if is_bare else results
