"""The small production, in memory."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from ftrackd.sandbox.query import execute
from ftrackd.sandbox.schema.model import Schema

from . import world

Ask = Callable[[str], list[dict[str, Any]]]


class PlainLinks:
    """Addresses without a signature."""

    def download(self, component_id: str) -> str:
        return f"http://server/component/get?id={component_id}"

    def thumbnail(self, component_id: str) -> str:
        return f"http://server/component/thumbnail?id={component_id}"


@pytest.fixture(scope="session")
def schema() -> Schema:
    return world.make_schema()


@pytest.fixture(scope="session")
def connection() -> Iterator[sa.Connection]:
    """To a database that tests only read."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        world.populate(connection)
        yield connection
    engine.dispose()


@pytest.fixture
def ask(connection: sa.Connection, schema: Schema) -> Ask:
    """Returns the rows of a query."""
    return lambda text: execute(connection, schema, text, links=PlainLinks()).rows
