"""Databases to write to, as they are after their first start."""

import functools
import tempfile
from pathlib import Path

from ftrackd.sandbox.store import Store


def prepared_store(folder: Path | str, seed: str = "minimal") -> Store:
    """Open a store with *seed* in *folder*: a copy, as making all tables takes longer than most tests."""
    file = Path(folder) / "studio.db"
    file.write_bytes(_content(seed))
    return Store.open(f"sqlite:///{file}")


@functools.cache
def _content(seed: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "studio.db"
        Store.open(f"sqlite:///{file}", seed=seed).close()
        return file.read_bytes()
