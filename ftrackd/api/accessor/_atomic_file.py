"""Files that appear under their name only when they are complete.

What is written goes to a hidden file beside the final one and takes its name when closed. The hidden
file has the same name on every attempt and is locked by its writer, so that a transfer which follows a
killed one takes over what that left behind instead of adding to it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
import uuid
import warnings
from collections.abc import Callable
from typing import Any, Final

from ftrackd.api import symbol
from ftrackd.api.data import FileWrapper

if sys.platform != "win32":
    import fcntl

#: How the names of files that are still being written end.
PARTIAL_SUFFIX: Final = ".ftrackd-partial"

#: Most file systems allow names of 255 bytes; longer partial names are shortened by hashing.
_NAME_LIMIT_BYTES: Final = 255

#: Whole chunks of zeros become holes, so that sparse files stay sparse. Compared as bytes: one memcmp.
_ZEROS: Final = bytes(symbol.CHUNK_SIZE)


def is_partial(name: str) -> bool:
    """Return whether *name* is that of a file which is still being written, or was when its writer died."""
    return name.startswith(".") and name.endswith(PARTIAL_SUFFIX)


class AtomicFile(FileWrapper):
    """Data written under a hidden name, and renamed to its own when closed.

    Dropped without being closed it is closed, as files in Python are, with a ``ResourceWarning``.
    """

    is_published_on_close = True

    def __init__(self, path: str, mode: str = "wb") -> None:
        """Start writing the file at *path*; raises ``OSError``.

        A symbolic link is followed, so that it is its target that gets replaced.
        """
        self.path = os.path.realpath(path)
        # Behind the last byte written.
        self._end = 0
        _refuse_what_open_would_refuse(self.path)
        self._partial_path, descriptor = _open_partial(self.path)
        try:
            super().__init__(os.fdopen(descriptor, mode))
        except BaseException:
            os.close(descriptor)
            os.unlink(self._partial_path)
            raise

    def __del__(self) -> None:
        if self.closed or not hasattr(self, "wrapped_file"):
            return
        warnings.warn(f"unclosed file {self.path!r}", ResourceWarning, source=self, stacklevel=2)
        self.close()

    def write(self, content: Any) -> None:
        """Write *content*; a whole chunk of zeros behind all other data becomes a hole in the file."""
        if isinstance(content, str):
            super().write(content)
            return
        if content == _ZEROS and self.tell() >= self._end:
            self.seek(len(content), os.SEEK_CUR)
            self.wrapped_file.truncate()
        else:
            super().write(content)
        self._end = max(self._end, self.tell())

    def close(self) -> None:
        """Publish the file under its own name, replacing an older one.

        It is on the disk before it has its name: a registered component must not turn out to be empty
        after a power failure. Raises ``OSError``, and then leaves nothing behind.
        """
        self._publish(os.replace)

    def close_as_new(self) -> None:
        """As :meth:`close`, but raise ``FileExistsError`` when there is a file of that name by now."""
        self._publish(_rename_unless_taken)

    def _publish(self, rename: Callable[[str, str], None]) -> None:
        if self.closed:
            return
        self.closed = True
        try:
            self.wrapped_file.flush()
            descriptor = self.wrapped_file.fileno()
            with contextlib.suppress(FileNotFoundError):
                os.chmod(self._partial_path, stat.S_IMODE(os.stat(self.path).st_mode))
            os.fsync(descriptor)
            if sys.platform == "win32":
                # Open files cannot be renamed there.
                self.wrapped_file.close()
            rename(self._partial_path, self.path)
        except BaseException:
            self._abandon()
            raise
        self.wrapped_file.close()
        sync_folder(os.path.dirname(self.path))

    def discard(self) -> None:
        """Drop what was written."""
        if not self.closed:
            self.closed = True
            self._abandon()

    def _abandon(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._partial_path)
        # Closing flushes, and on a full disk fails again; the data is dropped anyway.
        with contextlib.suppress(OSError):
            self.wrapped_file.close()


def sync_folder(path: str) -> None:
    """Have the names in the folder *path* on the disk; raises ``OSError`` when the disk fails.

    Nothing happens where that cannot be asked for.
    """
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        # One may write into a folder that one may not read.
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _rename_unless_taken(partial_path: str, path: str) -> None:
    if sys.platform == "win32":
        os.rename(partial_path, path)
        return
    try:
        os.link(partial_path, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links, where a moment remains in which both could rename.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
        os.replace(partial_path, path)
    else:
        os.unlink(partial_path)


def _refuse_what_open_would_refuse(path: str) -> None:
    """Raise for a target that could be written under a hidden name but not under its own.

    Better now than after hours of copying.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _partial_paths(path: str) -> tuple[str, str]:
    """Return names to write under: one that every attempt tries first, and one of this attempt alone."""
    folder, name = os.path.split(path)
    longest = _NAME_LIMIT_BYTES - len(PARTIAL_SUFFIX) - 10
    if len(os.fsencode(name)) > longest:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    unique_name = f"{name}.{uuid.uuid4().hex[:8]}"
    return (
        os.path.join(folder, f".{name}{PARTIAL_SUFFIX}"),
        os.path.join(folder, f".{unique_name}{PARTIAL_SUFFIX}"),
    )


def _open_partial(path: str) -> tuple[str, int]:
    """Return the name and descriptor of an empty file that this writer alone uses."""
    # O_NOFOLLOW: a link planted under the predictable name must not lead out of the location.
    optional = ("O_CLOEXEC", "O_BINARY", "O_NOFOLLOW")
    flags = os.O_RDWR | os.O_CREAT | sum(getattr(os, name, 0) for name in optional)
    shared, unique = _partial_paths(path)
    descriptor = _take_shared(shared, flags)
    if descriptor is not None:
        return shared, descriptor
    return unique, os.open(unique, flags | os.O_EXCL, 0o666)


def _take_shared(path: str, flags: int) -> int | None:
    """Return the descriptor of the file at *path*, emptied, or None when it is somebody else's."""
    if sys.platform == "win32":
        # No advisory locks of this kind: every attempt gets its own name.
        return None
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP):
            return None
        raise
    try:
        if _lock(descriptor, path):
            if os.fstat(descriptor).st_nlink == 1:
                os.ftruncate(descriptor, 0)
                return descriptor
            # Left of a file that was published by a writer which was killed before it could drop this
            # name; or planted by somebody who could change what we publish through the other one.
            os.unlink(path)
    except OSError:
        # A file system without locks, where nobody can use this name.
        with contextlib.suppress(OSError):
            os.unlink(path)
    os.close(descriptor)
    return None


def _lock(descriptor: int, path: str) -> bool:
    """Return whether this writer now owns *path*; raises ``OSError`` where there are no locks."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    opened = os.fstat(descriptor)
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    # Between opening and locking, the writer before may have renamed the file to its final name. And what
    # another user left must not become a file of ours.
    is_same = (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
    return is_same and opened.st_uid == os.geteuid()


def remove_abandoned_partials(folder: str) -> bool:
    """Remove what dead writers left in *folder*; return whether anything was removed."""
    removed = False
    for name in os.listdir(folder):
        if is_partial(name) and _remove_if_abandoned(os.path.join(folder, name)):
            removed = True
    return removed


def _remove_if_abandoned(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        if not _lock(descriptor, path):
            return False
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
