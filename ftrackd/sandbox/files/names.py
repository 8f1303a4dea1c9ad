"""Names and media types of files."""

from __future__ import annotations

import mimetypes
from typing import Final

UNKNOWN_MEDIA_TYPE: Final = "application/octet-stream"

# Facts about the media of this field that the platform's table may lack.
_MEDIA_TYPES: Final = {
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".exr": "image/x-exr",
}


def media_type(file_name: str) -> str:
    """Return the media type that the extension of *file_name* stands for."""
    extension = file_name[file_name.rfind(".") :].lower() if "." in file_name else ""
    return _MEDIA_TYPES.get(extension) or mimetypes.guess_type("x" + extension)[0] or UNKNOWN_MEDIA_TYPE


def file_name(name: str | None, file_type: str | None) -> str:
    """Return the file name of a component: its name and its extension, with or without a leading dot."""
    extension = (file_type or "").lstrip(".")
    return f"{name or 'component'}.{extension}" if extension else name or "component"
