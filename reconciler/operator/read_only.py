"""Stores for reading: they give up on a locked table, and say which session locks it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Self

import psycopg
from psycopg import sql

from reconciler.contract.database import Connection, connect
from reconciler.contract.denial import explain_denial
from reconciler.contract.errors import TracerError
from reconciler.contract.revision import check_revision
from reconciler.operator.connect import operator
from reconciler.operator.sql.health import HOLDERS
from reconciler.operator.store import OperatorStore

LOCK_TIMEOUT = sql.SQL("SET LOCAL lock_timeout = {}")


class TableLocked(TracerError):
    """Another session has locked a table for longer than the lock timeout."""

    exit_code = 3


class ReadOnlyStore(OperatorStore):
    """The operator's store for a diagnosis, with a lock timeout on each statement."""

    patience_s: ClassVar[float] = 3.0
    lifts_limits: ClassVar[bool] = False  # who only looks keeps to them

    @classmethod
    def connect(cls, url: str, max_size: int = 2) -> Self:
        """See `Database.connect`."""
        with (
            connect(url) as connection,
            lock_timeout(connection, cls.patience_s),
            explain_denial(connection.info.user, cls.role),
        ):
            check_revision(connection)
        return super().connect(url, max_size)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with (
            super()._connection() as connection,
            lock_timeout(connection, self.patience_s),
        ):
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """See `Database.transaction`."""
        with self._connection() as connection:
            yield connection


class ViewStore(ReadOnlyStore):
    """The operator's store for a view. A view may outlast a short migration, which locks tables."""

    patience_s = 10.0


def read_only_store(kind: type[ReadOnlyStore] = ReadOnlyStore) -> OperatorStore:
    """An open store; see `operator`.

    Raises:
        TableLocked: another session has locked a table.
    """
    return operator(kind)


@contextmanager
def lock_timeout(connection: Connection, patience_s: float) -> Iterator[None]:
    """A transaction in which each wait for a lock ends after `patience_s` seconds.

    Raises:
        TableLocked: a wait ended; the message names the Postgres process that has the lock.
    """
    try:
        with connection.transaction():
            connection.execute(LOCK_TIMEOUT.format(f"{patience_s}s"))
            yield
    except psycopg.errors.LockNotAvailable as error:
        raise table_locked(connection, patience_s) from error


def table_locked(connection: Connection, patience_s: float) -> TableLocked:
    """The error that names the locked tables and the Postgres processes that lock them."""
    holders = connection.execute(HOLDERS).fetchall()
    if not holders:
        return TableLocked(f"A table was locked for {patience_s:g} s and is free again: try again.")
    tables = ", ".join(sorted({row["table"] for row in holders}))
    pids = list(dict.fromkeys(pid for row in holders for pid in row["pids"]))
    return TableLocked(
        f"{tables} is locked by Postgres's process {', '.join(map(str, pids))}: let its "
        f"transaction end, or end {pids[0]}.",
        f"psql \"$(tracer db url)\" -c 'SELECT pg_terminate_backend({pids[0]})'",
    )
