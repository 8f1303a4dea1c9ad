"""Data: what an accessor opens, and what a transfer reads and writes in chunks."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from types import TracebackType
from typing import IO, Any, Self


class Data(ABC):
    """File-like content of one resource.

    Usable as a context manager: leaving normally closes, leaving by an exception discards.
    """

    #: True once closed. A class attribute too, so that subclasses need not call ``super().__init__``.
    closed: bool = False

    #: Whether what is written appears under its identifier only when closed, and not at all when discarded.
    is_published_on_close: bool = False

    def __init__(self) -> None:
        self.closed = False

    def __enter__(self) -> Self:
        """Return the data itself."""
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, or discard what was written when the block failed."""
        if error_type is None:
            self.close()
        else:
            self.discard()

    @abstractmethod
    def read(self, limit: int | None = None) -> Any:
        """Return content from the current position: all of it, or at most *limit* bytes; empty at the end."""

    @abstractmethod
    def write(self, content: Any) -> None:
        """Write *content* at the current position."""

    def flush(self) -> None:  # noqa: B027 - nothing to do for data that does not buffer
        """Push buffered content on to the storage."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        """Move to *offset* bytes, counted as *whence* says (``os.SEEK_*``)."""
        raise OSError(f"{type(self).__name__} cannot seek.")

    def tell(self) -> int:
        """Return the current position in bytes."""
        raise OSError(f"{type(self).__name__} has no position.")

    def close(self) -> None:
        """Flush what is buffered and release the resource."""
        self.flush()
        self.closed = True

    def close_as_new(self) -> None:
        """Close what was written to a resource that did not exist when it was opened.

        A transfer that succeeds calls this instead of :meth:`close`. Storages that can tell raise
        ``FileExistsError``, and publish nothing, when somebody else made the resource meanwhile. Here it
        only closes.
        """
        self.close()

    def discard(self) -> None:
        """Close without publishing what was written, as far as the storage can do that.

        A transfer that fails calls this instead of :meth:`close`. Here it only closes.
        """
        self.close()


class FileWrapper(Data):
    """Data on a Python file object."""

    def __init__(self, wrapped_file: IO[Any]) -> None:
        """Wrap *wrapped_file*, which is closed with this data."""
        super().__init__()
        self.wrapped_file = wrapped_file
        self._read_since_last_write = False

    def read(self, limit: int | None = None) -> Any:
        """Return content from the current position: all of it, or at most *limit* bytes."""
        self._read_since_last_write = True
        return self.wrapped_file.read(-1 if limit is None else limit)

    def write(self, content: Any) -> None:
        """Write *content* at the current position."""
        if self._read_since_last_write:
            # C standard libraries leave a write that follows a read without a seek undefined.
            self.seek(self.tell())
        self.wrapped_file.write(content)

    def flush(self) -> None:
        """Hand buffered content on, to the operating system or wherever a subclass keeps it."""
        if hasattr(self.wrapped_file, "flush"):
            self.wrapped_file.flush()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        """Move to *offset* bytes, counted as *whence* says (``os.SEEK_*``)."""
        self._read_since_last_write = False
        self.wrapped_file.seek(offset, whence)

    def tell(self) -> int:
        """Return the current position in bytes."""
        return self.wrapped_file.tell()

    def close(self) -> None:
        """Flush, and close the wrapped file; a second call does nothing.

        Subclasses that upload do so in :meth:`flush`, which is therefore called first.
        """
        if self.closed:
            return
        # A file closed from outside has nothing left to flush.
        if not getattr(self.wrapped_file, "closed", False):
            super().close()
        self._release()

    def discard(self) -> None:
        """Close the wrapped file without a :meth:`flush` of this data."""
        if not self.closed:
            self._release()

    def _release(self) -> None:
        self.closed = True
        if hasattr(self.wrapped_file, "close"):
            self.wrapped_file.close()


class File(FileWrapper):
    """Data of the file at a path."""

    def __init__(self, path: str | os.PathLike[str], mode: str = "rb") -> None:
        """Open *path* in *mode*; raises ``OSError`` as ``open`` does."""
        super().__init__(open(path, mode))  # noqa: SIM115 closed with this data


class String(FileWrapper):
    """Data held in a temporary file; text in is text out, bytes in are bytes out."""

    def __init__(self, content: str | bytes | None = None) -> None:
        """Start with *content*, positioned at its beginning; without any, what is written first decides."""
        self.is_text = isinstance(content, str)
        self._is_undecided = content is None
        super().__init__(tempfile.TemporaryFile())  # noqa: SIM115 closed with this data
        if content is not None:
            self.write(content)
            self.seek(0)

    def read(self, limit: int | None = None) -> str | bytes:
        """Return content from the current position, as text or bytes like the initial content."""
        content: bytes = super().read(limit)
        return content.decode("utf-8") if self.is_text else content

    def write(self, content: str | bytes) -> None:
        """Write *content*; text is stored as UTF-8."""
        if self._is_undecided:
            self._is_undecided = False
            self.is_text = isinstance(content, str)
        super().write(content.encode("utf-8") if isinstance(content, str) else content)
