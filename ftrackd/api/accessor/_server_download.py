"""Reading the data of a component from the server."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import time
from typing import TYPE_CHECKING, Final

import requests
import urllib3

from ftrackd.api.accessor import _server_request
from ftrackd.api.exception import AccessorOperationFailedError

if TYPE_CHECKING:
    from ftrackd.api.session import Session

_READ_SIZE: Final = 1024 * 1024
_BROKEN: Final = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)


class ServerDownload:
    """The bytes of one component, streamed; asked for again from where it was when the connection breaks."""

    def __init__(self, session: Session, resource_identifier: str, timeout_s: float | None) -> None:
        """Prepare to read; nothing is requested before the first byte is wanted."""
        self._session = session
        self._resource_identifier = resource_identifier
        self._timeout_s = timeout_s
        self._response: requests.Response | None = None
        self._position = 0
        self._size: int | None = None
        self._entity_tag: str | None = None
        self._checksum: str | None = None
        # None once the bytes did not come in one sequence, so that there is no checksum to compare.
        self._digest: hashlib._Hash | None = hashlib.md5(usedforsecurity=False)

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        return self._position

    def read(self, limit: int | None = None) -> bytes:
        """Return at most *limit* bytes, all that remain without one, nothing at the end.

        Raises ``AccessorOperationFailedError`` when the data cannot be had, ends early or does not have the
        checksum that the server gave for it.
        """
        pieces = []
        missing = limit
        while missing is None or missing > 0:
            piece = self._read_piece(_READ_SIZE if missing is None else min(missing, _READ_SIZE))
            if not piece:
                break
            pieces.append(piece)
            if missing is not None:
                missing -= len(piece)
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        """Continue at *offset*, counted as *whence* says."""
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += self._get_size()
        if offset < 0:
            raise ValueError(f"Cannot seek to {offset}: before the beginning.")
        if offset != self._position:
            self.close()
            self._position = offset
            self._digest = hashlib.md5(usedforsecurity=False) if offset == 0 else None

    def close(self) -> None:
        """Drop the connection."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def _get_size(self) -> int:
        if self._size is None:
            self._open()
        if self._size is None:
            raise _server_request.failure("seek", self._resource_identifier, "its size is not told")
        return self._size

    def _read_piece(self, limit: int) -> bytes:
        delays = iter(_server_request.RETRY_DELAYS_S)
        while True:
            try:
                return self._read_once(limit)
            except _BROKEN as error:
                self.close()
                delay_s = next(delays, None)
                if delay_s is None:
                    raise _server_request.failure("read", self._resource_identifier, error) from error
                time.sleep(delay_s)

    def _read_once(self, limit: int) -> bytes:
        """Return the next bytes; raises one of the errors of a broken connection when they do not come."""
        if self._response is None:
            self._open()
            if self._response is None:
                return b""
        piece: bytes = self._response.raw.read(limit, decode_content=True)
        if piece:
            self._position += len(piece)
            if self._digest is not None:
                self._digest.update(piece)
        elif self._size is not None and self._position < self._size:
            raise ConnectionError(f"the data ended after {self._position} of {self._size} bytes")
        else:
            self._verify()
        return piece

    def _open(self) -> None:
        headers = {"Accept-Encoding": "identity"}
        if self._position:
            headers["Range"] = f"bytes={self._position}-"
            if self._entity_tag is not None:
                headers["If-Range"] = self._entity_tag
        response = _server_request.get(
            self._session,
            "/component/get",
            {"id": self._resource_identifier},
            timeout_s=self._timeout_s,
            headers=headers,
        )
        if response.status_code == requests.codes.requested_range_not_satisfiable and self._position:
            # At or behind the end, which is no error for a file.
            response.close()
            return
        if response.status_code in _server_request.RETRIED_STATUSES:
            response.close()
            raise ConnectionError(f"the server answered {response.status_code} {response.reason}")
        if not _server_request.is_success(response):
            response.close()
            raise _server_request.refusal("read", self._resource_identifier, response)
        self._begin(response)

    def _begin(self, response: requests.Response) -> None:
        """Take over *response*, positioned where reading shall go on."""
        partial = response.status_code == requests.codes.partial_content
        size = _total_size(response, partial)
        entity_tag = response.headers.get("ETag")
        changed = (self._size is not None and size is not None and size != self._size) or (
            self._entity_tag is not None and entity_tag is not None and entity_tag != self._entity_tag
        )
        if changed and self._position:
            response.close()
            raise _server_request.failure(
                "read",
                self._resource_identifier,
                "it was replaced while it was read; read it again",
            )
        self._size = size if size is not None else self._size
        self._entity_tag = entity_tag
        self._checksum = None if partial else response.headers.get("Content-MD5", self._checksum)
        if self._position and not partial:
            _skip(response, self._position)
        # Lengths are checked here, where what did arrive of a broken answer is still worth having.
        response.raw.enforce_content_length = False
        self._response = response

    def _verify(self) -> None:
        if self._digest is None or self._checksum is None:
            return
        received = base64.b64encode(self._digest.digest()).decode("ascii")
        if received != self._checksum:
            raise AccessorOperationFailedError(
                "read",
                self._resource_identifier,
                f"received MD5 {received}, the server announced {self._checksum}",
                message="The data of component {resource_identifier} arrived damaged: {error}.",
            )


def _total_size(response: requests.Response, partial: bool) -> int | None:
    """Return how many bytes the whole resource has, if the answer says so."""
    if partial:
        match = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return int(match[1]) if match else None
    # The length of compressed content is not that of the data.
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _skip(response: requests.Response, count: int) -> None:
    """Read over *count* bytes, for servers that do not know ranges."""
    while count > 0:
        piece = response.raw.read(min(count, _READ_SIZE), decode_content=True)
        if not piece:
            raise ConnectionError("the data ended before the position to continue from")
        count -= len(piece)
