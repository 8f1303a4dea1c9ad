"""Actions about the server and its users: information, schemas, keys, roles, invites, jobs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ftrackd.sandbox.auth import replace_keys
from ftrackd.sandbox.errors import EntityNotFoundError, ValidationError
from ftrackd.sandbox.files.signature import WIDGET_LIFETIME_S
from ftrackd.sandbox.query import execute
from ftrackd.sandbox.rpc import operation as member
from ftrackd.sandbox.rpc.batch import Batch
from ftrackd.sandbox.rpc.operation import Operation
from ftrackd.sandbox.rpc.widget import WIDGET_PATH

WIDGETS: Final = ("info", "tasks", "tasks_browser")
THEMES: Final = ("light", "dark")
JOB_TYPES: Final = ("SYNC_USERS_LDAP",)
INVITE_KEY: Final = "sandbox_invite_sent_at"

_COLORS: Final = (
    "#EEEEEE",
    "#FF6600",
    "#FF9800",
    "#F1C40F",
    "#4CAF50",
    "#1CBC90",
    "#3498DB",
    "#9B59B6",
    "#E74C3C",
)


def _query_server_information(batch: Batch, operation: Operation) -> dict[str, Any]:
    information: dict[str, Any] = {
        "version": "dev",
        "schema_hash": batch.schema.hash,
        "is_timezone_support_enabled": True,
        "is_nested_subqueries_enabled": True,
        "storage_scenario": _storage_scenario(batch),
        "default_colors": list(_COLORS),
        "preferred_language": "en",
        "week_startday": 1,
        "workday_length": 8 * 60 * 60,
        "display_week_numbers": False,
        "display_task_dates_as_time": False,
        "license": [],
        "storage_limit": None,
        "custom_widget": None,
        "company_information": {"logo_url": None, "name": "ftrackd sandbox"},
        "product": {"name": "ftrackd sandbox"},
        "user_information": _user_information(batch),
    }
    if operation.get("values") is None:
        return information
    return {name: information[name] for name in member.texts(operation, "values") if name in information}


def _storage_scenario(batch: Batch) -> Any:
    """Return the storage scenario that the installation is set to, None when it is not set."""
    key = ("storage_scenario", "STORAGE")
    setting = batch.load("Setting", [key], ["value"]).get(key)
    try:
        return json.loads(setting["value"]) if setting and setting["value"] else None
    except ValueError as error:
        raise ValidationError(f"The setting storage_scenario holds no JSON: {error}") from error


def _user_information(batch: Batch) -> dict[str, Any]:
    names = ("username", "first_name", "last_name", "thumbnail_id", "thumbnail_url")
    user = _existing(batch, "User", batch.actor.user_id, *names)
    return {
        "id": batch.actor.user_id,
        "access_key_id": None,
        "is_global_access_key": False,
        "restricted_user": False,
        "permissions": [],
        **{name: user[name] for name in names},
    }


def _query_schemas(batch: Batch, operation: Operation) -> list[dict[str, Any]]:
    del operation
    return batch.schema.to_json()


def _reset_remote(batch: Batch, operation: Operation) -> dict[str, Any]:
    reset_type = operation.get("reset_type")
    if reset_type != "api_key":
        raise ValidationError(f"Nothing can be reset with the reset_type {reset_type!r}; there is 'api_key'.")
    user_id = batch.actor.user_id
    if operation.get("entity_key"):
        user_id = str(member.key(operation)[0])
        if operation.get("entity_type") == "ApiKey":
            user_id = _existing(batch, "ApiKey", user_id, "resource_id")["resource_id"]
    _existing(batch, "User", user_id, "username")
    api_key = replace_keys(batch.connection, user_id)
    authenticator = batch.services.authenticator
    batch.after_commit.append(lambda: authenticator.forget_start_keys(user_id))
    return {"action": "reset_remote", "data": {"api_key": api_key}}


def _get_widget_url(batch: Batch, operation: Operation) -> dict[str, Any]:
    name = member.text(operation, "name")
    theme = operation.get("theme") or "dark"
    if name not in WIDGETS or theme not in THEMES:
        raise ValidationError(f"Widgets are {', '.join(WIDGETS)}, their themes {', '.join(THEMES)}.")
    parameters = {"view": name, "theme": theme}
    if operation.get("entity_type"):
        parameters["entityType"] = member.text(operation, "entity_type")
        parameters["entityId"] = ",".join(str(part) for part in member.key(operation))
    address = batch.services.signer.sign(WIDGET_PATH, parameters, WIDGET_LIFETIME_S)
    return {"widget_url": batch.options.server_url + address}


def _send_user_invite(batch: Batch, operation: Operation) -> dict[str, Any]:
    """Record the invite in the user's metadata: nothing is mailed."""
    user_id = member.text(operation, "user_id")
    _existing(batch, "User", user_id, "username")
    key = [user_id, INVITE_KEY]
    if batch.load("Metadata", [key], ["value"]):
        batch.transaction.update("Metadata", key, {"value": _now()})
    else:
        row = {"parent_id": user_id, "parent_type": "User", "key": INVITE_KEY, "value": _now()}
        batch.transaction.create("Metadata", row)
    return {"sent": True}


def _send_review_session_invite(batch: Batch, operation: Operation) -> dict[str, Any]:
    """Record when the invite was "sent": nothing is mailed."""
    invitee_id = member.text(operation, "review_session_invitee_id")
    _existing(batch, "ReviewSessionInvitee", invitee_id, "email")
    sent_at = {"__type__": "datetime", "value": _now()}
    batch.transaction.update("ReviewSessionInvitee", [invitee_id], {"last_sent_at": sent_at})
    return {"sent": True}


def _delayed_job(batch: Batch, operation: Operation) -> dict[str, Any]:
    """Create the job that was asked for, done: there is no directory to synchronise with."""
    job_type = member.text(operation, "job_type")
    if job_type not in JOB_TYPES:
        raise ValidationError(f"There is no job_type {job_type!r}; there is {', '.join(JOB_TYPES)}.")
    now = {"__type__": "datetime", "value": _now()}
    row = {
        "id": str(uuid.uuid4()),
        "status": "done",
        "user_id": batch.actor.user_id,
        "data": json.dumps({"description": f"{job_type} (the sandbox has nothing to do)"}),
        "created_at": now,
        "finished_at": now,
    }
    return batch.answer_written("delayed_job", "Job", batch.transaction.create("Job", row))


def _compute_rollups(batch: Batch, operation: Operation) -> dict[str, Any]:
    del batch, operation
    return {"action": "compute_rollups", "data": []}


def _permissions(batch: Batch, operation: Operation) -> dict[str, Any]:
    """Answer that everything is permitted: the sandbox shows security roles and enforces none."""
    entity_type = operation.get("entity_type")
    if entity_type is not None:
        batch.schema[member.text(operation, "entity_type")]
    permitted = dict.fromkeys(("create", "read", "update", "delete"), True)
    return {"action": "permissions", "data": permitted}


def _add_user_security_role(batch: Batch, operation: Operation) -> dict[str, Any]:
    row = {
        "id": str(uuid.uuid4()),
        "user_id": member.text(operation, "user_id"),
        "security_role_id": member.text(operation, "role_id"),
        "is_all_projects": True,
    }
    key = batch.transaction.create("UserSecurityRole", row)
    return batch.answer_written("add_user_security_role", "UserSecurityRole", key)


def _remove_user_security_role(batch: Batch, operation: Operation) -> dict[str, Any]:
    batch.transaction.delete("UserSecurityRole", [_user_role_id(batch, operation)])
    return {"action": "remove_user_security_role", "data": True}


def _update_user_security_role(batch: Batch, operation: Operation) -> dict[str, Any]:
    key = [_user_role_id(batch, operation)]
    batch.transaction.update(
        "UserSecurityRole", key, {"security_role_id": member.text(operation, "new_role_id")}
    )
    return batch.answer_written("update_user_security_role", "UserSecurityRole", key)


def _grant_user_security_role_project(batch: Batch, operation: Operation) -> dict[str, Any]:
    row = {
        "id": str(uuid.uuid4()),
        "user_security_role_id": _user_role_id(batch, operation),
        "project_id": member.text(operation, "project_id"),
    }
    key = batch.transaction.create("UserSecurityRoleProject", row)
    return batch.answer_written("grant_user_security_role_project", "UserSecurityRoleProject", key)


def _revoke_user_security_role_project(batch: Batch, operation: Operation) -> dict[str, Any]:
    role_id = _user_role_id(batch, operation)
    project_id = member.text(operation, "project_id")
    criteria = {"user_security_role_id": role_id, "project_id": project_id}
    granted = _find_id(batch, "UserSecurityRoleProject", criteria)
    if granted is None:
        raise EntityNotFoundError(f"The role is not granted on the project {project_id}.")
    batch.transaction.delete("UserSecurityRoleProject", [granted])
    return {"action": "revoke_user_security_role_project", "data": True}


def _grant_api_key_security_role(batch: Batch, operation: Operation) -> dict[str, Any]:
    _existing(batch, "SecurityRole", member.text(operation, "role_id"), "name")
    _existing(batch, "ApiKey", member.text(operation, "api_key_id"), "identifier")
    return {"action": "grant_api_key_security_role", "data": True}


def _convert_entity(batch: Batch, operation: Operation) -> dict[str, Any]:
    """Give a context another object type."""
    entity_type = member.text(operation, "entity_type")
    new_entity_type = member.text(operation, "new_entity_type")
    data = member.mapping(operation, "data") if operation.get("data") is not None else {}
    key = batch.transaction.convert(entity_type, member.key(operation), new_entity_type)
    batch.transaction.update(new_entity_type, key, data)
    return batch.answer_written("convert_entity", new_entity_type, key)


def _configure_totp(batch: Batch, operation: Operation) -> dict[str, Any]:
    member.text(operation, "secret")
    batch.transaction.update("User", [batch.actor.user_id], {"is_totp_enabled": True})
    return {"action": "configure_totp", "data": True}


def _track_usage(batch: Batch, operation: Operation) -> dict[str, Any]:
    del batch, operation
    return {"action": "_track_usage", "data": True}


def _user_role_id(batch: Batch, operation: Operation) -> str:
    """Return the id of the row that gives a user the role named in *operation*."""
    user_id, role_id = member.text(operation, "user_id"), member.text(operation, "role_id")
    found = _find_id(batch, "UserSecurityRole", {"user_id": user_id, "security_role_id": role_id})
    if found is None:
        raise EntityNotFoundError(f"The user {user_id} does not have the role {role_id}.")
    return found


def _existing(batch: Batch, entity_type: str, identifier: str, *projections: str) -> dict[str, Any]:
    """Return the entity with this id; raise :class:`EntityNotFoundError` when there is none."""
    found = batch.load(entity_type, [(identifier,)], projections)
    if not found:
        raise EntityNotFoundError(f"There is no {entity_type} {identifier}.")
    return next(iter(found.values()))


def _find_id(batch: Batch, entity_type: str, criteria: Mapping[str, str]) -> str | None:
    """Return the id of an entity whose attributes have these values, None when there is none."""
    conditions = " and ".join(f"{name} is {_quoted(value)}" for name, value in criteria.items())
    rows = execute(batch.connection, batch.schema, f"{entity_type} where {conditions} limit 1").rows
    return rows[0]["id"] if rows else None


def _quoted(text: str) -> str:
    """Return *text* as a literal of the query language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0).isoformat()


ACTIONS: Final[Mapping[str, Callable[[Batch, Operation], Any]]] = {
    "query_server_information": _query_server_information,
    "query_schemas": _query_schemas,
    "reset_remote": _reset_remote,
    "get_widget_url": _get_widget_url,
    "send_user_invite": _send_user_invite,
    "send_review_session_invite": _send_review_session_invite,
    "delayed_job": _delayed_job,
    "compute_rollups": _compute_rollups,
    "permissions": _permissions,
    "add_user_security_role": _add_user_security_role,
    "remove_user_security_role": _remove_user_security_role,
    "update_user_security_role": _update_user_security_role,
    "grant_user_security_role_project": _grant_user_security_role_project,
    "revoke_user_security_role_project": _revoke_user_security_role_project,
    "grant_api_key_security_role": _grant_api_key_security_role,
    "convert_entity": _convert_entity,
    "configure_totp": _configure_totp,
    "_track_usage": _track_usage,
}
