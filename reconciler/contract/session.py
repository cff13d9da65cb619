"""A session's own settings that would get in the way of Tracer's statements, and what undoes them.

A host, or a role, may have a limit on the time of statements, or another isolation level. Both
hold for every program, so they are undone for one transaction at a time: a pooler gives the session
to others.
"""

import select
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import DictRow

_LOCKS = "lock_timeout"
_TIMEOUTS = ("statement_timeout", "transaction_timeout", _LOCKS)
_ISOLATION = "default_transaction_isolation"
# Times are in ms. Postgres has `transaction_timeout` from version 17 on.
SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY(%(names)s)"
# The limits are lifted until the end of the transaction.
LIFT = f"""
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ({", ".join(f"'{name}'" for name in _TIMEOUTS)}) AND setting <> '0'
"""
# For a long read, which does not wait for a lock any longer than others.
LIFT_TIME = f"{LIFT} AND name <> '{_LOCKS}'"
# A statement that is alone takes 0.2 s for 10,000 rows. Limits above this are left to it: to lift
# them takes three round trips.
LONG_MS = 10_000

# Why a database takes no writes, and which server it follows, if the role may know.
WRITES = """
SELECT pg_is_in_recovery() AS standby,
    (SELECT sender_host || ':' || sender_port FROM pg_stat_wal_receiver) AS primary
"""
DISK_FULL = "default_transaction_read_only is on; hosts set it when the disk is full"

# To psycopg these are OperationalErrors too, but the database is there: another transaction was
# first, or the statement alone was ended.
CONFLICTS = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
ENDED_ALONE = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)


class TakesNoWrites(psycopg.OperationalError):
    """The database is there, and read-only."""


@dataclass(frozen=True)
class Session:
    """What the sessions of a database are set to."""

    shortest_ms: int | None = None  # of the limits that are set
    isolation: str = "read committed"

    @property
    def is_limited(self) -> bool:
        """Whether Postgres ends what takes long."""
        return self.shortest_ms is not None

    @property
    def is_isolated(self) -> bool:
        """Whether a transaction does not see what others commit meanwhile."""
        return self.isolation != Session.isolation

    @property
    def spoils_statements(self) -> bool:
        """Whether a statement that is alone needs a transaction which undoes the settings.

        Tracer's statements wait for each other's locks, and must then see what was committed: in
        any other level than READ COMMITTED they would not, or would fail.
        """
        short = self.shortest_ms is not None and self.shortest_ms < LONG_MS
        return short or self.is_isolated

    @property
    def warning(self) -> str | None:
        """A sentence for the log of a loop, None if nothing is unusual."""
        if self.shortest_ms is None or self.shortest_ms >= LONG_MS:
            return None
        return (
            f"The database ends what takes longer than {self.shortest_ms:,} ms: Tracer lifts this "
            "limit for its own statements."
        )


def read_session(connection: psycopg.Connection[DictRow]) -> Session:
    """The settings of a connection."""
    names = {"names": [*_TIMEOUTS, _ISOLATION]}
    found = {row["name"]: row["setting"] for row in connection.execute(SETTINGS, names)}
    isolation = found.pop(_ISOLATION)
    limits = [int(limit) for limit in found.values() if limit != "0"]
    return Session(min(limits, default=None), isolation)


def find_end(connection: psycopg.Connection[Any]) -> psycopg.OperationalError | None:
    """Why the server has ended an idle connection; None, without a round trip, if it has not."""
    try:
        arrived = select.poll()
        arrived.register(connection.fileno(), select.POLLIN)
        if arrived.poll(0):  # a notice, or the end
            connection.execute("")
    except psycopg.OperationalError as error:
        return error
    return None


def why_read_only(connection: psycopg.Connection[DictRow], where: str) -> str:
    """What to say of a database that has refused a write."""
    row = connection.execute(WRITES).fetchone() or {}
    if not row.get("standby"):
        return f"The {where} is read-only: {DISK_FULL}."
    of = f" of {row['primary']}" if row["primary"] else ""
    return (
        f"The {where} is read-only: it is a standby{of}. Name the server that writes in "
        "DATABASE_URL, or all of them, with target_session_attrs=read-write."
    )
