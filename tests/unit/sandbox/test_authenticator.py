"""Users, keys and who is let in."""

import pytest

from ftrackd.sandbox.auth import Authenticator, replace_keys

from .prepared_database import prepared_store


@pytest.fixture
def store(tmp_path):
    with prepared_store(tmp_path, "none") as store:
        store.ensure_user("jane")
        store.ensure_user("john")
        yield store


@pytest.fixture
def authenticator(store):
    keys = {"jane": ["key one", "key two"], "john": ["key of john"]}
    return Authenticator(store, {store.find_user(name).user_id: given for name, given in keys.items()})


def reset(store, authenticator, username):
    with store.transaction(None) as transaction:
        key = replace_keys(transaction.connection, store.find_user(username).user_id)
    authenticator.forget_start_keys(store.find_user(username).user_id)
    return key


def test_when_key_is_the_users_then_let_in(authenticator):
    for key in ("key one", "key two"):
        actor = authenticator.authenticate("jane", key)
        assert actor.username == "jane"
        assert actor.user_id
        assert authenticator.authenticate("jane", key) == actor


@pytest.mark.parametrize(
    ("user", "key"),
    [
        ("jane", "key of john"),
        ("john", "key one"),
        ("jane", ""),
        ("", "key one"),
        (None, None),
        ("jane", None),
        ("nobody", "key one"),
        ("jane", "KEY ONE"),
        ("jane", "\ud800"),
    ],
)
def test_when_key_is_not_the_users_then_refused(authenticator, user, key):
    assert authenticator.authenticate(user, key) is None


def test_when_key_is_reset_then_earlier_ones_end_and_others_keys_stay(store, authenticator):
    assert authenticator.authenticate("jane", "key one")
    first = reset(store, authenticator, "jane")
    assert authenticator.authenticate("jane", "key one") is None
    assert authenticator.authenticate("jane", first)
    second = reset(store, authenticator, "jane")
    assert authenticator.authenticate("jane", first) is None
    assert authenticator.authenticate("jane", second)
    assert authenticator.authenticate("john", "key of john")


def test_when_reset_is_rolled_back_then_the_earlier_key_still_works(store, authenticator):
    class Regret(Exception):
        pass

    with pytest.raises(Regret), store.transaction(None) as transaction:
        key = replace_keys(transaction.connection, store.find_user("jane").user_id)
        raise Regret
    assert authenticator.authenticate("jane", "key one")
    assert authenticator.authenticate("jane", key) is None


def test_when_user_is_deactivated_then_refused_once_told(store, authenticator):
    actor = authenticator.authenticate("jane", "key one")
    with store.transaction(None) as transaction:
        transaction.update("User", [actor.user_id], {"is_active": False})
    authenticator.forget()
    assert authenticator.authenticate("jane", "key one") is None


def test_when_key_is_stored_then_only_its_digest(store, authenticator):
    key = reset(store, authenticator, "jane")
    with store.reader() as connection:
        dump = str(connection.exec_driver_sql("select * from api_key").all())
    assert key not in dump
    assert "key one" not in dump
