"""Tables as a long life leaves them, made in seconds: batches that are done, and some under way.

What the benchmarks of a large table share: the rows, Postgres's own account of what its statements
took, and the one JSON line.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psycopg
from psycopg.types.json import Jsonb

from reconciler import benchmark
from reconciler.contract.settings import Settings
from reconciler.local.postgres import supervisor
from workers.noop import NAMES
from workers.runtime.loading import load_steps

PACKAGE = "workers.noop"
BATCH = """
INSERT INTO batches (name, blueprint, priority, status, finished_at)
SELECT %(name)s, %(blueprint)s, %(priority)s, s, CASE s WHEN 'FINISHED' THEN now() END
FROM (SELECT CASE WHEN %(open)s > 0 THEN 'RUNNING' ELSE 'FINISHED' END) AS status (s)
RETURNING id
"""
COMPANIES = """
WITH made AS (
    INSERT INTO companies (key, name, domain, attributes)
    SELECT %(name)s || '-' || n, 'Company ' || n, 'company-' || n || '.example.com',
        jsonb_build_object('Number', n, 'Industry', 'Application Software')
    FROM generate_series(1, %(companies)s) n
    RETURNING id
), members AS (
    INSERT INTO batch_companies (batch_id, company_id) SELECT %(batch_id)s, id FROM made
)
SELECT min(id) FROM made
"""
# The first companies are still at the first step: PENDING, in flight, COMPLETED and not advanced,
# FAILED, in this order; all others are through. Step by step, as the rows of a batch are written.
STATES = """
INSERT INTO workflow_states (company_id, step_name, batch_id, position, status, attempt, advanced,
    queued_at, started_at, finished_at, lease_expires_at, call_id, error, error_kind)
SELECT %(first)s + n, %(step)s, %(batch_id)s, %(position)s, status, (status <> 'PENDING')::int,
    n >= %(open)s + %(failed)s,
    CASE WHEN status <> 'PENDING' THEN now() END, CASE WHEN status <> 'PENDING' THEN now() END,
    CASE WHEN status IN ('COMPLETED', 'FAILED') THEN now() END,
    CASE status WHEN 'IN_PROGRESS' THEN now() + make_interval(secs => %(lease_s)s) END,
    CASE WHEN status <> 'PENDING' THEN 'fc-' || md5((n / 100)::text) END,
    CASE status WHEN 'FAILED' THEN 'the API answered 500: reason ' || n %% 50 END,
    CASE status WHEN 'FAILED' THEN 'raised' END
FROM generate_series(%(from)s, %(to)s - 1) n
CROSS JOIN LATERAL (SELECT CASE
    WHEN n < %(pending)s THEN 'PENDING'
    WHEN n < %(pending)s + %(in_flight)s THEN 'IN_PROGRESS'
    WHEN n < %(open)s THEN 'COMPLETED'
    WHEN n < %(open)s + %(failed)s THEN 'FAILED'
    ELSE 'COMPLETED' END AS status) s
"""
# An entry per 10,000 rows and second, as ticks write them.
PROGRESS = """
INSERT INTO progress (batch_id, position, at, arrived, completed)
SELECT batch_id, position, now() - n / 10000 * interval '1 second', count(*),
    count(*) FILTER (WHERE advanced)
FROM (SELECT *, row_number() OVER (PARTITION BY position) AS n
      FROM workflow_states WHERE batch_id = %(batch_id)s) AS numbered
GROUP BY batch_id, position, n / 10000
"""
RESET = "SELECT pg_stat_statements_reset()"
TOOK = """
SELECT sum(total_exec_time + total_plan_time) AS ms, sum(calls)::int AS calls
FROM pg_stat_statements
WHERE query NOT LIKE '%%pg_stat_statements%%' AND query LIKE %(like)s::text
"""


@dataclass(frozen=True)
class Batch:
    """A batch of companies of its own. Of its `companies`, so many are still at the first step:
    `pending`, `in_flight`, `landed` (COMPLETED, not advanced) or `failed`."""

    name: str
    companies: int
    steps: int = 3
    pending: int = 0
    in_flight: int = 0
    landed: int = 0
    failed: int = 0
    priority: int = 0
    lease_s: float = 86_400

    @property
    def early(self) -> int:
        """Companies that are still at the first step."""
        return self.pending + self.in_flight + self.landed + self.failed

    @property
    def blueprint(self) -> list[str]:
        """The names of its steps."""
        return NAMES[: self.steps]

    @property
    def rows(self) -> int:
        """Rows of `workflow_states`."""
        return self.companies + (self.companies - self.early) * (self.steps - 1)


def fill(connection: psycopg.Connection, *batches: Batch) -> None:
    """Write the batches, without the checks of foreign keys, and vacuum as autovacuum would.

    The rows that are still at the first step come first, so that they lie together, as a seeding
    writes them: in the gaps that longer rows leave at the end of each page, a thousand rows lie on
    a thousand pages.
    """
    connection.execute("SET session_replication_role = replica")
    written = [(batch, _begin(connection, batch)) for batch in batches]
    for batch, values in written:
        for position, step in enumerate(batch.blueprint):
            part = {"position": position, "step": step, "from": batch.early, "to": batch.companies}
            connection.execute(STATES, values | part)
        connection.execute(PROGRESS, values)
    connection.execute("SET session_replication_role = origin")
    connection.execute("VACUUM (ANALYZE)")
    connection.execute("CHECKPOINT")


def _begin(connection: psycopg.Connection, batch: Batch) -> dict[str, object]:
    """Write the batch, its companies, and the rows of those that are still at the first step."""
    values: dict[str, object] = {**vars(batch), "open": batch.early - batch.failed}
    values["batch_id"] = value(connection, BATCH, values | {"blueprint": Jsonb(batch.blueprint)})
    values["first"] = value(connection, COMPANIES, values)
    part = {"position": 0, "step": batch.blueprint[0], "from": 0, "to": batch.early}
    connection.execute(STATES, values | part)
    return values


def value(
    connection: psycopg.Connection, query: str, values: dict[str, object] | None = None
) -> object:
    """The one value that a query has."""
    row = connection.execute(query.encode(), values).fetchone()
    assert row
    return row[0]


def throwaway() -> AbstractContextManager[tuple[Settings, str]]:
    """A home and a Postgres of the benchmark's own, with the no-op steps."""
    return benchmark.throwaway(PACKAGE, load_steps([PACKAGE]))


@contextmanager
def counting() -> Iterator[tuple[Settings, str]]:
    """As `throwaway`, with a server that keeps account of its statements."""
    with throwaway() as (settings, url):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
            connection.execute("ALTER SYSTEM SET pg_stat_statements.track_planning = on")
        supervisor.stop(settings.home)
        yield settings, supervisor.acquire(settings.home)


def took(connection: psycopg.Connection, like: str = "%") -> tuple[float, int]:
    """Milliseconds and calls of the statements since the last `RESET`, by Postgres's account."""
    row = connection.execute(TOOK, {"like": like}).fetchone()
    assert row
    return row[0] or 0.0, row[1] or 0


def report(figures: dict[str, object]) -> None:
    """Print the figures, one JSON line."""
    sys.stdout.write(json.dumps(figures) + "\n")


def parsed(text: str) -> Sequence[int]:
    """Numbers with commas between them."""
    return [int(part) for part in text.split(",")]
