"""Users as those who act."""

import pytest

from ftrackd.sandbox.errors import DatabaseError
from ftrackd.sandbox.store import Store


@pytest.fixture
def empty():
    with Store.open(seed="none") as store:
        yield store


def test_when_a_user_is_ensured_then_it_is_made_once(empty):
    first = empty.ensure_user("jane.doe")
    assert first == empty.ensure_user("jane.doe") == empty.find_user("JANE.DOE")
    assert (first.username, first.name) == ("jane.doe", "Jane Doe")
    assert empty.find_user("nobody") is None
    assert empty.ensure_user("\u00c4NNA") == empty.ensure_user("\u00c4NNA")


def test_when_a_user_is_not_active_then_it_is_not_found(empty):
    actor = empty.ensure_user("jane")
    with empty.transaction(None) as transaction:
        transaction.update("User", actor.user_id, {"is_active": False})
    assert empty.find_user("jane") is None
    with pytest.raises(DatabaseError, match="not active"):
        empty.ensure_user("jane")


def test_when_keys_are_replaced_then_only_the_new_one_counts(empty):
    jane, john = empty.ensure_user("jane"), empty.ensure_user("john")
    assert empty.key_digests(jane.user_id) == set()
    for digest in ("first", "second"):
        empty.replace_keys(jane.user_id, digest)
    empty.replace_keys(john.user_id, "other")
    assert empty.key_digests(jane.user_id) == {"second"}
