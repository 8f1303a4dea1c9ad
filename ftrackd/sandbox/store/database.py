"""Opening databases: SQLite in memory or a file, PostgreSQL by address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import StaticPool

from ftrackd.sandbox.errors import DatabaseError
from ftrackd.sandbox.schema import table
from ftrackd.sandbox.schema.tables import create_tables
from ftrackd.sandbox.store.file_lock import FileLock

#: Goes up whenever tables change so that an older database no longer fits.
LAYOUT: Final = "1"
_BUSY_TIMEOUT_MS: Final = 30_000
#: Statements kept compiled: each type of entity has several, and clients ask the same queries again.
_COMPILED_STATEMENTS: Final = 2_000


def open_engine(address: str) -> sa.Engine:
    """An engine for *address* with all tables in place.

    ``sqlite://`` is a database in memory, ``sqlite:///file.db`` a file, ``postgresql://...`` a server. Raises
    :class:`DatabaseError` with the remedy when it cannot be used.
    """
    url = _url(address)
    backend = url.get_backend_name()
    if backend not in _OPEN:
        raise DatabaseError(f"The sandbox runs on SQLite and PostgreSQL, not on {backend!r} ({url!r}).")
    try:
        engine = _OPEN[backend](url)
        _prepare(engine)
    except ImportError as error:
        raise DatabaseError(
            f"{url!r} needs the PostgreSQL driver: install ftrackd[postgresql]. ({error})"
        ) from error
    except sa.exc.SQLAlchemyError as error:
        raise DatabaseError(
            f"The database {url!r} cannot be opened: {getattr(error, 'orig', error)}"
        ) from error
    return engine


def lock_database(address: str) -> FileLock | None:
    """Keep other sandboxes from the file at *address*; None for a database that is no file.

    Two servers on one file would each announce only their own changes, and not notice what the other one
    changed. Raises :class:`DatabaseError` when another one has it.
    """
    url = _url(address)
    # An address of SQLite's own form ("file:...?mode=ro") may be no file at all.
    if url.get_backend_name() != "sqlite" or _names_memory(url) or str(url.database).startswith("file:"):
        return None
    return FileLock(Path(str(url.database)))


def _url(address: str) -> URL:
    try:
        return make_url(address)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise DatabaseError(
            f"{address!r} is no database address. Use sqlite:// (memory), sqlite:///path/to/file.db or "
            "postgresql://user:password@host/database."
        ) from error


def _names_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:")


def is_in_memory(engine: sa.Engine) -> bool:
    """Whether the rows are gone when the engine is closed."""
    return engine.dialect.name == "sqlite" and _names_memory(engine.url)


def _open_sqlite(url: URL) -> sa.Engine:
    arguments: dict[str, Any] = {
        "connect_args": {"check_same_thread": False},
        "query_cache_size": _COMPILED_STATEMENTS,
    }
    in_memory = _names_memory(url)
    if in_memory:
        arguments["poolclass"] = StaticPool
    engine = sa.create_engine(url, **arguments)

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        # The driver would begin a reading transaction, which cannot always become a writing one.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA temp_store = MEMORY")
        if not in_memory:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        is_writing = connection.get_execution_options().get("is_writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


def _open_postgresql(url: URL) -> sa.Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return sa.create_engine(url, pool_pre_ping=True, query_cache_size=_COMPILED_STATEMENTS)


_OPEN: Final[dict[str, Callable[[URL], sa.Engine]]] = {
    "sqlite": _open_sqlite,
    "postgresql": _open_postgresql,
}


def _prepare(engine: sa.Engine) -> None:
    """Create what is missing; refuse a database of another layout."""
    information = table("store_information")
    with engine.connect().execution_options(is_writing=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            # Two sandboxes that start at once would both create the tables.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(8228)"))
        is_new = not sa.inspect(connection).has_table(information.name)
        if is_new:
            create_tables(connection)
            connection.execute(information.insert().values(name="layout", value=LAYOUT))
            return
        found = connection.execute(
            sa.select(information.c.value).where(information.c.name == "layout")
        ).scalar()
    if found != LAYOUT:
        raise DatabaseError(
            f"The database {engine.url!r} has layout {found}, this version of ftrackd needs {LAYOUT}. "
            "Move it away to begin a new one."
        )
