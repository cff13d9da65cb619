"""Looks that do not wait for a table that someone else has locked."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import psycopg

from reconciler.contract.database import Connection, check_revision, connect, plainly
from reconciler.operator.connect import operator
from reconciler.operator.diagnosis.doctor import Fault
from reconciler.operator.sql.health import HOLDERS
from reconciler.operator.store import OperatorStore

WAIT = "SET LOCAL lock_timeout = '3s'"


class Locked(Fault):
    """A table of the contract is locked, and stays so."""

    exit_code = 3


class Impatient(OperatorStore):
    """The operator's store, each look of which is one transaction that hardly waits for a lock."""

    @classmethod
    def connect(cls, url: str, max_size: int = 2) -> Self:
        """See `Database.connect`."""
        with (
            connect(url) as connection,
            impatient(connection),
            plainly(connection.info.user, cls.role),
        ):
            check_revision(connection)
        return super().connect(url, max_size)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with super()._connection() as connection, impatient(connection):
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """See `Database.transaction`."""
        with self._connection() as connection:
            yield connection


def looking() -> OperatorStore:
    """`operator`, for who only looks: see there.

    Raises:
        Locked: someone has locked a table.
    """
    return operator(Impatient)


@contextmanager
def impatient(connection: Connection) -> Iterator[None]:
    """A transaction in which no lock is waited for longer than 3 s.

    Raises:
        Locked: one was; the message says who holds it.
    """
    try:
        with connection.transaction():
            connection.execute(WAIT)
            yield
    except psycopg.errors.LockNotAvailable as error:
        raise held_by(connection) from error


def held_by(connection: Connection) -> Locked:
    """Who keeps a table of the contract from being read."""
    holders = connection.execute(HOLDERS).fetchall()
    if not holders:
        return Locked("A table was locked for 3 s, and is no longer: try again", "tracer doctor")
    tables = ", ".join(sorted({row["table"] for row in holders}))
    pids = list(dict.fromkeys(pid for row in holders for pid in row["pids"]))
    end = f"SELECT pg_terminate_backend({pids[0]})"
    return Locked(
        f"{tables} is locked by Postgres's process {', '.join(map(str, pids))}: let its "
        f"transaction end, or end it with {end}",
        f"psql \"$DATABASE_URL\" -c '{end}'",
    )
