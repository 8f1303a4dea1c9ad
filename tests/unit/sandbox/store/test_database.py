"""Opening databases, readers beside writers, and what is left after a kill."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa

from ftrackd.sandbox.errors import DatabaseError, ValidationError
from ftrackd.sandbox.schema import table
from ftrackd.sandbox.seeds.client_suites import PROJECT, TASK, USER
from ftrackd.sandbox.store import Actor, Store

ACTOR = Actor(USER, "demo", "Demo User")


def _count(store, name):
    with store.reader() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table(name))).scalar()


def test_when_a_file_is_opened_again_then_everything_is_there(tmp_path):
    address = f"sqlite:///{tmp_path / 'studio.db'}"
    with Store.open(address, seed="minimal") as store:
        with store.transaction(ACTOR) as transaction:
            transaction.create("ObjectType", {"name": "Level"})
            transaction.update("Task", TASK, {"name": "kept"})
        before = store.schema.hash
    with Store.open(address, seed="minimal") as store:
        assert store.schema.hash == before and "Level" in store.schema
        with store.reader() as connection:
            context = table("context")
            name = connection.execute(sa.select(context.c.name).where(context.c.id == TASK)).scalar()
        assert name == "kept"


def test_when_a_database_was_seeded_then_another_seed_changes_nothing(tmp_path):
    address = f"sqlite:///{tmp_path / 'studio.db'}"
    Store.open(address, seed="minimal").close()
    with Store.open(address, seed="demo") as store:
        assert _count(store, "asset_version") == 0


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense", "is no database address"),
        ("mysql://x/y", "not on 'mysql'"),
        ("sqlite:////nowhere/at/all.db", "cannot be opened"),
        ("postgresql://data@127.0.0.1:1/none", "cannot be opened|needs the PostgreSQL driver"),
    ],
)
def test_when_a_database_cannot_be_opened_then_the_error_says_why(address, message):
    with pytest.raises(DatabaseError, match=message):
        Store.open(address)


def test_when_an_address_holds_a_password_then_the_error_does_not():
    with pytest.raises(DatabaseError) as caught:
        Store.open("postgresql://data:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)


def test_when_another_sandbox_has_the_file_then_one_line_says_which_and_a_kill_leaves_no_lock(tmp_path):
    address = f"sqlite:///{tmp_path / 'studio.db'}"
    program = (
        "import sys, time\nfrom ftrackd.sandbox.store import Store\n"
        "store = Store.open(sys.argv[1])\nprint('open', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, address], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(DatabaseError, match=rf"studio\.db.*process {other.pid}") as caught:
            Store.open(address)
        assert len(str(caught.value).splitlines()) == 1
        other.kill()
    with Store.open(address) as first, pytest.raises(DatabaseError, match=f"process {os.getpid()}"):
        Store.open(address)
    assert first.file is not None
    Store.open(address).close()


def test_when_a_file_is_no_database_then_the_error_says_so(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("This is no database. " * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        Store.open(f"sqlite:///{path}")


def test_when_a_database_has_another_layout_then_it_is_refused(tmp_path):
    address = f"sqlite:///{tmp_path / 'studio.db'}"
    Store.open(address).close()
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE store_information SET value = '0' WHERE name = 'layout'"))
    engine.dispose()
    with pytest.raises(DatabaseError, match="has layout 0"):
        Store.open(address)


def test_when_a_seed_is_unknown_then_the_error_names_the_choices():
    with pytest.raises(DatabaseError, match="none, minimal, demo"):
        Store.open(seed="tiny")


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_when_threads_write_at_once_then_nothing_is_lost(tmp_path, kind):
    address = "sqlite://" if kind == "memory" else f"sqlite:///{tmp_path / 'studio.db'}"
    with Store.open(address, seed="minimal") as store:
        failures = []

        def work(number):
            try:
                for step in range(5):
                    with store.transaction(ACTOR) as transaction:
                        transaction.create("Folder", {"name": f"{number}-{step}", "parent_id": PROJECT})
                    assert _count(store, "context") > 0
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        before = _count(store, "context")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert failures == []
        assert _count(store, "context") == before + 30
        with store.reader() as connection:
            event = table("event")
            transactions = connection.execute(sa.select(event.c.data).order_by(event.c.id)).scalars().all()
        assert len(transactions) == 30


def test_when_a_file_is_read_during_a_transaction_then_readers_see_the_state_before(tmp_path):
    with Store.open(f"sqlite:///{tmp_path / 'studio.db'}", seed="minimal") as store:
        seen = []
        with store.transaction(ACTOR) as transaction:
            transaction.create("Folder", {"id": "f", "name": "f", "parent_id": PROJECT})
            reader = threading.Thread(target=lambda: seen.append(_count(store, "context")))
            reader.start()
            reader.join(30)
            within = transaction.connection.execute(
                sa.select(sa.func.count()).select_from(table("context"))
            ).scalar()
        assert within == seen[0] + 1 == _count(store, "context")


def test_when_a_block_raises_then_the_next_transaction_works():
    with Store.open(seed="minimal") as store:
        with pytest.raises(ValidationError), store.transaction(ACTOR) as transaction:
            transaction.create("Folder", {"id": "f", "name": "f", "parent_id": PROJECT})
            transaction.create("Folder", {"name": "g"})
        with store.transaction(ACTOR) as transaction:
            transaction.create("Folder", {"id": "f", "name": "f", "parent_id": PROJECT})
        assert len(transaction.changes) == 1


_WRITER = """
import sys
from ftrackd.sandbox.seeds.client_suites import PROJECT
from ftrackd.sandbox.store import Store
store = Store.open(sys.argv[1])
number = 0
while True:
    with store.transaction(None) as transaction:
        for _ in range(20):
            transaction.create("Folder", {"name": str(number), "parent_id": PROJECT})
    number += 1
    sys.stdout.write(".")
    sys.stdout.flush()
"""


def test_when_the_process_is_killed_then_batches_are_whole_and_logged(tmp_path):
    address = f"sqlite:///{tmp_path / 'studio.db'}"
    Store.open(address, seed="minimal").close()
    process = subprocess.Popen([sys.executable, "-c", _WRITER, address], stdout=subprocess.PIPE)
    try:
        assert process.stdout.read(3) == b"..."
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
    with Store.open(address) as store, store.reader() as connection:
        rows = connection.execute(
            sa.text("SELECT name, count(*) FROM context WHERE name GLOB '[0-9]*' GROUP BY name")
        ).all()
        assert len(rows) >= 3
        assert {row[1] for row in rows} == {20}
        assert connection.execute(sa.text("SELECT count(*) FROM event")).scalar() == 20 * len(rows)


def test_when_a_transaction_is_open_then_the_thread_can_read_but_not_open_another(tmp_path):
    for address in ("sqlite://", f"sqlite:///{tmp_path / 'studio.db'}"):
        with Store.open(address, seed="minimal") as store:
            with store.transaction(ACTOR) as transaction:
                transaction.create("Folder", {"name": "f", "parent_id": PROJECT})
                assert _count(store, "context") >= 3
                with pytest.raises(DatabaseError, match="open on this thread"), store.transaction(ACTOR):
                    pass
            assert len(transaction.changes) == 1


def test_when_the_disk_is_full_then_the_error_says_so_and_nothing_is_kept(tmp_path):
    with Store.open(f"sqlite:///{tmp_path / 'studio.db'}", seed="minimal") as store:
        before = _count(store, "context")
        with store.reader() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        with (
            pytest.raises(DatabaseError, match=r"full.*space on the disk"),
            store.transaction(ACTOR) as transaction,
        ):
            transaction.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 5}")
            for number in range(1000):
                transaction.create("Folder", {"name": "x" * 500 + str(number), "parent_id": PROJECT})
        assert _count(store, "context") == before


@pytest.mark.parametrize("address", ["sqlite:///{}", "sqlite+pysqlite:///{}", "sqlite:///{}?timeout=5"])
def test_when_rows_are_in_a_file_then_it_is_known(tmp_path, address):
    with Store.open(address.format(tmp_path / "a.db")) as store:
        assert store.file == tmp_path / "a.db"


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///:memory:"])
def test_when_rows_are_in_memory_then_there_is_no_file(address):
    with Store.open(address) as store:
        assert store.file is None
