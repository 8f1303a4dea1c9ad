"""The pictures of the demo production, drawn when somebody asks for one.

Plain PNG written by hand: a frame of colour that differs from shot to shot and gets lighter from version to
version, with a marker that moves, so that one sees at a glance what one looks at.
"""

from __future__ import annotations

import colorsys
import struct
import zlib
from functools import lru_cache
from typing import Final

WIDTH: Final = 320
HEIGHT: Final = 180
_BAR: Final = 6


@lru_cache(maxsize=256)
def draw(seed: int, version: int) -> bytes:
    """A PNG for version number *version* of the thing called *seed*; the same for the same arguments."""
    hue = (seed % 997) / 997
    rows = []
    mark = (version * 37 + seed) % (WIDTH - 24)
    for y in range(HEIGHT):
        value = min(0.35 + 0.06 * version + 0.4 * y / HEIGHT, 0.95)
        color = bytes(round(part * 255) for part in colorsys.hsv_to_rgb(hue, 0.45, value))
        row = color * WIDTH
        if y < _BAR or y >= HEIGHT - _BAR:
            row = b"\x18\x1b\x20" * WIDTH
        elif HEIGHT // 2 - 12 <= y < HEIGHT // 2 + 12:
            white = b"\xf4\xf4\xf4" * 24
            row = row[: mark * 3] + white + row[(mark + 24) * 3 :]
        rows.append(b"\x00" + row)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(rows), 6)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
