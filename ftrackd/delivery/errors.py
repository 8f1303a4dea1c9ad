"""What this room raises.

::

    DeliveryError
    ├── JournalError                  the journal cannot be used, or did not do what was asked
    │   ├── JournalUnavailableError   its folder is missing, or it may not be read or written
    │   ├── JournalFullError          the disk, a quota or a size limit leaves no room to write
    │   ├── JournalLockedError        another daemon uses it
    │   ├── JournalVersionError       a newer ftrackd wrote it
    │   └── JournalCorruptError       its content is damaged
    │       └── JournalRemovedError   its file was removed or replaced while it was in use
    ├── UnknownDeliveryError          an operator named a delivery or an event that is not there
    └── CatchUpError                  the server's Event log could not be read
"""

from __future__ import annotations

from pathlib import Path

from ftrackd.errors import FtrackdError


class DeliveryError(FtrackdError):
    """An event could not be carried to a plugin as promised."""


class JournalError(DeliveryError):
    """The journal cannot be used.

    ``path`` is its file, None for a journal without one.
    """

    def __init__(self, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class JournalUnavailableError(JournalError):
    """The journal's folder is missing, or it may not be read or written."""


class JournalFullError(JournalError):
    """There is no room to write; what was written before is intact."""


class JournalLockedError(JournalError):
    """Another daemon uses this journal."""


class JournalVersionError(JournalError):
    """A newer ftrackd wrote this journal; it is left as it is.

    ``exit_code`` is what ``ftrackd run`` ends with: as for settings that are wrong, because starting again
    would not help, and a service manager must not try it for ever.
    """

    exit_code = 2


class JournalCorruptError(JournalError):
    """The journal's content is damaged; what can be read of it can be salvaged."""


class JournalRemovedError(JournalCorruptError):
    """Somebody removed or replaced the journal's file while it was in use; it can be written anew."""


class UnknownDeliveryError(DeliveryError):
    """No delivery, dead letter or event has this id."""


class CatchUpError(DeliveryError):
    """The server's Event log could not be read; the cursor stays where it was."""
