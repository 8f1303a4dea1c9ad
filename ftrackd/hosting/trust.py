"""Load code only from where nobody else may write.

The rule of sshd's StrictModes and git's safe.directory: the file and every folder above it must belong to us
or to root, and neither group nor others may write there. Exceptions that are safe: a sticky folder (``/tmp``)
above an entry that is ours, and the group that is its owner's alone (Debian's and Red Hat's default).
"""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ftrackd.hosting.errors import UntrustedPathError


def check_trusted(path: Path) -> None:
    """Raise :class:`UntrustedPathError` when somebody else may replace *path* or what it points to.

    The folders above are checked on the way that was configured and, when links are involved, on the way
    that the system takes in the end.
    """
    literal = Path(os.path.abspath(path))
    real = Path(os.path.realpath(path))
    for way in dict.fromkeys((literal, real)):
        _check_way(way)


def check_tree(root: Path) -> None:
    """Raise :class:`UntrustedPathError` for anything below *root* that others may write, links included."""
    check_trusted(root)
    if not root.is_dir():
        return
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in (*folders, *sorted(files)):
            entry = Path(folder, name)
            if entry.is_symlink():
                check_trusted(entry)
            elif name in folders or name.endswith((".py", ".pyc", ".so")):
                _check_entry(entry, os.lstat(entry))


def read_trusted(path: str) -> bytes:
    """Return the bytes of the file *path*, checked on the very file that is read.

    Raises :class:`UntrustedPathError`, or :class:`OSError` when it cannot be read.
    """
    check_trusted(Path(path))
    with open(path, "rb") as file:
        _check_entry(Path(path), os.fstat(file.fileno()))
        return file.read()


def _check_way(path: Path) -> None:
    for entry in (path, *path.parents):
        try:
            facts = os.lstat(entry)
        except FileNotFoundError:
            continue
        below = _child_of(entry, path)
        if stat.S_ISLNK(facts.st_mode):
            # What a link's own mode says means nothing; its folder and its target are checked.
            _check_owner(entry, facts)
            continue
        _check_entry(entry, facts, below)


def _child_of(entry: Path, path: Path) -> Path | None:
    if entry == path:
        return None
    return entry / path.relative_to(entry).parts[0]


def _check_entry(entry: Path, facts: os.stat_result, below: Path | None = None) -> None:
    _check_owner(entry, facts)
    mode = stat.S_IMODE(facts.st_mode)
    others_write = bool(mode & stat.S_IWOTH)
    group_writes = bool(mode & stat.S_IWGRP) and not _is_private_group(facts.st_gid)
    if not (others_write or group_writes):
        return
    if below is not None and mode & stat.S_ISVTX and _is_ours(below):
        return
    who = "others" if others_write else f"group {_group_name(facts.st_gid)}"
    raise UntrustedPathError(entry, f"may be written by {who} (mode {mode:04o})")


def _check_owner(entry: Path, facts: os.stat_result) -> None:
    if facts.st_uid not in (0, os.geteuid()):
        mode = stat.S_IMODE(facts.st_mode)
        raise UntrustedPathError(entry, f"belongs to user id {facts.st_uid} (mode {mode:04o})")


def _is_ours(path: Path) -> bool:
    try:
        return os.lstat(path).st_uid in (0, os.geteuid())
    except OSError:
        # It vanished while we looked; whatever comes in its place is not known to be ours.
        return False


@lru_cache(maxsize=64)
def _is_private_group(group_id: int) -> bool:
    """Return whether the group is the one that only our own user (or root) is in."""
    if group_id == 0:
        return True
    if group_id != os.getegid():
        return False
    try:
        group = grp.getgrgid(group_id)
    except KeyError:
        return False
    return set(group.gr_mem) <= set(_own_names()) and group.gr_name in _own_names()


def _own_names() -> Iterator[str]:
    import pwd

    try:
        yield pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        # A user without an entry (a container's numeric user) has no group of its own either.
        return


def _group_name(group_id: int) -> str:
    try:
        return grp.getgrgid(group_id).gr_name
    except KeyError:
        return str(group_id)
