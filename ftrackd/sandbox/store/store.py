"""The database of a sandbox: transactions that write, connections that read, the schema of the moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import sqlalchemy as sa

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.errors import DatabaseError, DuplicateEntryError
from ftrackd.sandbox.schema import ObjectType, Schema, build_schema, table
from ftrackd.sandbox.store import event_log, expressions, users
from ftrackd.sandbox.store.changes import announcements
from ftrackd.sandbox.store.database import is_in_memory, lock_database, open_engine
from ftrackd.sandbox.store.file_lock import FileLock
from ftrackd.sandbox.store.transaction import Transaction
from ftrackd.sandbox.store.workflow import Workflow

#: Lets the log of events be written in the order it becomes visible (PostgreSQL).
_WRITER_LOCK: Final = 8229


class Store:
    """Rows of one installation. Safe to use from several threads; writers wait for each other.

    Closing it twice is harmless.
    """

    def __init__(self, engine: sa.Engine, lock: FileLock | None = None) -> None:
        """Use :meth:`open`."""
        self._engine = engine
        self._lock = lock
        self._writer = threading.RLock()
        # A database in memory is one connection, which one thread may use at a time.
        self._single = threading.RLock() if is_in_memory(engine) else None
        # The connection that the thread writes with at the moment.
        self._writing = threading.local()
        self._workflows: dict[str | None, Workflow] = {}
        with engine.connect() as connection:
            self._schema = read_schema(connection)

    @classmethod
    def open(cls, address: str = "sqlite://", *, seed: str = "none") -> Self:
        """Open the database at *address* and, when it is new, fill it with *seed*.

        *address* is ``sqlite://`` (memory), ``sqlite:///file.db`` or ``postgresql://...``; *seed* is
        ``none``, ``minimal`` or ``demo``. Raises :class:`DatabaseError`, also when another sandbox has the
        file.
        """
        lock = lock_database(address)
        try:
            store = cls(open_engine(address), lock)
        except BaseException:
            if lock is not None:
                lock.close()
            raise
        try:
            from ftrackd.sandbox import seeds

            seeds.plant(store, seed)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Give the database free."""
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def file(self) -> Path | None:
        """The file that rows are kept in; None in memory and on a server."""
        url = self._engine.url
        if url.database is None or self._single is not None or url.get_backend_name() != "sqlite":
            return None
        return Path(url.database)

    @property
    def schema(self) -> Schema:
        """The entity types as they are now. The value never changes; ask again after a transaction."""
        return self._schema

    @contextmanager
    def reader(self) -> Iterator[sa.Connection]:
        """A connection to read with, on a view of the database that stays the same.

        Within a transaction of the same thread it shows the state before; in memory, where there is only one
        connection, what the transaction wrote.
        """
        if self._single is None:
            with self._engine.connect() as connection:
                yield connection
        else:
            with self._single:
                if (writing := getattr(self._writing, "connection", None)) is not None:
                    yield writing
                    return
                with self._engine.connect() as connection:
                    yield connection

    @contextmanager
    def transaction(self, actor: Actor | None, *, is_logged: bool = True) -> Iterator[Transaction]:
        """A transaction on behalf of *actor* (``None``: the server itself).

        It is committed at the end and taken back when the block raises. *is_logged* off leaves no rows in
        the log of events. Raises :class:`DatabaseError` within another transaction of the same thread.
        """
        if getattr(self._writing, "connection", None) is not None:
            raise DatabaseError("A transaction is open on this thread already; it would wait for itself.")
        with self._writer, self._connection_to_write() as connection:
            transaction = Transaction(connection, self._schema, actor, read_schema, self._workflows)
            try:
                yield transaction
                transaction.settle()
                expressions.refresh(transaction)
                announced = announcements(transaction.id, transaction.recorder.finish())
                if is_logged:
                    event_log.write(transaction.connection, actor, transaction.now, announced)
                transaction.connection.commit()
            except sa.exc.OperationalError as error:
                raise DatabaseError(
                    f"The database failed, nothing of the request was kept: {error.orig}. "
                    "Is there space on the disk, and may it be written?"
                ) from error
            transaction.seal(announced)
            self._schema = transaction.schema
            if transaction.changed_workflows:
                self._workflows.clear()

    def find_user(self, username: str) -> Actor | None:
        """The active user called *username*."""
        with self.reader() as connection:
            return users.find(connection, username)

    def ensure_user(self, username: str) -> Actor:
        """The user called *username*, made now when there is none.

        Raises :class:`DatabaseError` when there is one who is not active.
        """
        actor = self.find_user(username)
        if actor is not None:
            return actor
        try:
            with self.transaction(None) as transaction:
                transaction.create("User", users.new_user(username))
        except DuplicateEntryError as error:
            raise DatabaseError(f"The user {username!r} is not active; choose another one.") from error
        actor = self.find_user(username)
        assert actor is not None
        return actor

    def key_digests(self, user_id: str) -> set[str]:
        """Digests of the keys that the user was given."""
        with self.reader() as connection:
            return users.key_digests(connection, user_id)

    def replace_keys(self, user_id: str, digest: str) -> None:
        """Make *digest* the only key of the user."""
        with self.transaction(None) as transaction:
            users.replace_keys(transaction.connection, transaction.new_id(), user_id, digest)

    @contextmanager
    def _connection_to_write(self) -> Iterator[sa.Connection]:
        lock = self._single if self._single is not None else threading.RLock()
        with lock, self._engine.connect().execution_options(is_writing=True) as connection:
            try:
                connection.begin()
                if connection.dialect.name == "postgresql":
                    connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})"))
            except sa.exc.OperationalError as error:
                raise DatabaseError(f"The database cannot be written now: {error.orig}") from error
            self._writing.connection = connection
            try:
                yield connection
            finally:
                self._writing.connection = None


def read_schema(connection: sa.Connection) -> Schema:
    """The schema with the object types that the database has."""
    source = table("object_type")
    rows = connection.execute(sa.select(source).order_by(source.c.sort, source.c.name)).mappings()
    return build_schema(
        ObjectType(
            id=row["id"],
            name=row["name"] or "",
            is_typeable=bool(row["is_typeable"]),
            is_statusable=bool(row["is_statusable"]),
            is_schedulable=bool(row["is_schedulable"]),
            is_time_reportable=bool(row["is_time_reportable"]),
            is_prioritizable=bool(row["is_prioritizable"]),
        )
        for row in rows
    )
