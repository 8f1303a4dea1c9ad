"""Access to data that the ftrack server keeps."""

from __future__ import annotations

import builtins
import io
import os
import tempfile
from collections.abc import Callable
from typing import IO, TYPE_CHECKING
from urllib.parse import urlencode

from ftrackd.api.accessor.base import Accessor, copy_in_chunks
from ftrackd.api.data import Data, FileWrapper
from ftrackd.api.exception import AccessorUnsupportedOperationError

if TYPE_CHECKING:
    from ftrackd.api.session import Session


class _UnsupportedByServerError(AccessorUnsupportedOperationError, NotImplementedError):
    """The server cannot tell.

    Also the builtin error, because that is what this accessor has always been known to raise.
    """


class ServerFile(Data):
    """The data of a component on the server.

    Read, it is streamed. Written, it is kept in a temporary file and uploaded on :meth:`flush` and
    :meth:`close`, once for what was written.
    """

    is_published_on_close = True

    def __init__(self, resource_identifier: str, session: Session, mode: str = "rb") -> None:
        """Open the data of the component with the id *resource_identifier*, in mode ``rb`` or ``wb``.

        Nothing is requested yet. Raises ``AccessorUnsupportedOperationError`` for other modes.
        """
        super().__init__()
        self.mode = mode
        self.resource_identifier = resource_identifier
        self._session = session
        self._timeout_s = session.request_timeout
        self._spool: FileWrapper | None = None
        self._is_uploaded = False
        match mode:
            case "r" | "rb":
                # requests is imported only when data moves: most programs never do.
                from ftrackd.api.accessor._server_download import ServerDownload

                self._download = ServerDownload(session, resource_identifier, self._timeout_s)
            case "w" | "wb":
                self._spool = FileWrapper(tempfile.TemporaryFile())  # noqa: SIM115 closed with this data
            case _:
                raise AccessorUnsupportedOperationError(
                    f"open in mode {mode!r}", resource_identifier=resource_identifier
                )

    def read(self, limit: int | None = None) -> bytes:
        """Return bytes from the current position: all of them, or at most *limit*.

        Raises ``AccessorOperationFailedError``.
        """
        if self._spool is not None:
            content: bytes = self._spool.read(limit)
            return content
        return self._download.read(limit)

    def write(self, content: bytes) -> None:
        """Write *content* to be uploaded; raises ``AccessorUnsupportedOperationError`` in mode ``rb``."""
        if self._spool is None:
            raise AccessorUnsupportedOperationError(
                "write to data opened for reading", resource_identifier=self.resource_identifier
            )
        self._spool.write(content)
        self._is_uploaded = False

    def flush(self) -> None:
        """Upload what was written, unless that has happened; raises ``AccessorOperationFailedError``."""
        if self._spool is None or self._is_uploaded:
            return
        position = self._spool.tell()
        self._spool.seek(0)
        _upload(self._session, self.resource_identifier, self._spool.wrapped_file, self._timeout_s)
        self._spool.seek(position)
        self._is_uploaded = True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        """Move to *offset* bytes, counted as *whence* says (``os.SEEK_*``)."""
        if self._spool is not None:
            self._spool.seek(offset, whence)
        else:
            self._download.seek(offset, whence)

    def tell(self) -> int:
        """Return the current position in bytes."""
        return self._download.position if self._spool is None else self._spool.tell()

    def close(self) -> None:
        """Upload what was written and release the rest; raises ``AccessorOperationFailedError``."""
        if self.closed:
            return
        try:
            self.flush()
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop what was written since the last :meth:`flush`."""
        self.closed = True
        if self._spool is not None:
            self._spool.close()
        else:
            self._download.close()


class _ServerAccessor(Accessor):
    """Access to the data of components by their ids."""

    def __init__(self, session: Session, **kw: object) -> None:
        """Give access to the server of *session*."""
        super().__init__(**kw)
        self._server_url = session.server_url
        self._session = session

    def open(self, resource_identifier: str, mode: str = "rb") -> ServerFile:
        """Return the data of the component, in mode ``rb`` or ``wb``."""
        return ServerFile(resource_identifier, session=self._session, mode=mode)

    def receive_data(
        self,
        resource_identifier: str,
        source: Data,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """Upload *source*: straight from its file if it is one, else by way of a temporary file."""
        timeout_s = self._session.request_timeout
        file = _get_plain_file(source)
        if file is not None:
            _upload(self._session, resource_identifier, file, timeout_s, on_bytes)
            return
        with tempfile.TemporaryFile() as spool:
            copy_in_chunks(source, FileWrapper(spool))
            spool.seek(0)
            _upload(self._session, resource_identifier, spool, timeout_s, on_bytes)

    def remove(self, resource_identifier: str) -> None:
        """Remove the data of the component; raises ``AccessorOperationFailedError``."""
        import requests

        from ftrackd.api.accessor import _server_request

        try:
            response = _server_request.get(
                self._session,
                "/component/remove",
                {"id": resource_identifier},
                timeout_s=self._session.request_timeout,
            )
        except requests.exceptions.RequestException as error:
            raise _server_request.failure("remove", resource_identifier, error) from error
        with response:
            if not _server_request.is_success(response):
                raise _server_request.refusal("remove", resource_identifier, response)

    def exists(self, resource_identifier: str) -> bool:
        """Return False: the server cannot tell, and replaces what it has."""
        return False

    def list(self, resource_identifier: str) -> builtins.list[str]:
        """Raise an error: the server has no containers."""
        raise _UnsupportedByServerError("list", resource_identifier)

    def is_file(self, resource_identifier: str) -> bool:
        """Raise an error: the server cannot tell."""
        raise _UnsupportedByServerError("is_file", resource_identifier)

    def is_container(self, resource_identifier: str) -> bool:
        """Raise an error: the server cannot tell."""
        raise _UnsupportedByServerError("is_container", resource_identifier)

    def is_sequence(self, resource_identifier: str) -> bool:
        """Raise an error: the server cannot tell."""
        raise _UnsupportedByServerError("is_sequence", resource_identifier)

    def make_container(self, resource_identifier: str, recursive: bool = True) -> None:
        """Do nothing: components on the server need no containers."""

    def get_container(self, resource_identifier: str) -> str:
        """Return no name, for the server itself, so that code which makes containers goes on."""
        return ""

    def get_url(self, resource_identifier: str) -> str:
        """Return a URL that whoever has it can download the data with.

        It holds the API key of the session: hand it to programs, do not log or store it.
        """
        return self._make_url("/component/get", {"id": resource_identifier})

    def get_thumbnail_url(self, resource_identifier: str, size: int | None = None) -> str:
        """Return a URL of a picture of the data, at most *size* pixels wide and high.

        It holds the API key of the session: hand it to programs, do not log or store it.
        """
        parameters = {"id": resource_identifier}
        if size:
            parameters["size"] = str(size)
        return self._make_url("/component/thumbnail", parameters)

    def _make_url(self, path: str, parameters: dict[str, str]) -> str:
        credentials = {"username": self._session.api_user, "apiKey": self._session.api_key}
        return f"{self._server_url}{path}?{urlencode({**parameters, **credentials})}"


def _upload(
    session: Session,
    resource_identifier: str,
    file: IO[bytes],
    timeout_s: float | None,
    on_bytes: Callable[[int], None] | None = None,
) -> None:
    from ftrackd.api.accessor._server_upload import ServerUpload

    ServerUpload(session, resource_identifier, file, timeout_s=timeout_s, on_bytes=on_bytes).send()


def _get_plain_file(source: Data) -> IO[bytes] | None:
    """Return the file whose bytes are exactly what *source* would read, if there is one."""
    if not isinstance(source, FileWrapper) or type(source).read is not FileWrapper.read:
        return None
    file = source.wrapped_file
    return file if isinstance(file, io.BufferedReader) and file.seekable() else None
