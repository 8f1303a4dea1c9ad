"""A lock that keeps two sandboxes from one file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ftrackd.sandbox.errors import DatabaseError


class FileLock:
    """Holds a lock beside *path* until it is closed or the process is gone, however that ends.

    The lock file stays behind; it means nothing by itself. Raises :class:`DatabaseError` that names the
    process which has the lock.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(
                path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise DatabaseError(
                f"The database {path} cannot be opened: no lock can be made in its folder ({error.strerror})."
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise DatabaseError(
                f"The database {path} is used by another sandbox (process {holder or 'unknown'}). "
                "Stop that one, or choose another file with --database."
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def close(self) -> None:
        """Give the file free; closing twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
