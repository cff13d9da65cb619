"""A small pool of connections to Postgres, and clear errors if it cannot be reached."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, ClassVar, Self

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from reconciler.contract.connection_errors import refusal
from reconciler.contract.database_url import libpq_url, location
from reconciler.contract.denial import explain_denial
from reconciler.contract.errors import BadInput, Unreachable
from reconciler.contract.revision import check_revision
from reconciler.contract.session import (
    CONFLICTS,
    ENDED_ALONE,
    LIFT,
    Session,
    TakesNoWrites,
    find_end,
    read_session,
    why_read_only,
)

Row = dict[str, Any]
Connection = psycopg.Connection[DictRow]
CONNECT_TIMEOUT_S = 10
OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "row_factory": dict_row,
    "connect_timeout": CONNECT_TIMEOUT_S,
    "application_name": "tracer",
    # Over the server's setting and PGCLIENTENCODING: with SQL_ASCII, text would arrive as bytes.
    "client_encoding": "utf8",
}
# Postgres has ended the connection because it took too long.
ENDED_BY_POSTGRES = (
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)
# psycopg reads timestamps in ISO form only, and a database or a user may have another DateStyle.
# libpq reads this variable alone, and sends it as it connects, which poolers allow.
os.environ["PGDATESTYLE"] = "ISO"


def connect(url: str) -> Connection:
    """Open one connection; it commits each statement.

    Raises:
        Unreachable: no server answers within `CONNECT_TIMEOUT_S`, or it refuses; the message says
            where and why, without the password.
        BadInput: the database's encoding is not UTF-8, so it cannot hold every name.
    """
    where = location(url)
    try:
        connection = psycopg.Connection[DictRow].connect(
            libpq_url(url),
            **OPTIONS,
            prepare_threshold=None,  # short-lived, and there may be a pooler
        )
    except psycopg.OperationalError as error:
        says, fix = refusal(error)
        raise Unreachable(f"Cannot reach the {where}: {says}", fix) from error
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        connection.close()
        raise BadInput(
            f"The {where} is encoded in {encoding}, which cannot hold every name. Create another "
            "one: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        )
    return connection


def behind_pooler(connection: Connection) -> bool:
    """Whether `connection` goes through a pooler.

    A pooler has no single backend, so it invents the pid that it reports; PgBouncer does so in
    every pool mode. It gives each transaction any free server connection. A statement prepared on
    one is missing on the next, or exists there for another client: 12 % of transactions failed.
    """
    row = connection.execute("SELECT pg_backend_pid() AS pid").fetchone()
    return row is None or row["pid"] != connection.info.backend_pid


class Database:
    """Connections to one database whose schema has this code's revision.

    Each subclass has the verbs of one side: conductor, workers or operator. A verb is one
    transaction and leaves nothing in its session: through a pooler, the next verb may run in
    another session. `role` is the Postgres role with exactly the privileges of that side. With
    `lifts_limits`, its statements take as long as they need: see `session`. It waits `reconnect_s`
    for a new connection in place of one that has ended while idle: longer, and it is an outage.
    """

    role: ClassVar[str]
    lifts_limits: ClassVar[bool] = True
    reconnect_s: ClassVar[float] = 1.0

    def __init__(self, url: str, max_size: int, *, prepare: bool) -> None:
        self._where = location(url)
        self.session = Session()
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            libpq_url(url),
            connection_class=psycopg.Connection[DictRow],
            # Without a pooler, psycopg prepares statements: unprepared, single rows cost 13 to 40 %
            # more.
            kwargs=OPTIONS
            | {"application_name": self.role}
            | ({} if prepare else {"prepare_threshold": None}),
            min_size=1,
            max_size=max_size,
            timeout=CONNECT_TIMEOUT_S,
            # The pool's waits between reconnects double. After an outage of an hour it would sleep
            # for minutes more. So it gives up early; the next request for a connection makes it try
            # again.
            reconnect_timeout=CONNECT_TIMEOUT_S,
            open=False,
        )

    @classmethod
    def connect(cls, url: str, max_size: int = 2) -> Self:
        """Open a pool of at most `max_size` connections.

        Raises:
            Unreachable: no database answers.
            BadInput: the schema has another revision than this code.
        """
        with connect(url) as connection:
            with explain_denial(connection.info.user, cls.role):
                check_revision(connection)
            # Asked once per pool: after a failover, the URL leads to the same pooler.
            prepare = not behind_pooler(connection)
            session = read_session(connection)
        database = cls(url, max_size, prepare=prepare)
        database.session = session
        database._pool.open()
        return database

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; a second call does nothing."""
        self._pool.close()

    def check_revision(self) -> None:
        """See `check_revision`, for the schema as it is now."""
        with self._connection() as connection:
            check_revision(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection inside a transaction: committed at the end, rolled back on an exception.

        Raises:
            psycopg.OperationalError: the connection is lost, or Postgres has ended it because this
                program was silent.
        """
        with self._connection() as connection, connection.transaction():
            if self.lifts_limits and self.session.is_limited:
                connection.execute(LIFT)
            yield connection

    def rows(self, query: str | sql.Composed, **parameters: Any) -> list[Row]:
        """Run one statement in its own transaction; returns its rows, [] if it has no result."""
        statement = query.encode() if isinstance(query, str) else query
        with self._alone() as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def _alone(self) -> AbstractContextManager[Connection]:
        """A connection for one statement."""
        undo = self.lifts_limits and self.session.spoils_statements
        return self.transaction() if undo else self._connection()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._live() as connection, explain_denial(connection.info.user, self.role):
            if self.session.is_isolated:
                connection.isolation_level = IsolationLevel.READ_COMMITTED
            try:
                yield connection
            except (*CONFLICTS, *ENDED_ALONE):
                # Another setting than at first may be the reason: the next try knows it.
                self.session = read_session(connection)
                raise
            except psycopg.errors.ReadOnlySqlTransaction as error:
                # The old primary after a failover, or a server with a full disk. It takes no
                # writes, so treat it as away: the next connection may lead to a server that does.
                says = why_read_only(connection, self._where)
                connection.close()
                raise TakesNoWrites(says) from error
            except ENDED_BY_POSTGRES as error:
                raise psycopg.OperationalError(str(error)) from error

    @contextmanager
    def _live(self) -> Iterator[Connection]:
        """A connection of the pool that the server has not ended while it was idle.

        The pool can check this too, but waits a second after each one that has ended.

        Raises:
            psycopg.OperationalError: it has ended them all, and takes no new ones.
        """
        with ExitStack() as stack:
            connection = stack.enter_context(self._pool.connection())
            while (end := find_end(connection)) is not None:
                stack.close()
                try:
                    connection = stack.enter_context(self._pool.connection(self.reconnect_s))
                except PoolTimeout:
                    raise end from None
            yield connection
