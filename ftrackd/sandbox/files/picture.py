"""Pictures: thumbnails, the default picture, and what the built-in encoder makes.

Pillow is imported on first use: most runs of the sandbox never show a picture.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAXIMUM_SIZE: Final = 4096
MAXIMUM_PIXELS: Final = 120_000_000


class NoPictureError(ValueError):
    """The file is not a picture that can be read."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture."""

    content: bytes
    media_type: str
    width: int
    height: int


def fit(path: Path, size: int) -> Picture:
    """Return the picture in *path*, at most *size* pixels wide and high; it is never enlarged.

    JPEG, or PNG when it has transparency. Raise :class:`NoPictureError` when *path* holds no picture.
    """
    from PIL import Image, ImageOps

    size = max(1, min(size, MAXIMUM_SIZE))
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAXIMUM_PIXELS:
                raise NoPictureError(f"{opened.width} x {opened.height} pixels are too many.")
            opened.draft("RGB", (size, size))
            image = ImageOps.exif_transpose(opened)
            has_transparency = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            image = image.convert("RGBA" if has_transparency else "RGB")
            image.thumbnail((size, size))
    except Exception as error:  # contains Pillow: what its decoders raise is not documented
        raise NoPictureError(str(error) or type(error).__name__) from error
    return _encode(image, "PNG" if has_transparency else "JPEG")


def default_picture(size: int = 300) -> Picture:
    """Return the picture shown where there is none: a plain frame."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (size, size * 9 // 16), (38, 43, 51))
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, image.width - 5, image.height - 5), outline=(90, 99, 112), width=2)
    draw.line((4, image.height - 5, image.width - 5, 4), fill=(62, 69, 80), width=2)
    return _encode(image, "PNG")


def _encode(image: object, kind: str) -> Picture:
    from PIL import Image

    assert isinstance(image, Image.Image)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return Picture(buffer.getvalue(), f"image/{kind.lower()}", image.width, image.height)
