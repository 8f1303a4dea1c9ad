"""Users and their timers."""

from __future__ import annotations

import datetime
from typing import Any

from ftrackd.api import exception
from ftrackd.api._expression import quoted, select
from ftrackd.api.entity.base import Entity


class User(Entity):
    """A user."""

    def start_timer(
        self, context: Any = None, comment: str = "", name: str | None = None, force: bool = False
    ) -> Any:
        """Start a timer for this user on `context`, commit, and return it.

        NotUniqueError when one runs already; with `force` that one is stopped first.
        """
        if force:
            try:
                self.stop_timer()
            except exception.NoResultFoundError:
                self.logger.debug("Failed to stop existing timer: none was running.")
        data: dict[str, Any] = {"user": self, "context": context, "name": name, "comment": comment}
        timer = self.session.create("Timer", data)
        try:
            self.session.commit()
        except exception.ServerError as error:
            if "DuplicateEntryError" in str(error):
                raise exception.NotUniqueError(
                    "Failed to start a timer. User already has one running."
                ) from error
            raise
        return timer

    def stop_timer(self) -> Any:
        """Stop the timer of this user, commit, and return the Timelog made of it.

        NoResultFoundError when no timer runs.
        """
        timer = self.session.query(
            select("start, context_id, name, comment, user_id", "Timer", f"user_id is {quoted(self['id'])}")
        ).one()
        duration = self._now() - timer["start"].naive
        timelog = self.session.create(
            "Timelog",
            {
                "user_id": timer["user_id"],
                "context_id": timer["context_id"],
                "comment": timer["comment"],
                "start": timer["start"],
                "duration": int(duration.total_seconds()),
                "name": timer["name"],
            },
        )
        self.session.delete(timer)
        self.session.commit()
        return timelog

    def _now(self) -> datetime.datetime:
        """Return the time as the server writes it: UTC, or its local time when it knows no time zones."""
        information = self.session.server_information
        if "is_timezone_support_enabled" not in information:
            self.logger.warning("Could not identify if server has time zone support; assuming that it has.")
        if information.get("is_timezone_support_enabled", True):
            return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        return datetime.datetime.now()  # noqa: DTZ005 - the server writes local times then

    def send_invite(self) -> None:
        """Send this user an invitation to the server."""
        self.session.send_user_invite(self)

    def reset_api_key(self) -> str:
        """Give this user a new API key and return it; the old one stops working."""
        response = self.session.reset_remote("api_key", entity=self)
        return str(response["api_key"])
