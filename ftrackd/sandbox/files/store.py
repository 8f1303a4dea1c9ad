"""Bytes of components on disk, keyed by the component's id alone.

A file appears under its name only when it is complete and its size and checksum are as announced, so a
broken upload leaves nothing behind and never spoils what was there.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Final

from ftrackd.sandbox.errors import RequestError, ValidationError

COPY_BYTES: Final = 1024 * 1024
MAXIMUM_PARTS: Final = 10_000

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_\-]{1,64}")


class UploadError(RequestError):
    """What arrived is not what was announced."""

    exception = "UploadError"
    error_code = "upload_failed"


class Upload:
    """One file being written; :meth:`finish` puts it in its place, :meth:`discard` removes it."""

    def __init__(
        self, target: Callable[[str], Path], temporary: Path, size: int | None, checksum: str | None
    ) -> None:
        """Open *temporary*, to become the *target* for its MD5 in hexadecimal; *checksum* is a base64 MD5."""
        self._target = target
        self._temporary = temporary
        self._size = size
        self._checksum = checksum
        self._digest = hashlib.md5(usedforsecurity=False)
        self._written = 0
        self._file: IO[bytes] = temporary.open("wb")

    def write(self, chunk: bytes) -> None:
        """Append *chunk*; raise :class:`UploadError` when there is more than was announced."""
        self._written += len(chunk)
        if self._size is not None and self._written > self._size:
            raise UploadError(f"The upload is longer than the announced {self._size} bytes.")
        self._digest.update(chunk)
        _write_sparse(self._file, chunk)

    def finish(self) -> str:
        """Put the file in its place and return its MD5 in hexadecimal.

        Raise :class:`UploadError` when size or checksum differ from what was announced.
        """
        self._file.truncate()
        self._file.close()
        if self._size is not None and self._written != self._size:
            raise UploadError(f"The upload has {self._written} bytes, {self._size} were announced.")
        checksum = base64.b64encode(self._digest.digest()).decode()
        if self._checksum and self._checksum != checksum:
            raise UploadError("The checksum of the upload differs from the announced one.")
        digest = self._digest.hexdigest()
        os.replace(self._temporary, self._target(digest))
        return digest

    def discard(self) -> None:
        """Remove what was written, unless it was put in its place."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


class FileStore:
    """The files below *root*.

    What was never stored is asked of *supply*, if there is one: it returns the bytes of a component that come
    with the installation, or None. They are stored when they are first needed, and stay away once removed.
    """

    def __init__(self, root: Path, supply: Callable[[str], bytes | None] | None = None) -> None:
        """Create the folders below *root* where they are missing."""
        self._supply = supply
        self._components = root / "components"
        self._uploads = root / "uploads"
        self._previews = root / "previews"
        self._removed = root / "removed"
        for folder in (self._components, self._uploads, self._previews, self._removed):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, component_id: str) -> Path:
        """Return where the bytes of *component_id* are, or would be.

        Raise :class:`ValidationError` when it is no id.
        """
        _check(component_id)
        return self._components / component_id

    def exists(self, component_id: str) -> bool:
        """Return whether there are bytes for *component_id*."""
        if self.path(component_id).is_file():
            return True
        supplied = self._supplied(component_id)
        if supplied is None:
            return False
        self.put(component_id, supplied)
        return True

    def put(self, component_id: str, content: bytes) -> None:
        """Store *content* as the bytes of *component_id*."""
        upload = self.begin(component_id, size=len(content))
        try:
            upload.write(content)
            upload.finish()
        finally:
            upload.discard()

    def remove(self, component_id: str) -> bool:
        """Remove the bytes of *component_id*; return whether there were any."""
        was_supplied = self._supplied(component_id) is not None
        if was_supplied:
            (self._removed / component_id).touch()
        try:
            self.path(component_id).unlink()
        except FileNotFoundError:
            return was_supplied
        return True

    def begin(self, component_id: str, *, size: int | None = None, checksum: str | None = None) -> Upload:
        """Begin to store the bytes of *component_id*."""
        path = self.path(component_id)
        return Upload(lambda digest: path, self._temporary(), size, checksum)

    # Uploads in parts

    def begin_parts(self) -> str:
        """Return the id of a new upload in parts."""
        upload_id = secrets.token_hex(16)
        (self._uploads / upload_id).mkdir()
        return upload_id

    def begin_part(self, upload_id: str, number: int) -> Upload:
        """Begin to store one part of an upload; *number* counts from 1."""
        folder = self._folder(upload_id)
        if not 1 <= number <= MAXIMUM_PARTS:
            raise ValidationError(f"An upload has the parts 1 to {MAXIMUM_PARTS}, there is no part {number}.")
        # Named after its entity tag, it need not be read once more to be compared with it.
        return Upload(lambda digest: folder / f"{number}-{digest}", self._temporary(), None, None)

    def complete_parts(self, upload_id: str, component_id: str, parts: Iterable[tuple[int, str]]) -> None:
        """Join the *parts*, pairs of number and entity tag, to the bytes of *component_id*.

        Raise :class:`UploadError` when one is missing or differs from its tag; the parts are kept then.
        """
        target, folder = self.path(component_id), self._folder(upload_id)
        in_order = sorted(parts)
        for (number, _), (following, _) in itertools.pairwise(in_order):
            if number == following:
                raise UploadError(f"Part {number} is named twice.")
        files = [_find_part(folder, number, tag) for number, tag in in_order]
        temporary = self._temporary()
        try:
            _join(files, temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        shutil.rmtree(folder)

    # Previews

    def preview_path(self, component_id: str, variant: str) -> Path:
        """Return where a picture made from the present bytes is kept; new bytes have another place."""
        modified = self.path(component_id).stat().st_mtime_ns
        return self._previews / f"{component_id}.{variant}.{modified}"

    def write_preview(self, path: Path, content: bytes) -> None:
        """Keep *content* at *path*, as :meth:`preview_path` gave it."""
        temporary = self._temporary()
        temporary.write_bytes(content)
        os.replace(temporary, path)

    def _supplied(self, component_id: str) -> bytes | None:
        """Return the bytes that come with the installation, None when there are none or they were removed."""
        _check(component_id)
        if self._supply is None or (self._removed / component_id).exists():
            return None
        return self._supply(component_id)

    def _temporary(self) -> Path:
        return self._uploads / f"{secrets.token_hex(16)}.part"

    def _folder(self, upload_id: str) -> Path:
        _check(upload_id)
        folder = self._uploads / upload_id
        if not folder.is_dir():
            raise UploadError(f"There is no upload {upload_id!r}; it may be complete already.")
        return folder


def _find_part(folder: Path, number: int, tag: str) -> Path:
    """Return the file of a part; raise :class:`UploadError` when there is none with its entity *tag*."""
    digest = tag.strip('"')
    part = folder / f"{number}-{digest}"
    if re.fullmatch(r"[0-9a-f]{32}", digest) and part.is_file():
        return part
    if any(folder.glob(f"{number}-*")):
        raise UploadError(f"Part {number} differs from its entity tag {tag}.")
    raise UploadError(f"Part {number} was not uploaded.")


def _join(files: Iterable[Path], target: Path) -> None:
    with target.open("wb") as joined:
        for path in files:
            with path.open("rb") as file:
                while chunk := file.read(COPY_BYTES):
                    _write_sparse(joined, chunk)
        joined.truncate()


def _write_sparse(file: IO[bytes], chunk: bytes) -> None:
    """Append *chunk* to *file*, as a hole when all of it is zero; truncate the file where it ends."""
    if chunk.count(0) == len(chunk):
        file.seek(len(chunk), os.SEEK_CUR)
    else:
        file.write(chunk)


def _check(identifier: str) -> None:
    if not _IDENTIFIER.fullmatch(identifier):
        raise ValidationError(f"{identifier[:80]!r} is no id.")
