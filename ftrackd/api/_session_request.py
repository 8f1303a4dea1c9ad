"""How a session talks to the server: one call, its retries, and the way of values into JSON and back."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ftrackd.api import _answer, _date, _encoding, _json, exception
from ftrackd.api._collector import CollectorPaused
from ftrackd.api._session_state import SessionState

if TYPE_CHECKING:
    import requests

    from ftrackd.api.entity.base import Entity

#: Requests that change nothing and may therefore be sent again whatever happened to the first one.
READ_ONLY_ACTIONS: Final = frozenset(
    {"query", "search", "query_schemas", "query_server_information", "permissions"}
)

#: Requests whose answers hold no entities or dates; they are large and need no walk.
_UNTAGGED_ACTIONS: Final = frozenset({"query_schemas", "query_server_information"})

#: Attempts in all, and the limits of the full-jitter back-off between them, in seconds.
MAX_ATTEMPTS: Final = 4
BACK_OFF_BASE_S: Final = 0.25
BACK_OFF_CAP_S: Final = 5.0

_TEMPORARY_STATUSES: Final = frozenset({502, 503, 504})
_TOO_MANY_REQUESTS: Final = 429

_logger = logging.getLogger("ftrack_api.session.Session")


class RequestMethods(SessionState):
    """Calls, encoding and decoding."""

    #: Longest wait for a connection, in seconds; the answer may take the whole `timeout` of the session.
    _connect_timeout_s: float = 10.0

    def call(self, data: Any) -> Any:
        """Send `data`, a list of requests, and return the list of answers, with entities and dates decoded.

        Everything the session asks of the server goes through here. ServerError when the server reports an
        error (nothing of the list was done then), a NetworkError when there was no usable answer. Only
        reading is repeated after a failure that leaves open whether the server acted.
        """
        body = _json.dumps(data, default=self._replacement("modified_only"), sort_keys=True)
        requests_made = data if isinstance(data, list) else [data]
        answer = self._exchange(body, _is_read_only(requests_made))
        with CollectorPaused():
            return self._decoded_answer(answer, requests_made)

    def _exchange(self, body: bytes, repeatable: bool) -> Any:
        """Send `body` until there is an answer or no reason to try again, and return it."""
        url = f"{self._server_url}/api"
        for attempt in range(1, MAX_ATTEMPTS + 1):
            last = attempt == MAX_ATTEMPTS
            try:
                response = self._post(url, body)
            except exception.NetworkError as error:
                if last or not _may_repeat(error, repeatable) or not self._wait_before(attempt, error):
                    raise
                continue
            _refuse_redirection(response)
            status = response.status_code
            temporary = (repeatable and status in _TEMPORARY_STATUSES) or status == _TOO_MANY_REQUESTS
            if temporary and not last and self._wait_before(attempt, f"status {status}"):
                continue
            with CollectorPaused():
                return _answer.decode(response.content, status, response.reason or "", url)
        raise AssertionError("the last attempt returns or raises")

    def _post(self, url: str, body: bytes) -> requests.Response:
        import requests

        from ftrackd.api import _network_error

        timeout = self.request_timeout
        limits = (
            (min(self._connect_timeout_s, timeout), timeout) if isinstance(timeout, (int, float)) else timeout
        )
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            response: requests.Response = self._request.post(url, headers=headers, data=body, timeout=limits)
        except requests.exceptions.RequestException as error:
            raise _network_error.translate(error, url) from error
        except OSError as error:
            # What requests says, and no more, of a file with certificates that is not there.
            raise _network_error.missing_certificates(error, url) from error
        return response

    def _wait_before(self, attempt: int, reason: object) -> bool:
        """Wait before the attempt after `attempt`; return False when the session was closed meanwhile."""
        delay = random.uniform(0, min(BACK_OFF_CAP_S, BACK_OFF_BASE_S * 2**attempt))
        _logger.warning("Request failed (%s); trying again in %.1f s", reason, delay)
        return not self._closing.wait(delay)

    # Decoding.

    def _decoded_answer(self, answer: Any, requests_made: list[Any]) -> Any:
        if not isinstance(answer, list):
            return self._decode_value(answer)
        if len(answer) != len(requests_made):
            # One request that is answered by a plain list, such as the schemas.
            return answer if _is_untagged(requests_made) else [self._decode_value(item) for item in answer]
        return [
            self._decoded_result(result, request)
            for result, request in zip(answer, requests_made, strict=True)
        ]

    def _decoded_result(self, result: Any, request: Any) -> Any:
        rows = result.get("data") if isinstance(result, dict) else None
        if isinstance(rows, list) and _action(request) in {"query", "search"}:
            # The bulk of all data: rows become entities, what is in them stays as it is until it is read.
            result["data"] = self._rows_as_entities(rows)
            return result
        return result if _action(request) in _UNTAGGED_ACTIONS else self._decode_value(result)

    def _rows_as_entities(self, rows: list[Any]) -> list[Any]:
        entities = []
        entity_type = make = None
        for row in rows:
            found = row.pop("__entity_type__", None) if row.__class__ is dict else None
            if found is None:
                entities.append(self._decode_value(row))
                continue
            if found != entity_type:
                make = self._maker(found)
                entity_type = found
            assert make is not None
            entities.append(make(row))
        return entities

    def _maker(self, entity_type: str) -> Callable[[dict[str, Any]], Entity]:
        """Return a function that makes a detached entity of `entity_type` from a row without its type.

        UnrecognisedEntityTypeError when the schemas do not know the type.
        """
        return self._layouts[self.types.recognised(entity_type)].maker(self)

    def _decode_value(self, value: Any) -> Any:
        """Return `value`, as JSON gave it, with dates and detached entities in their places."""
        if value.__class__ is list:
            return [self._decode_value(item) for item in value]
        if value.__class__ is not dict:
            return value
        if "__type__" in value:
            return _decode_tagged(value)
        if "__entity_type__" in value:
            row = dict(value)
            return self._maker(row.pop("__entity_type__"))(row)
        return {
            key: self._decode_value(item) if item.__class__ is dict or item.__class__ is list else item
            for key, item in value.items()
        }

    def decode(self, string: str | bytes) -> Any:
        """Return the value that the JSON `string` spells, with dates and detached entities decoded."""
        return self._decode_value(_json.loads(string))

    # Encoding.

    def encode(self, data: Any, entity_attribute_strategy: str = "set_only") -> str:
        """Return `data` as JSON.

        `entity_attribute_strategy` says which attributes of entities are written: ``all`` (loading those
        that are unset), ``set_only``, ``modified_only`` (those set here) or ``persisted_only`` (those the
        server sent). ValueError for another one.
        """
        return json.dumps(data, sort_keys=True, default=self._replacement(entity_attribute_strategy))

    def _replacement(self, strategy: str) -> Callable[[Any], Any]:
        if strategy not in _encoding.STRATEGIES:
            known = ", ".join(sorted(_encoding.STRATEGIES))
            raise ValueError(f"Unsupported entity_attribute_strategy {strategy!r}. Must be one of {known}.")

        def replacement(value: Any) -> Any:
            return _encoding.replacement(self, strategy, value)

        return replacement


def _decode_tagged(value: dict[str, Any]) -> Any:
    if value["__type__"] not in {"datetime", "date"}:
        return value
    text = value["value"]
    # No date is None, and not this moment, which the official client makes of it.
    return None if text is None else _date.from_server(text)


def _action(request: Any) -> Any:
    return request.get("action") if hasattr(request, "get") else None


def _is_read_only(requests_made: list[Any]) -> bool:
    return all(_action(request) in READ_ONLY_ACTIONS for request in requests_made)


def _is_untagged(requests_made: list[Any]) -> bool:
    """Return whether the answers hold no entities or dates."""
    return all(_action(request) in _UNTAGGED_ACTIONS for request in requests_made)


def _may_repeat(error: exception.NetworkError, repeatable: bool) -> bool:
    """Return whether the request that ended with `error` may be sent again, and it makes sense."""
    passing = getattr(error, "passing", True)
    never_sent = not getattr(error, "sent", True)
    return passing and (repeatable or never_sent)


def _refuse_redirection(response: Any) -> None:
    """Raise a ServerError when the request was redirected and, as HTTP has it, lost what it carried."""
    if response.history and response.request.method != "POST":
        target = response.history[0].headers.get("location", response.url)
        raise exception.ServerError(
            f"The server redirects requests to {target}; set the server URL to where that is.",
            content=response.text,
            status=response.history[0].status_code,
        )
