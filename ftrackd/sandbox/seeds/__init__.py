"""Rows to begin with: ``none``, ``minimal`` or ``demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from ftrackd.sandbox.errors import DatabaseError
from ftrackd.sandbox.schema import table

if TYPE_CHECKING:
    from ftrackd.sandbox.store.store import Store

NAMES: Final = ("none", "minimal", "demo")


def plant(store: Store, seed: str) -> None:
    """Fill *store* with *seed*, unless it was filled before.

    ``none`` leaves it empty; ``minimal`` writes the rows that every installation has, and those that the
    test suites of clients ask for; ``demo`` adds a small production. Raises :class:`DatabaseError` for
    another name.
    """
    if seed not in NAMES:
        raise DatabaseError(f"There is no seed {seed!r}; choose {', '.join(NAMES)}.")
    if seed == "none" or _is_planted(store):
        return
    from ftrackd.sandbox.seeds import client_suites, installation

    with store.transaction(None, is_logged=False) as transaction:
        installation.plant(transaction.connection)
        transaction.refresh()
        client_suites.plant(transaction)
        if seed == "demo":
            from ftrackd.sandbox.seeds import demo

            demo.plant(transaction)
        transaction.connection.execute(table("store_information").insert().values(name="seed", value=seed))


def _is_planted(store: Store) -> bool:
    information, object_type = table("store_information"), table("object_type")
    with store.reader() as connection:
        is_marked = connection.execute(
            sa.select(information.c.value).where(information.c.name == "seed")
        ).first()
        return is_marked is not None or connection.execute(sa.select(object_type.c.id)).first() is not None


def file_content(component_id: str) -> bytes | None:
    """The bytes of a seeded component; ``None`` for any other. They are made on request."""
    from ftrackd.sandbox.seeds.demo import demo_file

    return demo_file(component_id)
