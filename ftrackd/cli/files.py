"""Files that commands write for people."""

from __future__ import annotations

from pathlib import Path

from ftrackd.errors import FtrackdError


def write_file(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Write a file, and the folders that lead to it; ``mode`` is that of a file which was not there.

    Raises FtrackdError when the place does not allow it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode)  # before the text, which not everybody may be allowed to read
        path.write_text(text)
    except OSError as error:
        raise FtrackdError(f"{path}: cannot be written: {error.strerror}") from error
