"""Access to data on mounted file systems."""

from __future__ import annotations

import builtins
import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Any

from ftrackd.api.accessor._atomic_file import (
    AtomicFile,
    is_partial,
    remove_abandoned_partials,
    sync_folder,
)
from ftrackd.api.accessor.base import Accessor
from ftrackd.api.data import Data, File
from ftrackd.api.exception import (
    AccessorContainerNotEmptyError,
    AccessorFilesystemPathError,
    AccessorOperationFailedError,
    AccessorParentResourceNotFoundError,
    AccessorPermissionDeniedError,
    AccessorResourceError,
    AccessorResourceInvalidError,
    AccessorResourceNotFoundError,
    AccessorUnsupportedOperationError,
)


class DiskAccessor(Accessor):
    """Access below one folder.

    Identifiers are paths relative to the prefix, or absolute ones inside of it. With an empty prefix they
    are any path of this machine. Only :attr:`prefix` is kept, and read anew each time: subclasses may set
    it without calling this constructor, and it may change while in use.
    """

    def __init__(self, prefix: str, **kw: Any) -> None:
        """Give access below *prefix*; a leading ``~`` and environment variables in it are expanded."""
        if prefix:
            prefix = os.path.abspath(os.path.expanduser(os.path.expandvars(prefix)))
        self.prefix = prefix
        super().__init__(**kw)

    def list(self, resource_identifier: str) -> builtins.list[str]:
        """Return the identifiers of what the folder holds, in no particular order.

        Files that are still being written are left out.
        """
        path = self.get_filesystem_path(resource_identifier)
        with error_handler(operation="list", resource_identifier=resource_identifier):
            names = os.listdir(path)
        return [os.path.join(resource_identifier, name) for name in names if not is_partial(name)]

    def exists(self, resource_identifier: str) -> bool:
        """Return whether there is a file or folder."""
        return os.path.exists(self.get_filesystem_path(resource_identifier))

    def is_file(self, resource_identifier: str) -> bool:
        """Return whether there is a file."""
        return os.path.isfile(self.get_filesystem_path(resource_identifier))

    def is_container(self, resource_identifier: str) -> bool:
        """Return whether there is a folder."""
        return os.path.isdir(self.get_filesystem_path(resource_identifier))

    def is_sequence(self, resource_identifier: str) -> bool:
        """Raise ``AccessorUnsupportedOperationError``: a folder does not say what is a sequence."""
        raise AccessorUnsupportedOperationError(
            operation="is_sequence", resource_identifier=resource_identifier
        )

    def open(self, resource_identifier: str, mode: str = "rb") -> Data:
        """Return the file opened in *mode*.

        In the modes ``w`` and ``wb`` it gets its name, and replaces an older one, when it is closed.
        """
        path = self.get_filesystem_path(resource_identifier)
        with error_handler(operation="open", resource_identifier=resource_identifier):
            if mode.startswith("w") and not _is_special(path):
                return AtomicFile(path, mode)
            return File(path, mode)

    def remove(self, resource_identifier: str) -> None:
        """Remove the file or the empty folder."""
        path = self.get_filesystem_path(resource_identifier)
        with error_handler(operation="remove", resource_identifier=resource_identifier):
            if os.path.isdir(path) and not os.path.islink(path):
                _remove_folder(path)
            else:
                os.remove(path)

    def make_container(self, resource_identifier: str, recursive: bool = True) -> None:
        """Make the folder, with its parents when *recursive*; one that exists is left as it is."""
        path = self.get_filesystem_path(resource_identifier)
        with error_handler(operation="make_container", resource_identifier=resource_identifier):
            if recursive:
                _make_folders(path)
                return
            try:
                os.mkdir(path)
                sync_folder(os.path.dirname(path))
            except FileExistsError:
                if not os.path.isdir(path):
                    raise
            except FileNotFoundError as error:
                raise AccessorParentResourceNotFoundError(
                    operation="make_container", resource_identifier=resource_identifier, error=error
                ) from error

    def get_container(self, resource_identifier: str) -> str:
        """Return the identifier of the folder that holds the resource, relative to a prefix."""
        path = self.get_filesystem_path(resource_identifier)
        container = os.path.dirname(path)
        if not self.prefix:
            return container
        prefix = os.path.abspath(self.prefix)
        if not _is_inside(container, prefix):
            raise AccessorParentResourceNotFoundError(
                operation="get_container",
                resource_identifier=resource_identifier,
                message="The container of {resource_identifier!r} lies outside of the prefix {prefix}.",
                details={"prefix": prefix},
            )
        return "" if container == prefix else os.path.relpath(container, prefix)

    def get_filesystem_path(self, resource_identifier: str) -> str:
        """Return the path of *resource_identifier* on this machine.

        Raises ``AccessorFilesystemPathError`` for one that leads out of the prefix: by ``..``, by being an
        absolute path elsewhere, or through a symbolic link. (A prefix that is itself a link is fine.)
        """
        if not _can_be_path(resource_identifier):
            raise AccessorFilesystemPathError(resource_identifier)
        if not self.prefix:
            return os.path.normpath(resource_identifier) if resource_identifier else resource_identifier
        prefix = os.path.abspath(self.prefix)
        path = os.path.normpath(os.path.join(prefix, resource_identifier))
        if not _is_inside(path, prefix) or not _is_inside(os.path.realpath(path), os.path.realpath(prefix)):
            raise AccessorFilesystemPathError(
                resource_identifier,
                message="Resource identifier {resource_identifier!r} leads out of the prefix {prefix}.",
                details={"prefix": prefix},
            )
        return path


def _can_be_path(identifier: str) -> bool:
    """Return whether the operating system takes *identifier*: no NUL, no lone surrogates."""
    try:
        return b"\0" not in os.fsencode(identifier)
    except UnicodeEncodeError:
        return False


def _is_inside(path: str, folder: str) -> bool:
    """Return whether the normal absolute *path* is *folder* or lies below it, by whole path components."""
    path, folder = os.path.normcase(path), os.path.normcase(folder)
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _is_special(path: str) -> bool:
    """Return whether there is a device, pipe or socket, which must be written to and not replaced."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _make_folders(path: str) -> None:
    """Make the folder *path* and those above it that are missing, and have their names on the disk."""
    missing = []
    above = path
    while not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above)
    os.makedirs(path, exist_ok=True)
    for folder in missing:
        sync_folder(os.path.dirname(folder))


def _remove_folder(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        # What killed transfers left is invisible to list(); it must not keep the folder either.
        if not remove_abandoned_partials(path):
            raise
        os.rmdir(path)


@contextlib.contextmanager
def error_handler(operation: str = "", resource_identifier: str | None = None) -> Iterator[None]:
    """Turn an ``OSError`` of the block into the accessor's error, which names what failed on what."""
    try:
        yield
    except OSError as error:
        error_class = _error_class(error)
        message, reason = error_class.default_message, error.strerror
        # These stand for several reasons, and what is to be done depends on which it was.
        several = error_class in (AccessorPermissionDeniedError, AccessorResourceInvalidError)
        if several and reason and reason not in message:
            message += " ({reason})"
        raise error_class(operation, resource_identifier, error, message, {"reason": reason}) from error


def _error_class(
    error: OSError,
) -> type[AccessorOperationFailedError] | type[AccessorResourceError]:
    match error.errno:
        case errno.ENOENT:
            return AccessorResourceNotFoundError
        case errno.EPERM | errno.EACCES | errno.EROFS:
            return AccessorPermissionDeniedError
        case errno.ENOTEMPTY:
            return AccessorContainerNotEmptyError
        case errno.ENOTDIR | errno.EISDIR | errno.EINVAL | errno.EEXIST:
            return AccessorResourceInvalidError
    return AccessorOperationFailedError
