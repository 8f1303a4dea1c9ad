"""Requests to the server besides reading and writing entities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ftrackd.api import exception
from ftrackd.api._session_commit import CommitMethods


class ActionMethods(CommitMethods):
    """Invitations, widgets, remote resets."""

    def _call_actions(self, requests: list[dict[str, Any]]) -> list[Any]:
        """Send `requests` of one action; ServerCompatibilityError when the server does not know it."""
        action = requests[0]["action"]
        try:
            answers: list[Any] = self.call(requests)
        except exception.ServerError as error:
            # Servers name an unknown action in Python 2's spelling of a text, or in today's.
            if f"Invalid action u'{action}'" in str(error) or f"Invalid action '{action}'" in str(error):
                version = self.server_information.get("version")
                raise exception.ServerCompatibilityError(
                    f'Server version {version!r} does not support "{action}"; update the server to use it.',
                    exception=error.exception,
                    content=error.content,
                    error_code=error.error_code,
                    status=error.status,
                ) from error
            raise
        return answers

    def reset_remote(self, reset_type: str, entity: Any = None) -> Any:
        """Ask the server to reset something of the kind `reset_type`, of `entity` if given; return what it
        answers.

        ``api_key`` on a User gives ``{"api_key": <the new one>}``.
        """
        request: dict[str, Any] = {"action": "reset_remote", "reset_type": reset_type}
        if entity is not None:
            request["entity_type"] = entity.entity_type
            values = entity._primary_values()
            request["entity_key"] = values[0] if len(values) == 1 else list(values)
        return self.call([request])[0]["data"]

    def get_widget_url(self, name: str, entity: Any = None, theme: str | None = None) -> str:
        """Return a URL of the widget called `name` that works without a login for about six minutes.

        `name` is ``info``, ``tasks`` or ``tasks_browser``; `entity` is what it shows, where it needs one;
        `theme` is ``light`` or ``dark`` (the default).
        """
        request: dict[str, Any] = {"action": "get_widget_url", "name": name, "theme": theme}
        if entity is not None:
            request["entity_type"] = entity.entity_type
            request["entity_key"] = list(entity._primary_values())
        return str(self._call_actions([request])[0]["widget_url"])

    def send_user_invite(self, user: Any) -> None:
        """Send an invitation to `user`, a User."""
        self.send_user_invites([user])

    def send_user_invites(self, users: Iterable[Any]) -> None:
        """Send an invitation to each of `users`, Users, with one call."""
        requests = [{"action": "send_user_invite", "user_id": user["id"]} for user in users]
        if requests:
            self._call_actions(requests)

    def send_review_session_invite(self, invitee: Any) -> None:
        """Send an invitation to `invitee`, a ReviewSessionInvitee."""
        self.send_review_session_invites([invitee])

    def send_review_session_invites(self, invitees: Iterable[Any]) -> None:
        """Send an invitation to each of `invitees`, ReviewSessionInvitees, with one call."""
        requests = [
            {"action": "send_review_session_invite", "review_session_invitee_id": invitee["id"]}
            for invitee in invitees
        ]
        if requests:
            self._call_actions(requests)
