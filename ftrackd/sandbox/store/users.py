"""Users as those who act: looking them up, making them, keeping digests of their keys."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.schema import table
from ftrackd.sandbox.seeds.ids import seed_id


def find(connection: sa.Connection, username: str) -> Actor | None:
    """The active user called *username*, without regard to case."""
    user = table("resource")
    row = connection.execute(
        sa.select(user.c.id, user.c.username, user.c.first_name, user.c.last_name).where(
            user.c.resource_type == "user",
            sa.func.lower(user.c.username) == sa.func.lower(username),
            user.c.is_active.is_(sa.true()),
        )
    ).first()
    if row is None:
        return None
    name = " ".join(part for part in (row.first_name, row.last_name) if part)
    return Actor(row.id, row.username, name or row.username)


def new_user(username: str) -> dict[str, Any]:
    """Attributes of a user nobody described; the id follows from the name."""
    return {
        "id": seed_id("User", username.lower()),
        "username": username,
        "first_name": username.partition("@")[0].replace(".", " ").title(),
        "last_name": "",
        "email": username if "@" in username else f"{username}@example.com",
        "is_active": True,
    }


def key_digests(connection: sa.Connection, user_id: str) -> set[str]:
    """Digests of the keys of a user."""
    key = table("api_key")
    digests = connection.execute(
        sa.select(key.c.key_digest).where(key.c.resource_id == user_id, key.c.key_digest.is_not(None))
    )
    return set(digests.scalars())


def replace_keys(connection: sa.Connection, key_id: str, user_id: str, digest: str) -> None:
    """Make *digest* the only key of a user."""
    key = table("api_key")
    connection.execute(key.delete().where(key.c.resource_id == user_id))
    connection.execute(
        key.insert().values(
            id=key_id, identifier="Reset key", resource_id=user_id, prefix=digest[:6], key_digest=digest
        )
    )
