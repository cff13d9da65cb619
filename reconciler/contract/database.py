"""A small pool of connections to the brain, and what is wrong when there is none."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, ClassVar, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from reconciler.contract.column_types import SCHEMA_REVISION
from reconciler.contract.connection_errors import refusal
from reconciler.contract.errors import GRANT, BadInput, NotAllowed, Unreachable, WrongSchema

Row = dict[str, Any]
Connection = psycopg.Connection[DictRow]
CONNECT_TIMEOUT_S = 10
OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "row_factory": dict_row,
    "connect_timeout": CONNECT_TIMEOUT_S,
    "application_name": "tracer",
    # Whatever the server's is, or PGCLIENTENCODING says; from SQL_ASCII, text would come as bytes.
    "client_encoding": "utf8",
}
# psycopg reads moments in ISO form only, and a database or a user may have another DateStyle. libpq
# sends this with the connection, as poolers allow, and takes it from nowhere else.
os.environ["PGDATESTYLE"] = "ISO"
# A character of a password that was not percent-encoded is read as the end of it, and what follows
# as a host, a port or a database, which messages do name.
ENCODE = (
    "DATABASE_URL is not a Postgres URL or connection string. In a URL, write what is special in a "
    "user or password percent-encoded: @ is %40, / is %2F, a space is %20."
)
# An @ before the query that is not the one behind the password.
SPILT = re.compile(r"postgres(ql)?(\+\w+)?://([^/?]*@[^/?]*@|[^?]*/[^?]*@)")


def libpq_url(url: str) -> str:
    """`url` as libpq reads it: SQLAlchemy's `postgresql+psycopg://` is taken too."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql://{rest}" if separator and "+" in scheme else url


def place(url: str) -> str:
    """Where `url` points, for a message: never a password.

    Raises:
        BadInput: `url` is none, or may have a piece of its password where a host should be.
    """
    try:
        parts = conninfo_to_dict(libpq_url(url))
    except psycopg.ProgrammingError:
        raise BadInput(ENCODE) from None  # the error quotes the URL, and a traceback would show it
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    name, port = parts.get("dbname") or "of the default name", parts.get("port") or 5432
    if not re.fullmatch(r"[\d,]+", str(port)) or SPILT.match(url):
        raise BadInput(ENCODE)
    return f"database {name} at {host}:{port}"


def connect(url: str) -> Connection:
    """One connection, committing each statement.

    Raises:
        Unreachable: nothing answers within `CONNECT_TIMEOUT_S`, or it refuses; the message says
            where and why, without the password.
        BadInput: the database is not in UTF-8, so that it cannot hold every name.
    """
    where = place(url)
    try:
        connection = psycopg.Connection[DictRow].connect(
            libpq_url(url),
            **OPTIONS,
            prepare_threshold=None,  # short-lived, and nothing has yet looked for a pooler
        )
    except psycopg.OperationalError as error:
        says, fix = refusal(error)
        raise Unreachable(f"Cannot reach the {where}: {says}", fix) from error
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        connection.close()
        raise BadInput(
            f"The {where} is encoded in {encoding}, which does not hold every name: make another "
            "one, CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        )
    return connection


def behind_pooler(connection: Connection) -> bool:
    """Whether a pooler stands between: it cannot tell a client one backend's pid, and invents it.

    PgBouncer does so in every pool mode. Transactions of one client go to whichever server
    connection is free, so a statement that was prepared in one is missing in the next, or there
    already under another client's name: 12 % of transactions failed.
    """
    row = connection.execute("SELECT pg_backend_pid() AS pid").fetchone()
    return row is None or row["pid"] != connection.info.backend_pid


def revision(connection: Connection) -> str | None:
    """The schema's revision, or None where no migration has run."""
    row = connection.execute(
        "SELECT to_regclass('alembic_version') IS NOT NULL AS there"
    ).fetchone()
    if not row or not row["there"]:
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return found["version_num"] if found else None


def check_revision(connection: Connection) -> None:
    """Refuse a schema that this code does not know, before anything is written.

    Raises:
        WrongSchema: the schema is missing, older or newer.
    """
    found = revision(connection)
    if found == SCHEMA_REVISION:
        return
    raise WrongSchema(found, SCHEMA_REVISION)


@contextmanager
def plainly(user: str, role: str = "the owner") -> Iterator[None]:
    """Say in a sentence that `user` may not do what `role` may.

    Raises:
        NotAllowed: so it is.
    """
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        denied = error.diag.message_primary
        if user == role:
            says = f"The role {user} lacks a grant that it needs ({denied})."
            raise NotAllowed(f"{says} As the database's owner, grant it.", GRANT) from error
        raise NotAllowed(
            f"The role {user} may not do this, which is for {role} ({denied}): name another "
            "role in DATABASE_URL."
        ) from error


class Database:
    """Connections to one database whose schema this code knows.

    Subclasses hold the verbs of one side. Each verb is one transaction, and leaves nothing in its
    session: through a pooler, the next one may run in another. `role` is the Postgres role that
    may do what this side does, and no more.
    """

    role: ClassVar[str]

    def __init__(self, url: str, max_size: int, *, prepare: bool) -> None:
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            libpq_url(url),
            connection_class=psycopg.Connection[DictRow],
            # Else psycopg's default stays: unprepared, single rows cost 13 to 40 % more.
            kwargs=OPTIONS if prepare else OPTIONS | {"prepare_threshold": None},
            min_size=1,
            max_size=max_size,
            timeout=CONNECT_TIMEOUT_S,
            # Its waits double until then, so that after an hour's outage it would sleep for minutes
            # on; once it has given up, whoever asks for a connection has it try anew.
            reconnect_timeout=CONNECT_TIMEOUT_S,
            open=False,
        )

    @classmethod
    def connect(cls, url: str, max_size: int = 2) -> Self:
        """Open a pool of at most `max_size` connections.

        Raises:
            Unreachable: no database answers.
            BadInput: its schema is not the one that this code knows.
        """
        with connect(url) as connection:
            with plainly(connection.info.user, cls.role):
                check_revision(connection)
            # Once, for connections that are opened later too: a URL keeps its pooler in a failover.
            prepare = not behind_pooler(connection)
        database = cls(url, max_size, prepare=prepare)
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
        """Give the connections back; a second call does nothing."""
        self._pool.close()

    def check_revision(self) -> None:
        """See `check_revision`, for the schema as it is now."""
        with self._connection() as connection:
            check_revision(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection inside a transaction: committed at the end, rolled back on an exception.

        Raises:
            psycopg.OperationalError: the connection is lost, or was ended while this slept.
        """
        try:
            with self._connection() as connection, connection.transaction():
                yield connection
        except psycopg.errors.IdleInTransactionSessionTimeout as error:
            raise psycopg.OperationalError(str(error)) from error

    def rows(self, query: str | sql.Composed, **parameters: Any) -> list[Row]:
        """Run one statement in a transaction of its own; its rows, none for one without."""
        with self._connection() as connection:
            statement = query.encode() if isinstance(query, str) else query
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._pool.connection() as connection, plainly(connection.info.user, self.role):
            try:
                yield connection
            except psycopg.errors.ReadOnlySqlTransaction as error:
                # A failover's old primary, or a server whose disk is full: away, as far as writing
                # goes, and the next connection may lead to one that is there.
                connection.close()
                raise psycopg.OperationalError(str(error)) from error
