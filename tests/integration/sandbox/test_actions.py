"""Actions beside those on rows."""

import json

import pytest

from ftrackd.testing.sandbox import SandboxProcessError

from .conftest import create, delete, new_id, post, query, request


@pytest.fixture
def user(server):
    (result,) = server.call(create("User", {"username": f"user_{new_id()[:8]}"}))
    yield result["data"]
    server.call(delete("User", result["data"]["id"]))


@pytest.fixture
def role_id(server):
    (result,) = server.call(create("SecurityRole", {"name": "Role"}))
    yield result["data"]["id"]
    server.call(delete("SecurityRole", result["data"]["id"]))


def ask_as(server, username, key):
    headers = {"ftrack-user": username, "ftrack-api-key": key}
    _, _, body = request(server, "/api", method="POST", body=[], headers=headers)
    return json.loads(body)


def test_when_key_is_reset_then_only_the_new_one_works(server, user):
    operation = {
        "action": "reset_remote",
        "reset_type": "api_key",
        "entity_type": "User",
        "entity_key": user["id"],
    }
    keys = [server.call(operation)[0]["data"]["api_key"] for _ in range(2)]
    assert keys[0] != keys[1]
    assert ask_as(server, user["username"], keys[0])["exception"] == "InvalidCredentialsError"
    assert ask_as(server, user["username"], keys[1]) == []
    rows = server.call(query(f"select prefix from ApiKey where resource_id is {user['id']}"))[0]["data"]
    assert len(rows) == 1
    # The key itself is never readable.
    assert keys[1] not in json.dumps(server.call(query("ApiKey"))[0])
    by_key = {**operation, "entity_type": "ApiKey", "entity_key": [rows[0]["id"]]}
    third = server.call(by_key)[0]["data"]["api_key"]
    assert ask_as(server, user["username"], keys[1])["exception"] == "InvalidCredentialsError"
    assert ask_as(server, user["username"], third) == []


def test_when_user_is_renamed_or_deactivated_then_the_key_follows(server, user):
    operation = {
        "action": "reset_remote",
        "reset_type": "api_key",
        "entity_type": "User",
        "entity_key": user["id"],
    }
    key = server.call(operation)[0]["data"]["api_key"]
    assert ask_as(server, user["username"], key) == []
    update = {"action": "update", "entity_type": "User", "entity_key": [user["id"]]}
    server.call({**update, "entity_data": {"is_active": False}})
    assert ask_as(server, user["username"], key)["exception"] == "InvalidCredentialsError"
    server.call({**update, "entity_data": {"is_active": True, "username": user["username"] + "x"}})
    assert ask_as(server, user["username"], key)["exception"] == "InvalidCredentialsError"
    assert ask_as(server, user["username"] + "x", key) == []


def test_when_widget_is_asked_for_then_its_address_answers_and_forgeries_do_not(server, project):
    (answer,) = server.call(
        {
            "action": "get_widget_url",
            "name": "info",
            "theme": None,
            "entity_type": "Project",
            "entity_key": [project],
        }
    )
    assert answer["widget_url"].startswith(server.url)
    status, _, body = request(server, answer["widget_url"])
    assert status == 200
    assert project.encode() in body
    assert request(server, answer["widget_url"].replace("info", "tasks"))[0] == 403


def test_when_users_are_invited_then_it_is_recorded(server, user):
    assert server.call({"action": "send_user_invite", "user_id": user["id"]}) == [{"sent": True}]
    server.call({"action": "send_user_invite", "user_id": user["id"]})
    rows = server.call(query(f"select key, value from Metadata where parent_id is {user['id']}"))[0]["data"]
    assert [row["key"] for row in rows] == ["sandbox_invite_sent_at"]
    assert rows[0]["value"]


def test_when_reviewers_are_invited_then_the_time_is_recorded(server, project):
    session_id, invitee_id = new_id(), new_id()
    server.call(
        create("ReviewSession", {"id": session_id, "name": "r", "project_id": project}),
        create(
            "ReviewSessionInvitee",
            {"id": invitee_id, "name": "n", "email": "n@example.com", "review_session_id": session_id},
        ),
    )
    operation = {"action": "send_review_session_invite", "review_session_invitee_id": invitee_id}
    assert server.call(operation) == [{"sent": True}]
    row = server.call(query(f"select last_sent_at from ReviewSessionInvitee where id is {invitee_id}"))[0][
        "data"
    ][0]
    assert row["last_sent_at"]["__type__"] == "datetime"


@pytest.mark.parametrize("job_type", ["SYNC_EVERYTHING", "sync_users_ldap"])
def test_when_a_delayed_job_is_of_an_unknown_type_then_the_error_names_those_there_are(server, job_type):
    with pytest.raises(SandboxProcessError, match=f"ValidationError: .*{job_type}.*SYNC_USERS_LDAP"):
        server.call({"action": "delayed_job", "job_type": job_type})


def test_when_a_delayed_job_is_asked_for_then_it_is_done(server):
    (result,) = server.call({"action": "delayed_job", "job_type": "SYNC_USERS_LDAP"})
    assert result["action"] == "delayed_job"
    assert result["data"]["status"] == "done"
    assert "SYNC_USERS_LDAP" in json.loads(result["data"]["data"])["description"]
    server.call(delete("Job", result["data"]["id"]))


def test_when_roles_are_given_and_taken_then_rows_follow(server, user, role_id, project):
    base = {"user_id": user["id"], "role_id": role_id}
    roles = query(f"select security_role_id from UserSecurityRole where user_id is {user['id']}")
    projects = query(
        f"select project_id from UserSecurityRoleProject where user_security_role.user_id is {user['id']}"
    )
    server.call({"action": "add_user_security_role", **base})
    assert [row["security_role_id"] for row in server.call(roles)[0]["data"]] == [role_id]
    server.call({"action": "grant_user_security_role_project", "project_id": project, **base})
    assert [row["project_id"] for row in server.call(projects)[0]["data"]] == [project]
    server.call({"action": "revoke_user_security_role_project", "project_id": project, **base})
    assert server.call(projects)[0]["data"] == []
    other = server.call(create("SecurityRole", {"name": "Other"}))[0]["data"]["id"]
    server.call({"action": "update_user_security_role", "new_role_id": other, **base})
    assert [row["security_role_id"] for row in server.call(roles)[0]["data"]] == [other]
    server.call({"action": "remove_user_security_role", "user_id": user["id"], "role_id": other})
    assert server.call(roles)[0]["data"] == []
    _, answer = post(
        server, [{"action": "remove_user_security_role", "user_id": user["id"], "role_id": other}]
    )
    assert answer["exception"] == "NotFoundError"
    server.call(delete("SecurityRole", other))


def test_when_a_context_is_converted_then_it_has_the_other_type(server, project):
    (result,) = server.call(create("Folder", {"name": "f", "parent_id": project}))
    (converted,) = server.call(
        {
            "action": "convert_entity",
            "entity_type": "Folder",
            "new_entity_type": "Sequence",
            "entity_key": [result["data"]["id"]],
            "data": {"name": "s"},
        }
    )
    assert converted["data"]["__entity_type__"] == "Sequence"
    assert converted["data"]["name"] == "s"


def test_when_object_types_are_created_then_their_type_exists_at_once(server, project):
    """Schema, hash and rows follow; in the same request too."""
    name = f"Type{new_id()[:6]}"
    object_type_id = new_id()
    information = {"action": "query_server_information", "values": ["schema_hash"]}
    before = server.call(information)[0]["schema_hash"]
    results = server.call(
        create("ObjectType", {"id": object_type_id, "name": name}),
        create(name, {"name": "x", "parent_id": project}),
        query(f"select name from {name}"),
    )
    assert results[1]["data"]["__entity_type__"] == name
    assert results[2]["data"][0]["name"] == "x"
    assert server.call(information)[0]["schema_hash"] != before
    assert name in [schema["id"] for schema in server.call({"action": "query_schemas"})[0]]
    server.call(delete(name, results[1]["data"]["id"]), delete("ObjectType", object_type_id))
    assert server.call(information)[0]["schema_hash"] == before


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ({"action": "compute_rollups"}, {"action": "compute_rollups", "data": []}),
        ({"action": "_track_usage", "data": {"type": "event", "name": "x", "metadata": {}}}, None),
        ({"action": "permissions", "entity_type": "Task", "entity_data": {}}, None),
        ({"action": "configure_totp", "secret": "s", "code": "1"}, None),
    ],
)
def test_when_small_actions_are_asked_for_then_they_answer(server, operation, answer):
    (result,) = server.call(operation)
    assert result["action"] == operation["action"]
    assert answer is None or result == answer


def test_when_api_key_is_given_a_role_then_both_must_exist(server, user, role_id):
    operation = {
        "action": "reset_remote",
        "reset_type": "api_key",
        "entity_type": "User",
        "entity_key": user["id"],
    }
    server.call(operation)
    key = server.call(query(f"select id from ApiKey where resource_id is {user['id']}"))[0]["data"][0]
    grant = {"action": "grant_api_key_security_role", "role_id": role_id, "api_key_id": key["id"]}
    assert server.call(grant)[0]["data"] is True
    _, answer = post(server, [{**grant, "role_id": new_id()}])
    assert answer["exception"] == "NotFoundError"
