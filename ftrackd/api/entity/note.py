"""Notes, and writing them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from ftrackd.api.entity.base import Entity


class Note(Entity):
    """A note on an entity."""

    def create_reply(self, content: str, author: Any) -> Any:
        """Return a new reply to this note by `author`, a User; not committed."""
        reply = self.session.create("Note", {"author": author, "content": content})
        self["replies"].append(reply)
        return reply


class CreateNoteMixin:
    """For entities that carry notes."""

    __slots__ = ()

    def create_note(
        self,
        content: str,
        author: Any,
        recipients: Iterable[Any] | None = None,
        category: Any = None,
        labels: Iterable[Any] | None = None,
    ) -> Any:
        """Return a new note with the text `content` on this entity; not committed.

        `author` is a User, `recipients` are Users and Groups, `labels` are NoteLabels. `category`, a
        NoteCategory, is the old way to give one label: ValueError together with labels.
        """
        entity: Any = self
        session = entity.session
        labels = list(labels or ())
        if category and labels:
            raise ValueError("Both category and labels cannot be set at the same time.")
        data: dict[str, Any] = {"content": content, "author": author}
        if category:
            if "NoteLabel" in session.types:
                warnings.warn(
                    "category argument will be removed in an upcoming version, please use labels instead.",
                    PendingDeprecationWarning,
                    stacklevel=2,
                )
                labels = [category]
            else:
                data["category_id"] = category["id"]
        note = session.create("Note", data)
        entity["notes"].append(note)
        for resource in recipients or ():
            recipient = session.create("Recipient", {"note_id": note["id"], "resource_id": resource["id"]})
            note["recipients"].append(recipient)
        for label in labels:
            session.create("NoteLabelLink", {"note_id": note["id"], "label_id": label["id"]})
        return note
