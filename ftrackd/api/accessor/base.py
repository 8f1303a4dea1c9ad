"""What every accessor offers."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from ftrackd.api import symbol
from ftrackd.api.data import Data
from ftrackd.api.exception import AccessorError, AccessorUnsupportedOperationError


class Accessor(ABC):
    """Access to the data of one storage by resource identifiers.

    A resource identifier is text whose meaning the accessor decides, often a path relative to a
    prefix. Errors are those of :mod:`ftrackd.api.exception` derived from ``AccessorError``.
    """

    def __init__(self, **kw: Any) -> None:
        super().__init__(**kw)

    @abstractmethod
    def list(self, resource_identifier: str) -> list[str]:
        """Return the resource identifiers of what the container *resource_identifier* holds.

        Raises ``AccessorResourceNotFoundError`` when there is no such resource, and
        ``AccessorResourceInvalidError`` when it is not a container.
        """

    @abstractmethod
    def exists(self, resource_identifier: str) -> bool:
        """Return whether the resource exists."""

    @abstractmethod
    def is_file(self, resource_identifier: str) -> bool:
        """Return whether the resource is a file."""

    @abstractmethod
    def is_container(self, resource_identifier: str) -> bool:
        """Return whether the resource is a container."""

    @abstractmethod
    def is_sequence(self, resource_identifier: str) -> bool:
        """Return whether the resource is a sequence of files."""

    @abstractmethod
    def open(self, resource_identifier: str, mode: str = "rb") -> Data:
        """Return the content of the resource, opened in *mode* (as of the builtin ``open``).

        Raises ``AccessorResourceNotFoundError`` when there is nothing to read, and
        ``AccessorResourceInvalidError`` when the resource is not a file.
        """

    @abstractmethod
    def remove(self, resource_identifier: str) -> None:
        """Remove the file or the empty container.

        Raises ``AccessorResourceNotFoundError`` when there is no such resource, and
        ``AccessorContainerNotEmptyError`` when a container still holds something.
        """

    @abstractmethod
    def make_container(self, resource_identifier: str, recursive: bool = True) -> None:
        """Make the container, with its parents when *recursive*; one that exists is left as it is.

        Raises ``AccessorParentResourceNotFoundError`` when a parent is missing and *recursive* is false.
        """

    @abstractmethod
    def get_container(self, resource_identifier: str) -> str:
        """Return the resource identifier of the container that holds the resource.

        Raises ``AccessorParentResourceNotFoundError`` when that lies outside of the storage.
        """

    def remove_container(self, resource_identifier: str) -> None:
        """Remove the empty container."""
        self.remove(resource_identifier)

    def get_filesystem_path(self, resource_identifier: str) -> str:
        """Return the path of the resource on this machine.

        Raises ``AccessorFilesystemPathError`` when the identifier has none, and
        ``AccessorUnsupportedOperationError`` when the storage has no paths.
        """
        raise AccessorUnsupportedOperationError(
            operation="get_filesystem_path", resource_identifier=resource_identifier
        )

    def get_url(self, resource_identifier: str) -> str:
        """Return the URL of the resource.

        Raises ``AccessorUnsupportedOperationError`` when the storage has none.
        """
        raise AccessorUnsupportedOperationError(operation="get_url", resource_identifier=resource_identifier)

    def receive_data(
        self,
        resource_identifier: str,
        source: Data,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """Write all of *source*, from its position on, to a new resource: wholly or not at all.

        Accessors that can tell raise ``FileExistsError`` when the resource has come to be meanwhile.
        *on_bytes* is called in this thread with the number of bytes stored since the last call.
        Accessors with a better way than copying in chunks override this.
        """
        target = self.open(resource_identifier, "wb")
        try:
            copy_in_chunks(source, target, on_bytes)
            # Made to look like data without being derived from it, it may only have close().
            getattr(target, "close_as_new", target.close)()
        except BaseException:
            _withdraw(self, resource_identifier, target)
            raise


def _withdraw(accessor: Accessor, resource_identifier: str, target: Any) -> None:
    """Leave nothing of *target*, whose writing failed, under *resource_identifier*."""
    give_up = getattr(target, "discard", target.close)
    # The first error is the one to report; cleaning up behind it must not replace it.
    with contextlib.suppress(OSError, AccessorError):
        give_up()
    if not getattr(target, "is_published_on_close", False):
        with contextlib.suppress(OSError, AccessorError):
            accessor.remove(resource_identifier)


def copy_in_chunks(source: Data, target: Data, on_bytes: Callable[[int], None] | None = None) -> None:
    """Copy *source* from its position on to *target*, ``symbol.CHUNK_SIZE`` bytes at a time.

    *on_bytes* is called with the size of each chunk once it is written.
    """
    while chunk := source.read(symbol.CHUNK_SIZE):
        target.write(chunk)
        if on_bytes is not None:
            on_bytes(len(chunk))
