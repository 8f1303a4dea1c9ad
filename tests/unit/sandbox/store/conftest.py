"""A store for each test, on SQLite and, when a server is named, on PostgreSQL."""

import os
import uuid

import pytest
import sqlalchemy as sa

from ftrackd.sandbox.schema import metadata
from ftrackd.sandbox.seeds.client_suites import PROJECT, TASK, USER
from ftrackd.sandbox.seeds.ids import seed_id
from ftrackd.sandbox.store import Actor, Store

from ..prepared_database import prepared_store

POSTGRESQL = os.environ.get("FTRACKD_TEST_POSTGRESQL")


def _postgresql(statement):
    """Carry out *statement* outside a transaction, as CREATE DATABASE wants it."""
    url = sa.make_url(POSTGRESQL).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def _address(database):
    return sa.make_url(POSTGRESQL).set(database=database).render_as_string(hide_password=False)


class Seeded:
    """A seeded database that goes back to how it was: to make all tables anew takes a second."""

    def __init__(self, address):
        self.address = address
        Store.open(address, seed="minimal").close()
        self._engine = sa.create_engine(
            sa.make_url(address).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
        )
        # Without looking at foreign keys: tables refer to each other in circles.
        statements = ["SET session_replication_role = replica"]
        with self._engine.connect() as connection:
            connection.exec_driver_sql("CREATE SCHEMA seeded")
            for name, table in metadata().tables.items():
                connection.exec_driver_sql(f"CREATE TABLE seeded.{name} AS TABLE {name}")
                columns = ", ".join(f'"{column.name}"' for column in table.c if column.computed is None)
                statements.append(f"DELETE FROM {name}")
                statements.append(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM seeded.{name}")
        self._restoration = "; ".join(statements)

    def restore(self):
        with self._engine.connect() as connection:
            connection.exec_driver_sql(self._restoration)

    def close(self):
        self._engine.dispose()


@pytest.fixture(scope="session")
def seeded():
    name = f"store_{uuid.uuid4().hex[:12]}"
    _postgresql(f"CREATE DATABASE {name}")
    seeded = Seeded(_address(name))
    yield seeded
    seeded.close()
    _postgresql(f"DROP DATABASE {name}")


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param(
            "postgresql",
            marks=pytest.mark.skipif(
                not POSTGRESQL, reason="no server: name one with FTRACKD_TEST_POSTGRESQL=postgresql://..."
            ),
        ),
    ]
)
def store(request, tmp_path):
    if request.param == "sqlite":
        with prepared_store(tmp_path) as store:
            yield store
        return
    seeded = request.getfixturevalue("seeded")
    with Store.open(seeded.address, seed="minimal") as store:
        yield store
    seeded.restore()


class World:
    """Short ways to do and to look."""

    project = PROJECT
    task = TASK
    user = USER
    shot = seed_id("Shot", "client_tests", "SH010")

    def __init__(self, store: Store) -> None:
        self.store = store
        self.actor = Actor(USER, "demo", "Demo User")
        self.changes = []

    def create(self, entity_type, /, **data):
        with self.store.transaction(self.actor) as transaction:
            key = transaction.create(entity_type, data)
        self.changes = transaction.changes
        return key[0] if len(key) == 1 else key

    def update(self, entity_type, key, /, **data):
        with self.store.transaction(self.actor) as transaction:
            transaction.update(entity_type, key if isinstance(key, list) else [key], data)
        self.changes = transaction.changes

    def delete(self, entity_type, key):
        with self.store.transaction(self.actor) as transaction:
            transaction.delete(entity_type, key if isinstance(key, list) else [key])
        self.changes = transaction.changes

    def row(self, entity_type, *key):
        kind = self.store.schema[entity_type]
        with self.store.reader() as connection:
            conditions = [column == value for column, value in zip(kind.key_columns(kind.table), key)]
            clause = kind.clause(kind.table)
            if clause is not None:
                conditions.append(clause)
            row = connection.execute(sa.select(kind.table).where(*conditions)).mappings().first()
        return dict(row) if row is not None else None

    def rows(self, text, **parameters):
        with self.store.reader() as connection:
            return connection.execute(sa.text(text), parameters).all()

    def computed(self, entity_type, entity_id, name):
        kind = self.store.schema[entity_type]
        with self.store.reader() as connection:
            expression = kind.attributes[name].build(kind.table)
            return connection.execute(sa.select(expression).where(kind.table.c.id == entity_id)).scalar()

    def change(self, legacy_type):
        """The one change of entities of *legacy_type*."""
        (found,) = [change for change in self.changes if change.legacy_type == legacy_type]
        return found


@pytest.fixture
def world(store):
    return World(store)
