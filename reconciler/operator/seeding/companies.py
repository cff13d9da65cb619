"""From the staged rows to companies, once each, and to members of the batch.

Rows with one key become one row. What a file says about a known company is added to it; batches
that have the company already keep their own rows.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from psycopg import sql

from reconciler.contract.database import Connection, Row
from reconciler.operator.sql import learning
from reconciler.operator.sql import seeding as statements

SHOWN_CHANGES = 10_000  # changed cells that a report has; all are counted


class Duplicates(StrEnum):
    """Which of several rows with one key counts. REJECT: the first; the others are rejected."""

    FILL = "fill"
    FIRST = "first"
    LAST = "last"
    REJECT = "reject"


@dataclass(frozen=True)
class Changes:
    """What a file changed about known companies: counts, and the first of the changed cells."""

    companies: int = 0
    columns: dict[str, int] = field(default_factory=dict)  # companies by column
    cells: list[Row] = field(default_factory=list)  # key, column, before, after

    @property
    def left_out(self) -> int:
        """Changed cells that are not listed."""
        return sum(self.columns.values()) - len(self.cells)


@dataclass(frozen=True)
class Members:
    """The companies of a new batch: how many are new and known, duplicate rows, and changes.

    A duplicate is a row that is not the one of its key, which begins at `kept_line`: `line`, `key`,
    `first_line`, `kept_line`, `filled` (the columns that it filled) and `differs`: by column, the
    value that was `kept` and the one that was `dropped`.
    """

    new: int
    known: int = 0
    duplicates: list[Row] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)


def make_members(
    connection: Connection, batch_id: int, staged: int, duplicates: Duplicates
) -> Members:
    """Make companies of the staged rows, and all of them members of the batch."""
    batch = {"batch_id": batch_id}
    order = sql.SQL("DESC" if duplicates is Duplicates.LAST else "ASC")
    connection.execute(statements.INDEXED)
    new = connection.execute(sql.SQL(statements.NEW).format(order=order), batch).rowcount
    if new == staged:
        return Members(new)
    keys = connection.execute(statements.KEYS).fetchall()[0]["keys"]
    repeated = settle(connection, duplicates, order) if keys < staged else []
    changes = learn(connection, batch_id, everything=new < keys)
    known = connection.execute(statements.KNOWN, batch).rowcount if new < keys else 0
    return Members(new, known, repeated, changes)


def settle(connection: Connection, duplicates: Duplicates, order: sql.SQL) -> list[Row]:
    """Make one staged row of those with one key; returns the others, with what came of them."""
    connection.execute(statements.SETTLED)
    if duplicates is Duplicates.FILL:
        connection.execute(statements.FILL)
    else:
        connection.execute(sql.SQL(statements.TAKE).format(order=order))
    found = connection.execute(statements.DUPLICATES).fetchall()
    connection.execute(statements.SETTLE)
    connection.execute(statements.SETTLE_ROWS)
    return found


def learn(connection: Connection, batch_id: int, *, everything: bool) -> Changes:
    """Add what the rows say to their companies; returns what that changed about known ones.

    `everything`: not only rows that had duplicates may be about a company that there was.
    """
    rows = sql.Identifier("seed_rows" if everything else "settled")
    connection.execute(learning.LEARNED)
    query = sql.SQL(learning.LEARN).format(rows=rows)
    if not connection.execute(query, {"batch_id": batch_id}).rowcount:
        return Changes()
    connection.execute(learning.KEEP)
    connection.execute(learning.TEACH)
    companies = connection.execute(learning.CHANGED).fetchall()[0]["companies"]
    if not companies:
        return Changes()
    columns = connection.execute(learning.CHANGED_COLUMNS).fetchall()
    cells = connection.execute(learning.CHANGES, {"most": SHOWN_CHANGES}).fetchall()
    return Changes(companies, {row["column"]: row["companies"] for row in columns}, cells)
