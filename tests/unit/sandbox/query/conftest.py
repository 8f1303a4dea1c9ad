"""The small production, in each database there is."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from ftrackd.sandbox.query import execute
from ftrackd.sandbox.schema.model import Schema

from . import world

Ask = Callable[[str], list[dict[str, Any]]]

#: Address of a PostgreSQL server to run the same tests on.
POSTGRESQL = os.environ.get("FTRACKD_TEST_POSTGRESQL")


class PlainLinks:
    """Addresses without a signature."""

    def download(self, component_id: str) -> str:
        return f"http://server/component/get?id={component_id}"

    def thumbnail(self, component_id: str) -> str:
        return f"http://server/component/thumbnail?id={component_id}"


@pytest.fixture(scope="session")
def schema() -> Schema:
    return world.make_schema()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"] if POSTGRESQL else ["sqlite"])
def connection(request: pytest.FixtureRequest) -> Iterator[sa.Connection]:
    """To a database that tests only read."""
    if request.param == "sqlite":
        engine = sa.create_engine("sqlite://")
    else:
        address = sa.make_url(POSTGRESQL or "").set(drivername="postgresql+psycopg")
        engine = sa.create_engine(address)
    with engine.connect() as connection:
        if request.param == "postgresql":
            # Never committed: it is gone with the connection.
            name = f"ftrackd_query_{os.getpid()}"
            connection.exec_driver_sql(f"CREATE SCHEMA {name}")
            connection.exec_driver_sql(f"SET search_path TO {name}")
        world.populate(connection)
        yield connection
        connection.rollback()
    engine.dispose()


@pytest.fixture
def ask(connection: sa.Connection, schema: Schema) -> Ask:
    """Returns the rows of a query."""
    return lambda text: execute(connection, schema, text, links=PlainLinks()).rows
