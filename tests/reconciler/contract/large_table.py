"""A table of 40,000 rows, how statements on it are planned, and whether they read all of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.contract.database import Connection, connect
from tests.databases import Databases

BATCHES, COMPANIES = 4, 10_000  # in each batch; one row in two hundred is not done with
# As a busy system has them: nearly all is done, and what is not is spread over the table.
FILL = """
WITH seeded AS (
    INSERT INTO batches (name, blueprint)
    SELECT 'batch-' || n, '["normalize", "step_a"]' FROM generate_series(1, %(batches)s) n
    RETURNING id
), known AS (
    INSERT INTO companies (key) SELECT 'company-' || n FROM generate_series(1, %(companies)s) n
    RETURNING id
), members AS (
    INSERT INTO batch_companies (batch_id, company_id) SELECT s.id, k.id FROM seeded s, known k
), logged AS (
    INSERT INTO progress (batch_id, position, at, arrived)
    SELECT id, 0, now(), %(companies)s FROM seeded
)
INSERT INTO workflow_states (company_id, step_name, batch_id, position, status, attempt, advanced,
    lease_expires_at, finished_at, call_id)
SELECT k.id, 'normalize', b.id, 0, s.status, 1,
    s.status IN ('COMPLETED', 'NOT_FOUND', 'SKIPPED') AND k.id %% 2 = 0,
    CASE WHEN s.status IN ('QUEUED', 'IN_PROGRESS') THEN now() + interval '1 hour' END,
    CASE WHEN s.status NOT IN ('PENDING', 'QUEUED', 'IN_PROGRESS') THEN now() END, 'fc-' || k.id
FROM seeded b
CROSS JOIN known k
CROSS JOIN LATERAL (SELECT CASE
    WHEN b.id %% 2 = 0 AND k.id %% 500 = 1 THEN 'PENDING'
    WHEN b.id = 1 AND k.id %% 500 = 2 THEN 'QUEUED'
    WHEN b.id = 1 AND k.id %% 500 = 3 THEN 'IN_PROGRESS'
    WHEN k.id %% 500 = 4 THEN 'CANCELLED'
    WHEN k.id %% 500 = 5 THEN 'FAILED'
    WHEN k.id %% 500 < 100 THEN 'NOT_FOUND'
    WHEN k.id %% 500 < 200 THEN 'SKIPPED'
    ELSE 'COMPLETED' END AS status) s
"""
READ = """
SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relname = %(table)s
"""
STATES = "workflow_states"
PLANNED = ("custom", "generic", "never analyzed")


def fill(url: str) -> None:
    with connect(url) as connection:
        connection.execute(FILL.encode(), {"batches": BATCHES, "companies": COMPANIES})


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
