"""What Postgres itself can do: the same transitions as bare set-based SQL, on one connection.

    python -m tests.bench.floor [--companies 100000] [--steps 3]

The tables, indexes and checks are the product's; each statement moves 10,000 rows. No leases are
judged, no budgets counted, and no worker reads a company: it is what all that is measured against.
"""

import argparse
import json
import sys
import time

import psycopg

from cli.bench import NAME, rows, throwaway
from reconciler.contract.operate import OperatorStore
from workers.noop import NAMES

CHUNK = 10_000
CLAIM = """
UPDATE workflow_states SET status = 'QUEUED', attempt = attempt + 1, queued_at = now(),
    lease_expires_at = now() + interval '5 minutes'
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM workflow_states
    WHERE status = 'PENDING' AND batch_id = 1 AND step_name = %(step)s AND available_at <= now()
    ORDER BY available_at, company_id LIMIT %(chunk)s FOR UPDATE SKIP LOCKED))
RETURNING company_id
"""
BEGIN = """
UPDATE workflow_states SET status = 'IN_PROGRESS', started_at = now(),
    lease_expires_at = now() + interval '1 minute'
WHERE company_id = ANY(%(ids)s) AND step_name = %(step)s AND batch_id = 1 AND status = 'QUEUED'
"""
COMPLETE = """
WITH won AS (
    UPDATE workflow_states SET status = 'COMPLETED', finished_at = now(), lease_expires_at = NULL
    WHERE company_id = ANY(%(ids)s) AND step_name = %(step)s AND batch_id = 1
      AND status = 'IN_PROGRESS'
    RETURNING company_id
)
INSERT INTO results.{step} (company_id, attribute_count, written_at)
SELECT company_id, 1, now() FROM won
ON CONFLICT (company_id) DO UPDATE SET attribute_count = 1, written_at = now()
"""
ADVANCE = """
WITH advanced AS (
    UPDATE workflow_states SET advanced = true
    WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM workflow_states
        WHERE status = 'COMPLETED' AND NOT advanced AND batch_id = 1
        ORDER BY batch_id, company_id LIMIT %(chunk)s FOR UPDATE SKIP LOCKED))
    RETURNING company_id, position
)
INSERT INTO workflow_states (company_id, step_name, batch_id, position)
SELECT company_id, %(next)s, 1, position + 1 FROM advanced WHERE %(next)s::text IS NOT NULL
"""


def lifecycle(connection: psycopg.Connection, blueprint: list[str]) -> float:
    """Take the batch through all of its steps; the seconds that took."""
    started = time.perf_counter()
    for step, following in zip(blueprint, [*blueprint[1:], None], strict=True):
        values = {"step": step, "next": following, "chunk": CHUNK}
        while ids := [row[0] for row in connection.execute(CLAIM, values)]:
            connection.execute(BEGIN, {**values, "ids": ids})
            connection.execute(COMPLETE.format(step=step).encode(), {**values, "ids": ids})
            connection.execute(ADVANCE, values)
    return time.perf_counter() - started


def measure(companies: int, steps: int) -> dict[str, object]:
    blueprint = NAMES[:steps]
    with throwaway() as (_, url):
        with OperatorStore.connect(url) as operator:
            operator.seed(rows(companies), name=NAME, blueprint=blueprint, columns=[])
        with psycopg.connect(url, autocommit=True) as connection:
            seconds = lifecycle(connection, blueprint)
            done = connection.execute("SELECT count(*) FROM workflow_states WHERE advanced")
            assert done.fetchone() == (companies * steps,)
    return {
        "companies": companies,
        "steps": steps,
        "seconds": round(seconds, 2),
        "company_steps_per_s": round(companies * steps / seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.floor", description=__doc__)
    parser.add_argument("--companies", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=3)
    given = parser.parse_args()
    sys.stdout.write(json.dumps(measure(given.companies, given.steps)) + "\n")


if __name__ == "__main__":
    main()
