"""A small pool of connections to Postgres, and clear errors if it cannot be reached."""

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
from reconciler.contract.denial import explain_denial
from reconciler.contract.errors import BadInput, NoRevision, Unreachable, WrongSchema

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
# psycopg reads timestamps in ISO form only, and a database or a user may have another DateStyle.
# libpq reads this variable alone, and sends it as it connects, which poolers allow.
os.environ["PGDATESTYLE"] = "ISO"
# An unencoded special character ends the password early. The rest is then read as host, port or
# database, and messages name those: a part of the password would be shown.
NOT_A_URL = (
    "DATABASE_URL is not a Postgres URL or connection string. Write special characters of the user "
    "and the password percent-encoded: @ is %40, / is %2F, a space is %20."
)
# A second @ before the query: the password has an unencoded one.
UNENCODED_AT = re.compile(r"postgres(ql)?(\+\w+)?://([^/?]*@[^/?]*@|[^?]*/[^?]*@)")


def libpq_url(url: str) -> str:
    """`url` for libpq; accepts SQLAlchemy's `postgresql+psycopg://` too."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql://{rest}" if separator and "+" in scheme else url


def location(url: str) -> str:
    """The database and host of `url`, for messages; never a password.

    Raises:
        BadInput: `url` is not a URL, or its host may be a part of an unencoded password.
    """
    try:
        parts = conninfo_to_dict(libpq_url(url))
    except (psycopg.ProgrammingError, UnicodeDecodeError):
        raise BadInput(NOT_A_URL) from None  # the error quotes the URL; a traceback would show it
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    name, port = parts.get("dbname") or "of the default name", parts.get("port") or 5432
    if not re.fullmatch(r"[\d,]+", str(port)) or UNENCODED_AT.match(url):
        raise BadInput(NOT_A_URL)
    return f"database {name} at {host}:{port}"


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


def revision(connection: Connection) -> str | None:
    """The schema's revision, None if no migration has run.

    Raises:
        NoRevision: the tables are there, and their revision is not.
    """
    there = connection.execute(
        "SELECT to_regclass('alembic_version') IS NOT NULL AS revisions,"
        " to_regclass('workflow_states') IS NOT NULL AS tables"
    ).fetchone()
    assert there is not None  # a SELECT without FROM has one row
    versions = "SELECT version_num FROM alembic_version"
    found = connection.execute(versions).fetchone() if there["revisions"] else None
    if not found and there["tables"]:
        raise NoRevision(SCHEMA_REVISION)
    return found["version_num"] if found else None


def check_revision(connection: Connection) -> None:
    """Refuse a schema with another revision than this code, before anything is written.

    Raises:
        WrongSchema: the schema is missing, older or newer.
        NoRevision: see `revision`.
    """
    found = revision(connection)
    if found == SCHEMA_REVISION:
        return
    raise WrongSchema(found, SCHEMA_REVISION)


class Database:
    """Connections to one database whose schema has this code's revision.

    Each subclass has the verbs of one side: conductor, workers or operator. A verb is one
    transaction and leaves nothing in its session: through a pooler, the next verb may run in
    another session. `role` is the Postgres role with exactly the privileges of that side.
    """

    role: ClassVar[str]

    def __init__(self, url: str, max_size: int, *, prepare: bool) -> None:
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
            yield connection

    def rows(self, query: str | sql.Composed, **parameters: Any) -> list[Row]:
        """Run one statement in its own transaction; returns its rows, [] if it has no result."""
        with self._connection() as connection:
            statement = query.encode() if isinstance(query, str) else query
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._pool.connection() as connection, explain_denial(connection.info.user, self.role):
            try:
                yield connection
            except psycopg.errors.ReadOnlySqlTransaction as error:
                # The old primary after a failover, or a server with a full disk. It takes no
                # writes, so treat it as away: the next connection may lead to a server that does.
                connection.close()
                raise psycopg.OperationalError(str(error)) from error
            except psycopg.errors.IdleInTransactionSessionTimeout as error:
                raise psycopg.OperationalError(str(error)) from error
