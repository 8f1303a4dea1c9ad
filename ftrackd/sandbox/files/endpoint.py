"""The HTTP endpoints of files: upload, download, remove, thumbnails."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.errors import PermissionError, ValidationError
from ftrackd.sandbox.files import picture
from ftrackd.sandbox.files.links import DOWNLOAD_PATH, THUMBNAIL_PATH, UPLOAD_PATH
from ftrackd.sandbox.files.names import media_type
from ftrackd.sandbox.files.store import COPY_BYTES, Upload, UploadError
from ftrackd.sandbox.rpc.reply import FileMissingError, json_response

if TYPE_CHECKING:
    from ftrackd.sandbox.services import Services

DEFAULT_PICTURE_PATH: Final = "/img/thumbnail2.png"
DEFAULT_THUMBNAIL_SIZE: Final = 300
_RANGE: Final = re.compile(r"(?=-?[0-9])([0-9]{0,18})-([0-9]{0,18})")


class FileEndpoints:
    """Serves the files in *services*; *authenticate* checks requests that are not signed."""

    def __init__(self, services: Services, authenticate: Callable[[Request], Awaitable[Actor]]) -> None:
        """Remember where files and permissions come from."""
        self._services = services
        self._authenticate = authenticate
        self._default_picture: picture.Picture | None = None

    def routes(self) -> list[Route]:
        """Return the routes of files."""
        return [
            Route(DOWNLOAD_PATH, self._download, methods=["GET"]),
            Route(THUMBNAIL_PATH, self._thumbnail, methods=["GET"]),
            Route("/component/remove", self._remove, methods=["GET", "DELETE"]),
            Route(UPLOAD_PATH, self._upload, methods=["PUT"]),
            Route(DEFAULT_PICTURE_PATH, self._default, methods=["GET"]),
        ]

    async def _download(self, request: Request) -> Response:
        await self._permit(request)
        _ignore_malformed_range(request)
        component_id = _component_id(request)
        path = await self._existing_path(component_id)
        name = await self._services.run(self._services.component_file_name, component_id)
        return FileResponse(
            path, media_type=media_type(name or ""), filename=name, content_disposition_type="inline"
        )

    async def _thumbnail(self, request: Request) -> Response:
        await self._permit(request)
        size = request.query_params.get("size", str(DEFAULT_THUMBNAIL_SIZE))
        if not size.isascii() or not size.isdigit() or not 1 <= int(size) <= picture.MAXIMUM_SIZE:
            raise ValidationError(f"The size of a thumbnail lies between 1 and {picture.MAXIMUM_SIZE}.")
        component_id = _component_id(request)
        path = await self._existing_path(component_id)
        try:
            preview = await self._services.run(self._preview, component_id, path, int(size))
        except picture.NoPictureError:
            return await self._default(request)
        except FileNotFoundError:
            # Removed since it was found.
            raise _missing(component_id) from None
        content = await self._services.run(preview.read_bytes)
        kind = "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"
        return Response(content, media_type=kind, headers={"cache-control": "private, max-age=60"})

    def _preview(self, component_id: str, path: Path, size: int) -> Path:
        preview = self._services.files.preview_path(component_id, str(size))
        if not preview.exists():
            self._services.files.write_preview(preview, picture.fit(path, size).content)
        return preview

    async def _default(self, request: Request) -> Response:
        del request
        if self._default_picture is None:
            self._default_picture = await self._services.run(picture.default_picture)
        return Response(self._default_picture.content, media_type=self._default_picture.media_type)

    async def _remove(self, request: Request) -> Response:
        await self._authenticate(request)
        if request.method == "HEAD":
            # It comes with GET, and whoever only looks must not remove anything.
            raise HTTPException(405)
        component_id = _component_id(request)
        if not await self._services.run(self._services.files.remove, component_id):
            raise _missing(component_id)
        return json_response({"removed": component_id})

    async def _upload(self, request: Request) -> Response:
        if not self._services.signer.verify(UPLOAD_PATH, request.query_params):
            raise PermissionError("The address of the upload is not valid or has expired; ask for a new one.")
        query = request.query_params
        files = self._services.files
        if "upload_id" in query:
            upload = await self._services.run(files.begin_part, query["upload_id"], int(query["part"]))
        else:
            size = int(query["size"]) if "size" in query else None
            upload = await self._services.run(
                lambda: files.begin(query["id"], size=size, checksum=query.get("checksum") or None)
            )
        try:
            tag = await self._receive(request, upload)
        except ClientDisconnect as error:
            raise UploadError("The connection ended before the upload did.") from error
        finally:
            await self._services.run(upload.discard)
        return Response(headers={"etag": f'"{tag}"'})

    async def _receive(self, request: Request, upload: Upload) -> str:
        """Write the body of *request* to *upload* and return its entity tag.

        Chunks are collected into pieces that are worth a switch of threads.
        """
        pending = bytearray()
        async for chunk in request.stream():
            pending += chunk
            if len(pending) >= COPY_BYTES:
                await self._services.run(upload.write, bytes(pending))
                pending.clear()
        await self._services.run(upload.write, bytes(pending))
        return await self._services.run(upload.finish)

    async def _permit(self, request: Request) -> None:
        """Let *request* pass when its address is signed, or its credentials are valid."""
        if "signature" in request.query_params:
            # The size is the client's choice: it is added to a signed address.
            signed = {name: value for name, value in request.query_params.items() if name != "size"}
            if not self._services.signer.verify(request.url.path, signed):
                raise PermissionError("The signed address is not valid or has expired.")
            return
        await self._authenticate(request)

    async def _existing_path(self, component_id: str) -> Path:
        if not await self._services.run(self._services.files.exists, component_id):
            raise _missing(component_id)
        return self._services.files.path(component_id)


def _ignore_malformed_range(request: Request) -> None:
    """Take a ``Range`` that means nothing out of *request*: RFC 9110 (14.2) asks to answer as without it."""
    unit, _, ranges = request.headers.get("range", "bytes=0-").partition("=")
    if unit.strip().lower() != "bytes" or not all(map(_is_range, ranges.split(","))):
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]


def _is_range(text: str) -> bool:
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        return False
    first, last = found.groups()
    return not first or not last or int(first) <= int(last)


def _component_id(request: Request) -> str:
    component_id = request.query_params.get("id")
    if not component_id:
        raise ValidationError("The id of the component is missing.")
    return component_id


def _missing(component_id: str) -> FileMissingError:
    return FileMissingError(f"There are no bytes for the component {component_id} on this server.")
