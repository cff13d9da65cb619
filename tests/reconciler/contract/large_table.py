"""A table of 40,000 rows, how statements on it are planned, and whether they read all of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.types.json import Jsonb

from reconciler.contract.database import Connection, connect
from tests.databases import Databases

BATCHES, COMPANIES = 4, 10_000  # in each batch; one row in two hundred is not done with
MEMBERS = """
WITH seeded AS (
    INSERT INTO batches (name, blueprint)
    SELECT 'batch-' || n, %(blueprint)s FROM generate_series(1, %(batches)s) n
    RETURNING id
), known AS (
    INSERT INTO companies (key) SELECT 'company-' || n FROM generate_series(1, %(companies)s) n
    RETURNING id
), members AS (
    INSERT INTO batch_companies (batch_id, company_id)
    SELECT s.id, k.id
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM seeded) s
    JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM known) k
      ON NOT %(apart)s OR s.n = k.n
    RETURNING batch_id
)
INSERT INTO progress (batch_id, position, at, arrived)
SELECT batch_id, 0, now(), count(*) FROM members GROUP BY batch_id
"""
# As a busy system has them: nearly all is done, and what is not is spread over the table.
STATES_OF_MEMBERS = """
INSERT INTO workflow_states (company_id, step_name, batch_id, position, status, attempt, advanced,
    lease_expires_at, finished_at, call_id)
SELECT k.company_id, 'normalize', k.batch_id, 0, s.status, 1,
    s.status IN ('COMPLETED', 'NOT_FOUND', 'SKIPPED') AND k.company_id % 2 = 0,
    CASE WHEN s.status IN ('QUEUED', 'IN_PROGRESS') THEN now() + interval '1 hour' END,
    CASE WHEN s.status NOT IN ('PENDING', 'QUEUED', 'IN_PROGRESS') THEN now() END,
    'fc-' || k.company_id
FROM batch_companies k
CROSS JOIN LATERAL (SELECT CASE
    WHEN k.batch_id % 2 = 0 AND k.company_id % 500 = 1 THEN 'PENDING'
    WHEN k.batch_id = 1 AND k.company_id % 500 = 2 THEN 'QUEUED'
    WHEN k.batch_id = 1 AND k.company_id % 500 = 3 THEN 'IN_PROGRESS'
    WHEN k.company_id % 500 = 4 THEN 'CANCELLED'
    WHEN k.company_id % 500 = 5 THEN 'FAILED'
    WHEN k.company_id % 500 < 100 THEN 'NOT_FOUND'
    WHEN k.company_id % 500 < 200 THEN 'SKIPPED'
    ELSE 'COMPLETED' END AS status) s
"""
READ = """
SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relname = %(table)s
"""
STATES = "workflow_states"
PLANNED = ("custom", "generic", "never analyzed")


def make_members(
    connection: Connection, batches: int, companies: int, *places: object, apart: bool = False
) -> None:
    """So many running batches of this blueprint, each with all companies; `apart`: with one."""
    given = {"batches": batches, "companies": companies, "apart": apart}
    connection.execute(MEMBERS, {**given, "blueprint": Jsonb(places)})


def fill(url: str) -> None:
    with connect(url) as connection:
        make_members(connection, BATCHES, COMPANIES, "normalize", "step_a")
        connection.execute(STATES_OF_MEMBERS)


def fill_and_analyze(url: str) -> None:
    fill(url)
    with connect(url) as connection:
        connection.execute("ANALYZE")


@contextmanager
def large(databases: Databases, planned: str) -> Iterator[str]:
    """The URL of a database with it, by statistics good and bad."""
    with databases.filled(fill if planned == "never analyzed" else fill_and_analyze) as url:
        yield url


def begin(connection: Connection, planned: str) -> None:
    plan = "generic" if planned == "generic" else "custom"
    connection.execute(f"SET plan_cache_mode = force_{plan}_plan".encode())
    connection.execute("BEGIN")
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def scans(connection: Connection, table: str = STATES) -> int:
    row = connection.execute(READ, {"table": table}).fetchone()
    return int(row["seq_scan"]) if row else 0
