"""Writing the data of a component to the server: at once, or in parts when it is large."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import requests
import urllib3

from ftrackd.api.accessor import _server_request
from ftrackd.api.exception import AccessorOperationFailedError, NetworkError, ServerError

if TYPE_CHECKING:
    from ftrackd.api.session import Session

_MEBIBYTE: Final = 1024 * 1024

#: Part sizes by the size of the file from which they apply: at most 10 000 parts make the largest file.
_PART_SIZES: Final = (
    (64 * 1024 * _MEBIBYTE, 128 * _MEBIBYTE),
    (8 * 1024 * _MEBIBYTE, 64 * _MEBIBYTE),
    (1024 * _MEBIBYTE, 32 * _MEBIBYTE),
    (128 * _MEBIBYTE, 16 * _MEBIBYTE),
    (0, 8 * _MEBIBYTE),
)

#: Parts sent side by side.
_CONNECTION_COUNT: Final = 4

#: How often progress is reported, and how long a failed part takes to stop the others.
_REPORT_INTERVAL_S: Final = 0.25

_BROKEN: Final = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)


def get_part_size(size: int) -> int:
    """Return the bytes per part for a file of *size* bytes."""
    return next(part_size for threshold, part_size in _PART_SIZES if size > threshold or threshold == 0)


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of the file and where to put it; numbered from 1."""

    number: int
    offset: int
    size: int
    url: str
    headers: Mapping[str, str]


class _CancelledError(Exception):
    """Another part failed, so that this one need not go on."""


class _PartReader:
    """What a request reads its body from: one part of a file that several parts are read from at once."""

    def __init__(self, upload: ServerUpload, part: _Part) -> None:
        self._upload = upload
        self._part = part
        self._done = 0
        self.digest = hashlib.md5(usedforsecurity=False)

    def __len__(self) -> int:
        return self._part.size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(64 * 1024):
            yield block

    def read(self, limit: int = -1) -> bytes:
        remaining = self._part.size - self._done
        count = remaining if limit < 0 else min(limit, remaining)
        if not count:
            return b""
        block = self._upload.read_block(self._part.offset + self._done, count)
        self.digest.update(block)
        self._done += len(block)
        self._upload.note_sent(self._part.number, self._done)
        return block


class ServerUpload:
    """Sends one stretch of a file as the data of one component."""

    def __init__(
        self,
        session: Session,
        resource_identifier: str,
        file: IO[bytes],
        *,
        timeout_s: float | None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """Prepare to send *file*, a seekable one, from its position to its end.

        *on_bytes* is called in the thread that calls :meth:`send`, with the bytes sent since the last call.
        """
        self._session = session
        self._resource_identifier = resource_identifier
        self._timeout_s = timeout_s
        self._on_bytes = on_bytes
        self._file = file
        self._file_lock = threading.Lock()
        self._start = file.tell()
        self._size = file.seek(0, 2) - self._start
        self._sent_by_part: dict[int, int] = {}
        self._reported = 0
        self._cancelled = threading.Event()

    def send(self) -> None:
        """Send the data; parts that break are sent again a few times.

        Raises ``AccessorOperationFailedError``, after which the server keeps what it had before.
        """
        try:
            self._send()
        except (ServerError, NetworkError) as error:
            raise _server_request.failure("write", self._resource_identifier, error) from error

    def _send(self) -> None:
        part_size = get_part_size(self._size)
        part_count = math.ceil(self._size / part_size)
        # Two parts are not worth the two requests more.
        metadata = self._request_metadata(part_count if part_count > 2 else None)
        if "urls" in metadata:
            entity_tags = self._send_parts(self._plan_parts(metadata["urls"], part_size))
            self._complete(metadata["upload_id"], entity_tags)
        else:
            part = _Part(1, 0, self._size, metadata["url"], metadata.get("headers") or {})
            self._send_parts([part])

    def read_block(self, offset: int, count: int) -> bytes:
        """Return *count* bytes of the stretch from *offset* on; called by the parts' threads."""
        if self._cancelled.is_set():
            raise _CancelledError()
        with self._file_lock:
            self._file.seek(self._start + offset)
            block = self._file.read(count)
        if not block:
            raise _server_request.failure(
                "write", self._resource_identifier, "the file became shorter meanwhile"
            )
        return block

    def note_sent(self, part_number: int, count: int) -> None:
        """Record that *count* bytes of a part went out; called by the parts' threads."""
        self._sent_by_part[part_number] = count

    def _request_metadata(self, part_count: int | None) -> Mapping[str, Any]:
        options: dict[str, Any] = {"checksum": None if part_count else self._compute_checksum()}
        if part_count:
            # Only named when wanted, for sessions whose method has the signature of the official one.
            options["parts"] = part_count
        metadata: Mapping[str, Any] = self._session.get_upload_metadata(
            component_id=self._resource_identifier,
            file_name=self._get_file_name(),
            file_size=self._size,
            **options,
        )
        return metadata

    def _get_file_name(self) -> str:
        component = self._session.get("FileComponent", self._resource_identifier)
        if component is None:
            raise _server_request.failure("write", self._resource_identifier, "there is no such component")
        file_type = (component["file_type"] or "").lstrip(".")
        return f"{component['name']}.{file_type}" if file_type else str(component["name"])

    def _compute_checksum(self) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        self._file.seek(self._start)
        while block := self._file.read(_MEBIBYTE):
            digest.update(block)
        return base64.b64encode(digest.digest()).decode("ascii")

    def _plan_parts(self, urls: list[Mapping[str, Any]], part_size: int) -> list[_Part]:
        parts = []
        for url in sorted(urls, key=lambda item: int(item["part_number"])):
            number = int(url["part_number"])
            offset = (number - 1) * part_size
            size = min(part_size, self._size - offset)
            parts.append(_Part(number, offset, size, url["signed_url"], url.get("headers") or {}))
        return parts

    def _send_parts(self, parts: list[_Part]) -> dict[int, str]:
        """Send *parts* side by side and return their entity tags by number."""
        with external_pool(self._session) as requester, ThreadPoolExecutor(_CONNECTION_COUNT) as pool:
            pending = {pool.submit(self._send_part, requester, part): part.number for part in parts}
            numbers = dict(pending)
            try:
                return {numbers[future]: future.result() for future in self._wait_reporting(set(pending))}
            except BaseException:
                # Includes an error of the progress callback, which is how a caller cancels.
                self._cancelled.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _wait_reporting(self, pending: set[Future[str]]) -> list[Future[str]]:
        finished: list[Future[str]] = []
        while pending:
            done, pending = wait(pending, timeout=_REPORT_INTERVAL_S, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            finished.extend(done)
            self._report()
        return finished

    def _report(self) -> None:
        # A part that is sent again counts from its beginning; what was reported once is not taken back.
        sent = sum(self._sent_by_part.copy().values())
        if self._on_bytes is not None and sent > self._reported:
            self._on_bytes(sent - self._reported)
        self._reported = max(self._reported, sent)

    def _send_part(self, requester: requests.Session, part: _Part) -> str:
        """Send one part, several times if need be, and return its entity tag without quotes."""
        delays = iter(_server_request.RETRY_DELAYS_S)
        while True:
            try:
                return self._send_part_once(requester, part)
            except _BROKEN as error:
                delay_s = next(delays, None)
                if delay_s is None:
                    raise _server_request.failure("write", self._resource_identifier, error) from error
                if self._cancelled.wait(delay_s):
                    raise _CancelledError() from error

    def _send_part_once(self, requester: requests.Session, part: _Part) -> str:
        reader = _PartReader(self, part)
        # An empty stream would go out as chunks, which signed URLs do not accept.
        body: Any = reader if part.size else b""
        headers = {
            name: str(value) for name, value in part.headers.items() if name.lower() != "content-length"
        }
        response = requester.put(
            part.url, data=body, headers=headers, timeout=self._timeout_s, allow_redirects=False
        )
        with response:
            if response.status_code in _server_request.RETRIED_STATUSES:
                raise ConnectionError(f"the server answered {response.status_code} {response.reason}")
            if not _server_request.is_success(response):
                raise _server_request.refusal("write", self._resource_identifier, response)
            return self._verify(part, response, reader.digest.hexdigest())

    def _verify(self, part: _Part, response: requests.Response, digest: str) -> str:
        """Return the entity tag of *response*, which of plain storages is the MD5 of what they received."""
        entity_tag = response.headers.get("ETag", "").strip('"')
        encrypted = response.headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
        if not encrypted and re.fullmatch(r"[0-9a-f]{32}", entity_tag) and entity_tag != digest:
            raise ConnectionError(f"part {part.number} arrived damaged")
        return entity_tag

    def _complete(self, upload_id: str, entity_tags: Mapping[int, str]) -> None:
        missing = sorted(number for number, entity_tag in entity_tags.items() if not entity_tag)
        if missing:
            raise AccessorOperationFailedError(
                "write", self._resource_identifier, f"the storage gave no ETag for the parts {missing}"
            )
        parts = [{"e_tag": entity_tags[number], "part_number": number} for number in sorted(entity_tags)]
        self._session.call(
            [
                {
                    "action": "complete_multipart_upload",
                    "component_id": self._resource_identifier,
                    "upload_id": upload_id,
                    "parts": parts,
                }
            ]
        )


def external_pool(session: Session) -> requests.Session:
    """Return a requester for upload URLs with as many connections as parts are sent at once."""
    requester = _server_request.external_requests(session)
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTION_COUNT)
    requester.mount("http://", adapter)
    requester.mount("https://", adapter)
    return requester
