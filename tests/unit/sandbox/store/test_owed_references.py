"""Members of a collection may be created before their owner, within one batch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftrackd.sandbox.errors import ValidationError
from ftrackd.sandbox.store import Store

from ..prepared_database import prepared_store

MEMBER = {"name": "x", "version": "1", "description": "d"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with prepared_store(tmp_path, "demo") as store:
        yield store


def reference(store: Store, entity_type: str) -> dict[str, Any]:
    kind = store.schema[entity_type]
    with store.reader() as connection:
        from ftrackd.sandbox.query import execute

        row = execute(connection, store.schema, f"select id from {entity_type} limit 1").rows[0]
    return {"__entity_type__": kind.name, "id": row["id"]}


def test_when_the_owner_comes_later_in_the_batch_then_both_are_there(store: Store) -> None:
    version, project = reference(store, "AssetVersion"), reference(store, "Project")
    author = reference(store, "User")
    with store.transaction(None) as transaction:
        (member,) = transaction.create("ReviewSessionObject", {**MEMBER, "asset_version": version})
        (review,) = transaction.create(
            "ReviewSession", {"name": "r", "project": project, "created_by": author}
        )
        members = [{"__entity_type__": "ReviewSessionObject", "id": member}]
        transaction.update("ReviewSession", [review], {"review_session_objects": members})
    with store.transaction(None) as transaction:
        row = transaction.rows.get(store.schema["ReviewSessionObject"], [member])
    assert row is not None
    assert row["review_session_id"] == review


def test_when_the_owner_never_comes_then_nothing_is_kept(store: Store) -> None:
    version = reference(store, "AssetVersion")
    with (
        pytest.raises(
            ValidationError, match="ReviewSessionObject cannot be created without review_session_id"
        ),
        store.transaction(None) as transaction,
    ):
        (member,) = transaction.create("ReviewSessionObject", {**MEMBER, "asset_version": version})
    with store.transaction(None) as transaction:
        assert transaction.rows.get(store.schema["ReviewSessionObject"], [member]) is None
