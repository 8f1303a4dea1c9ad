"""Ids of seeded rows: the same on every machine, so that documents and tests can name them."""

from __future__ import annotations

import uuid
from typing import Final

_NAMESPACE: Final = uuid.UUID("b1c2ef4e-4d0c-5a59-9d2c-0a4f5b8f7f11")


def seed_id(*path: str) -> str:
    """The id of the row that *path* names, for example ``("Task", "hare", "SEQ010", "SH010", "anim")``."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(path)))
