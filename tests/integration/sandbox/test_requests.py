"""``POST /api``: credentials, batches, errors, encodings."""

import concurrent.futures
import json

import pytest

from .conftest import (
    OTHER_KEY,
    OTHER_USER,
    create,
    credentials,
    delete,
    new_id,
    post,
    query,
    request,
    update,
)

INFORMATION = {"action": "query_server_information"}


def test_when_batch_is_empty_then_the_answer_is_empty(server):
    assert post(server, []) == (200, [])


def test_when_operations_are_many_then_results_in_order(server):
    status, answer = post(server, [INFORMATION, {"action": "query_schemas"}, query("Status limit 1")])
    assert status == 200
    assert answer[0]["version"] == "dev"
    assert isinstance(answer[1], list)
    assert answer[2]["metadata"]["next"]["offset"] == 1


def test_when_operation_is_bare_then_result_is_bare(server):
    status, answer = post(server, INFORMATION)
    assert status == 200
    assert answer["version"] == "dev"


def test_when_information_is_restricted_then_only_those_values(server):
    _, (answer,) = post(server, [{**INFORMATION, "values": ["version", "schema_hash", "nonsense"]}])
    assert set(answer) == {"version", "schema_hash"}


def test_when_schemas_are_asked_twice_then_the_hash_fits_both(server):
    import hashlib

    information, first, second = server.call(
        INFORMATION, {"action": "query_schemas"}, {"action": "query_schemas"}
    )
    assert first == second
    text = json.dumps(first, sort_keys=True)
    assert information["schema_hash"] == hashlib.md5(text.encode("ascii")).hexdigest()


@pytest.mark.parametrize(
    "headers", [{}, {"ftrack-user": "demo"}, {"ftrack-user": "nobody", "ftrack-api-key": "x"}]
)
@pytest.mark.parametrize(("strict", "expected"), [("true", 401), ("false", 200), (None, 200)])
def test_when_credentials_are_wrong_then_refused(server, headers, strict, expected):
    given = {**headers, "Content-Type": "application/json"}
    if strict:
        given["ftrack-strict-api"] = strict
    status, _, body = request(server, "/api", method="POST", body=[INFORMATION], headers=given)
    answer = json.loads(body)
    assert status == expected
    assert answer["exception"] == "InvalidCredentialsError"
    assert answer["error_code"] == "api_credentials_invalid"
    assert "ftrack-api-key" in answer["content"]


def test_when_key_belongs_to_another_user_then_refused(server):
    for user, key in ((OTHER_USER, server.api_key), (server.api_user, OTHER_KEY)):
        headers = {"ftrack-user": user, "ftrack-api-key": key}
        status, _, body = request(server, "/api", method="POST", body=[INFORMATION], headers=headers)
        assert json.loads(body)["exception"] == "InvalidCredentialsError"
    headers = {"ftrack-user": OTHER_USER, "ftrack-api-key": OTHER_KEY}
    status, _, body = request(server, "/api", method="POST", body=[INFORMATION], headers=headers)
    assert status == 200
    assert json.loads(body)[0]["user_information"]["username"] == OTHER_USER


@pytest.mark.parametrize(
    ("operation", "status", "exception", "words"),
    [
        ({"action": "nonsense"}, 400, "Exception", "Invalid action u'nonsense'"),
        ({}, 400, "Exception", "Invalid action"),
        ({"action": ["query"]}, 400, "Exception", "Invalid action"),
        ("query", 400, "MalformedRequestError", "object"),
        ({"action": "query"}, 422, "ValidationError", "expression"),
        (query("select nonsense from Task"), 422, "ValidationError", "nonsense"),
        (query("Tusk"), 422, "ValidationError", "Task"),
        (query("Task where"), 422, "ParseError", "at character"),
        (create("Nonsense", {}), 422, "ValidationError", "Nonsense"),
        (create("Type", {"nonsense": 1}), 422, "ValidationError", "nonsense"),
        ({"action": "create", "entity_type": "Type"}, 422, "ValidationError", "entity_data"),
        (update("Type", "no-such-id", {"name": "x"}), 400, "NotFoundError", "no-such-id"),
        (update("Type", ["a", "b"], {"name": "x"}), 422, "ValidationError", "key"),
        (delete("Type", "no-such-id"), 400, "NotFoundError", "no-such-id"),
        ({"action": "delete", "entity_type": "Type"}, 422, "ValidationError", "entity_key"),
        ({**INFORMATION, "values": [[]]}, 422, "ValidationError", "values"),
        ({"action": "reset_remote", "reset_type": "failing"}, 422, "ValidationError", "failing"),
        ({"action": "get_widget_url", "name": "nonsense"}, 422, "ValidationError", "Widgets"),
        ({"action": "encode_media", "component_id": "no-such-id"}, 400, "NotFoundError", "no-such-id"),
        ({"action": "send_user_invite", "user_id": "no-such-id"}, 400, "NotFoundError", "no-such-id"),
    ],
)
def test_when_operation_is_wrong_then_an_error_object(server, operation, status, exception, words):
    """Without strict mode always 200: some clients treat any other status as opaque."""
    for strict, expected in (("true", status), ("false", 200)):
        answered, answer = post(server, [INFORMATION, operation], ftrack_strict_api=strict)
        assert answered == expected
        assert set(answer) >= {"exception", "content", "error_code"}
        assert answer["exception"] == exception
        assert words in answer["content"]


@pytest.mark.parametrize("body", [b"", b"{", b"5", b'"text"', b"null", b"\xff", b"[" * 100_000])
def test_when_body_is_no_batch_then_an_error_object(server, body):
    status, answer = post(server, body, ftrack_strict_api="true")
    assert status == 400
    assert answer["exception"] == "MalformedRequestError"


def test_when_a_later_operation_fails_then_nothing_is_applied(server, project):
    folder_id = new_id()
    _, answer = post(
        server,
        [
            create("Folder", {"id": folder_id, "name": "a", "parent_id": project}),
            create("Folder", {"name": "b", "parent_id": "no-such-parent"}),
        ],
    )
    assert answer["content"].startswith("Operation 2 of 2 (create Folder): ")
    assert "no-such-parent" in answer["content"]
    assert server.call(query(f"Folder where id is {folder_id}"))[0]["data"] == []


def test_when_operations_refer_to_each_other_then_later_ones_see_earlier_ones(server, project):
    ids = [new_id() for _ in range(3)]
    results = server.call(
        create(
            "Folder", {"id": ids[0], "name": "a", "parent": {"__entity_type__": "Project", "id": project}}
        ),
        create("Task", {"id": ids[1], "name": "t", "parent": {"__entity_type__": "Folder", "id": ids[0]}}),
        query(f"select parent.name from Task where id is {ids[1]}"),
        update("Folder", ids[0], {"name": "b"}),
        create("Task", {"id": ids[2], "name": "u", "parent_id": ids[0]}),
        delete("Task", ids[2]),
        query(f"select name from Task where parent.name is b and project_id is {project}"),
    )
    assert results[2]["data"][0]["parent"]["name"] == "a"
    # What a create answers is how the row is at the end of the request.
    assert results[0]["data"]["name"] == "b"
    assert results[1]["data"]["project_id"] == project
    assert results[4]["data"] == {"__entity_type__": "Task", "id": ids[2]}
    assert results[5] == {"action": "delete", "data": True}
    assert [row["id"] for row in results[6]["data"]] == [ids[1]]


def test_when_created_then_answer_holds_what_was_stored_and_sent(server, project):
    (result,) = server.call(
        create(
            "Task",
            {
                "name": "t",
                "parent": {"__entity_type__": "Project", "id": project},
                "start_date": {"__type__": "datetime", "value": "2020-01-02T03:04:05.678000+02:00"},
                "assignments": [],
            },
        )
    )
    assert result["action"] == "create"
    data = result["data"]
    assert data["__entity_type__"] == "Task"
    assert data["id"]
    assert data["status_id"]
    assert data["parent"]["id"] == project
    assert data["assignments"] == []
    assert data["start_date"] == {"__type__": "datetime", "value": "2020-01-02T01:04:05"}


def test_when_key_is_a_bare_text_then_accepted(server, project):
    (result,) = server.call(create("Folder", {"name": "a", "parent_id": project}))
    key = result["data"]["id"]
    operation = {**update("Folder", key, {"name": "b"}), "entity_key": key}
    assert server.call(operation)[0]["data"]["name"] == "b"
    assert server.call({**delete("Folder", key), "entity_key": key})[0]["data"] is True


def test_when_text_is_odd_then_it_comes_back_as_it_was(server, project):
    """Lone surrogates and control characters travel as JSON escapes."""
    text = "\ud800 \x00 \u2028 \U0001f600 \"'\\"
    operation = create("Folder", {"name": "odd", "description": text, "parent_id": project})
    status, answer = post(server, [operation])
    assert status == 200
    if isinstance(answer, dict):
        # A database may refuse what is no text; then the client is told which value.
        assert "description" in answer["content"]
    else:
        key = answer[0]["data"]["id"]
        found = server.call(query(f"select description from Folder where id is {key}"))[0]["data"][0]
        assert found["description"] == text


def test_when_number_is_not_finite_then_an_answer_is_still_json(server, project):
    body = json.dumps([create("Folder", {"name": "n", "bid": float("nan"), "parent_id": project})]).encode()
    assert b"NaN" in body
    status, answer = post(server, body)
    assert status == 200
    assert "NaN" not in json.dumps(answer)


def test_when_many_write_at_once_then_each_succeeds(server, project):
    def write(number):
        return server.call(
            *(create("Folder", {"name": f"f{number}-{index}", "parent_id": project}) for index in range(5))
        )

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(write, range(24)))
    assert sum(len(result) for result in results) == 120
    found = server.call(query(f"select count(id) from Folder where project_id is {project}"))[0]["data"]
    assert found[0]["count_id"] == 120


def test_when_versions_are_published_at_once_then_numbers_are_unique(server, project):
    (asset_type,) = server.call(query("select id from AssetType limit 1"))[0]["data"]
    (asset,) = server.call(create("Asset", {"name": "a", "context_id": project, "type_id": asset_type["id"]}))

    def publish(_):
        return server.call(create("AssetVersion", {"asset_id": asset["data"]["id"]}))[0]["data"]["version"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(publish, range(16))) == list(range(1, 17))


def test_when_browser_asks_then_cross_origin_headers(server):
    headers = {
        "Origin": "http://studio.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "ftrack-api-key,ftrack-clienttoken,content-type",
    }
    status, answered, _ = request(server, "/api", method="OPTIONS", headers=headers)
    assert status == 200
    assert answered["access-control-allow-origin"] == "http://studio.example"
    assert answered["access-control-allow-credentials"] == "true"
    allowed = answered["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("ftrack-api-key", "ftrack-clienttoken", "content-type"))
    given = {**credentials(server), "Origin": "http://studio.example"}
    status, answered, _ = request(server, "/api", method="POST", body=[], headers=given)
    assert answered["access-control-allow-origin"] == "http://studio.example"
    assert "etag" in answered["access-control-expose-headers"].lower()


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/api", 405), ("GET", "/nonsense", 404)])
def test_when_nothing_is_there_then_json_says_so(server, method, path, status):
    answered, _, body = request(server, path, method=method)
    assert answered == status
    assert json.loads(body)["content"]


def test_when_temporary_data_are_left_by_a_legacy_client_then_widgets_show_them(server):
    status, answer = post(server, {"action": "create", "type": "tempdata", "data": "<x>", "expiry": None})
    assert status == 200
    widget = {
        "action": "get_widget_url",
        "name": "info",
        "entity_type": "tempdata",
        "entity_key": [answer["id"]],
    }
    page = request(server, server.call(widget)[0]["widget_url"])[2]
    assert b"&lt;x&gt;" in page


def test_when_only_what_was_asked_for_is_wanted_then_nothing_beside_it(server, project):
    folder = server.call(create("Folder", {"name": "f", "parent_id": project}))[0]["data"]["id"]
    expression = (
        f"select name, parent.name, parent.project_schema.name, metadata from Folder where id is {folder}"
    )
    _, (usual,) = post(server, [query(expression)])
    assert usual["data"][0]["object_type_id"]
    _, (strict, bare) = post(
        server,
        [query(expression), query(f"Folder where id is {folder}")],
        ftrack_api_options="strict:1;denormalize:1",
    )
    (row,) = strict["data"]
    assert set(row) == {"__entity_type__", "id", "name", "parent", "metadata"}
    assert set(row["parent"]) == {"__entity_type__", "id", "name", "project_schema"}
    assert set(row["parent"]["project_schema"]) == {"__entity_type__", "id", "name"}
    assert {"id", "name"} < set(bare["data"][0])
