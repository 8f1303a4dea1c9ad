"""Whatever arrives, the answer is JSON and never a mistake of the server's."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftrackd.sandbox.rpc.endpoint import ACTIONS

from .conftest import credentials, post, request

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(
    [
        "Task",
        "Project",
        "Note",
        "Metadata",
        "User",
        "Job",
        "FileComponent",
        "ContextCustomAttributeValue",
        "Nonsense",
    ]
)
NAMES = st.sampled_from(
    [
        "id",
        "name",
        "parent_id",
        "status",
        "metadata",
        "custom_attributes",
        "key",
        "value",
        "parent",
        "__entity_type__",
    ]
)
REFERENCES = st.fixed_dictionaries({"__entity_type__": TYPES, "id": SCALARS})
DATES = st.fixed_dictionaries({"__type__": st.just("datetime"), "value": SCALARS})
MEMBERS = {
    "entity_type": TYPES | VALUES,
    "entity_key": st.lists(SCALARS, max_size=2) | VALUES,
    "entity_data": st.dictionaries(NAMES, VALUES | REFERENCES | DATES | st.lists(REFERENCES, max_size=2))
    | VALUES,
    "expression": st.sampled_from(["Task", "select name from Task", "Task where id is 1"]) | VALUES,
    "terms": VALUES,
    "values": VALUES,
    "reset_type": VALUES,
    "name": st.just("info") | VALUES,
    "component_id": VALUES,
    "version_id": VALUES,
    "file_name": VALUES,
    "file_size": VALUES,
    "parts": st.integers(max_value=5) | VALUES,
    "upload_id": VALUES,
    "user_id": VALUES,
    "role_id": VALUES,
    "data": VALUES,
}
OPERATIONS = st.fixed_dictionaries({"action": st.sampled_from(sorted(ACTIONS)) | VALUES}, optional=MEMBERS)
SLOW = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@settings(max_examples=80, **SLOW)
@given(st.lists(OPERATIONS, max_size=3))
def test_when_operations_are_any_then_results_or_an_error_that_is_theirs(server, operations):
    status, answer = post(server, operations)
    assert status == 200
    if isinstance(answer, dict):
        assert answer["exception"] != "InternalServerError", answer
    else:
        assert len(answer) == len(operations)


@settings(max_examples=50, **SLOW)
@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_when_the_body_is_anything_then_json(server, body):
    status, answer = post(server, body, ftrack_strict_api="true")
    assert status in (200, 400, 422)
    assert isinstance(answer, (dict, list))


@settings(max_examples=50, **SLOW)
@given(st.sampled_from(["get", "thumbnail", "remove"]), st.text(max_size=30), st.text(max_size=10))
def test_when_a_component_is_any_text_then_an_error_answer(server, action, identifier, size):
    from urllib.parse import urlencode

    path = f"/component/{action}?" + urlencode({"id": identifier, "size": size}, errors="replace")
    status, _, body = request(server, path, headers=credentials(server))
    assert 400 <= status < 500
    assert json.loads(body)["exception"]
