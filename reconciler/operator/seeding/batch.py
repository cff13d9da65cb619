"""Seeds a batch: COPY into a staging table, then one statement per table for all rows."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from reconciler.contract.column_types import storable_text
from reconciler.contract.database import Connection, Row
from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.sql.progress import LOG_SEEDED
from reconciler.operator.history import Line
from reconciler.operator.seeding.blueprint import check_needs
from reconciler.operator.store import OperatorStore

# line, key, name, domain, and all attributes: a mapping, or the text of a JSON object
SeedRow = tuple[int, str, str | None, str | None, Mapping[str, Any] | str]
# The types for COPY. Without them the driver finds out the type of each value: 1.4 µs a row instead
# of 1.1.
TYPES = ("int8", "text", "text", "text", "text")

# After the staging, one seeding at a time. Two with companies in common could deadlock, and two
# batches of one name would choose the same number.
SEEDING_TURN = "SELECT pg_advisory_xact_lock(hashtext('tracer.seed'))"

STAGE = """
CREATE TEMPORARY TABLE seed_rows (
    line bigint NOT NULL, key text COLLATE "C" NOT NULL, name text, domain text,
    attributes jsonb NOT NULL
) ON COMMIT DROP
"""

COPY = "COPY seed_rows (line, key, name, domain, attributes) FROM STDIN"

# If the name is taken, the next free number is appended: `leads-2`.
BATCH = """
INSERT INTO batches (name, blueprint, columns, priority)
SELECT %(name)s || CASE WHEN n = 1 THEN '' ELSE '-' || n END,
    %(blueprint)s, %(columns)s, %(priority)s
FROM generate_series(1, (SELECT count(*) + 1 FROM batches)) AS n
WHERE %(name)s || CASE WHEN n = 1 THEN '' ELSE '-' || n END NOT IN (SELECT name FROM batches)
ORDER BY n
LIMIT 1
RETURNING id, name
"""

# Postgres plans the checks of foreign keys at the first row, and keeps the plans. For a table as
# small as `batches` it would choose a sequential scan for every row: with 200 batches, NEW and
# STATES took 68 µs a row instead of 39.
INDEXED = "SET LOCAL enable_seqscan = off"

# The first row of a key counts; later ones are duplicates. Sorted by key, so that ids, rows and the
# index grow in one order: a million companies take 11 s, and 14 s in the file's order. ON CONFLICT
# is 3.4 of the 11 s. A join that finds the new companies first costs more if there are many
# companies already. More work_mem gained nothing.
NEW = """
WITH made AS (
    INSERT INTO companies (key, name, domain, attributes)
    SELECT DISTINCT ON (key) key, name, domain, attributes
    FROM seed_rows
    ORDER BY key, line
    ON CONFLICT (key) DO NOTHING
    RETURNING id
)
INSERT INTO batch_companies (batch_id, company_id)
SELECT %(batch_id)s, id FROM made
"""

# The statements from here to STATES run only if some row of the file made no new company.
KEYS = "SELECT count(DISTINCT key) AS keys FROM seed_rows"

# One index look-up per row. A join would be planned with statistics from before this transaction,
# when `companies` may have been small or empty.
KNOWN = """
INSERT INTO batch_companies (batch_id, company_id)
SELECT %(batch_id)s, id
FROM (
    SELECT (SELECT c.id FROM companies c WHERE c.key = r.key) AS id FROM seed_rows r
    EXCEPT
    SELECT company_id FROM batch_companies WHERE batch_id = %(batch_id)s
) AS others
ORDER BY id
"""

# A known company gets the new values of the file, and keeps all others.
LEARN = """
INSERT INTO companies AS known (key, name, domain, attributes)
SELECT DISTINCT ON (key) key, name, domain, attributes
FROM seed_rows
ORDER BY key, line
ON CONFLICT (key) DO UPDATE
SET name = coalesce(excluded.name, known.name),
    domain = coalesce(excluded.domain, known.domain),
    attributes = known.attributes || excluded.attributes
WHERE (known.name, known.domain, known.attributes) IS DISTINCT FROM
    (coalesce(excluded.name, known.name), coalesce(excluded.domain, known.domain),
     known.attributes || excluded.attributes)
"""

DUPLICATES = """
SELECT line, key, first_line
FROM (SELECT line, key, min(line) OVER (PARTITION BY key) AS first_line FROM seed_rows) AS rows
WHERE line > first_line
ORDER BY line
"""

# seed: -> PENDING
STATES = """
INSERT INTO workflow_states (company_id, step_name, batch_id, position)
SELECT company_id, %(step)s, batch_id, 0 FROM batch_companies WHERE batch_id = %(batch_id)s
"""


@dataclass(frozen=True)
class Seeded:
    """What was seeded. A duplicate is a row whose key is also that of the row at `first_line`."""

    batch: str
    companies_new: int
    companies_known: int
    duplicates: list[Row]  # line, key, first_line


def seed_batch(
    store: OperatorStore,
    rows: Iterable[SeedRow],
    *,
    name: str,
    blueprint: Sequence[str],
    columns: Sequence[str],
    priority: int = 0,
    file: str | None = None,
    on_phase: Callable[[str], None] = lambda _: None,
) -> Seeded:
    """Seed a batch in one transaction: all of it or nothing.

    `columns` may still grow while `rows` are read. The history notes the `file`. `on_phase` gets
    what Postgres does next, after `rows` were read: "sorts companies in".

    Raises:
        BadInput: there is no row to seed, or a step comes before one that it needs.
        WorkFailed: the database refused the rows.
    """
    try:
        with store.transaction() as connection:
            given = (name, blueprint, columns, priority, file, on_phase)
            return _seed(connection, rows, *given, store.who)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        reason = str(error).splitlines()[0]
        raise WorkFailed(f"Nothing was seeded: the database refused it: {reason}.") from error


def _seed(
    connection: Connection,
    rows: Iterable[SeedRow],
    name: str,
    blueprint: Sequence[str],
    columns: Sequence[str],
    priority: int,
    file: str | None,
    on_phase: Callable[[str], None],
    who: str,
) -> Seeded:
    check_needs(connection, blueprint)  # before a row is read
    staged = _stage(connection, rows)
    on_phase("waits for another seeding to end")
    connection.execute(SEEDING_TURN)
    if not staged:
        raise BadInput("Nothing was seeded: no row of the file can be used.")
    about = {"blueprint": Jsonb(list(blueprint)), "columns": Jsonb(list(columns))}
    batch = connection.execute(BATCH, {"name": name, "priority": priority, **about}).fetchone()
    assert batch is not None  # one number of the series is always free
    on_phase("sorts companies in")
    new, known = _members(connection, batch["id"], staged)
    on_phase("adds a row for each of them")
    connection.execute(STATES, {"batch_id": batch["id"], "step": blueprint[0]})
    connection.execute(LOG_SEEDED, {"batch_id": batch["id"]})
    of_file = {"file": storable_text(file)} if file else {}
    detail = {"blueprint": list(blueprint), "priority": priority, **of_file}
    Line(batch["id"], who, "seed", detail).add(connection, new + known)
    repeated = new + known < staged
    return Seeded(
        batch=batch["name"],
        companies_new=new,
        companies_known=known,
        duplicates=connection.execute(DUPLICATES).fetchall() if repeated else [],
    )


def _stage(connection: Connection, rows: Iterable[SeedRow]) -> int:
    """Copy the rows to the staging table while they are read; returns their number."""
    connection.execute(STAGE)
    cursor = connection.cursor()
    with cursor.copy(COPY) as copy:
        copy.set_types(TYPES)
        for line, key, company, domain, attributes in rows:
            text = attributes if isinstance(attributes, str) else json.dumps(attributes)
            copy.write_row((line, key, company, domain, text))
    return cursor.rowcount


def _members(connection: Connection, batch_id: int, staged: int) -> tuple[int, int]:
    """Create the new companies, and make all companies members of the batch.

    Returns how many were new, and how many were known.
    """
    batch = {"batch_id": batch_id}
    connection.execute(INDEXED)
    new = connection.execute(NEW, batch).rowcount
    if new == staged:
        return new, 0
    if new == connection.execute(KEYS).fetchall()[0]["keys"]:
        return new, 0
    connection.execute(LEARN)
    return new, connection.execute(KNOWN, batch).rowcount
