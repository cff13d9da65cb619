"""`tracer bench` against what Postgres itself can do: one JSON line.

    python -m tests.bench.floor [--companies 100000] [--steps 3] [--rounds 3]

The floor is the same transitions as bare set-based SQL on one connection. The tables, indexes and
checks are the product's; each statement moves 10,000 rows. No leases are judged, no capacities
counted, and no worker reads a company. The two take turns, each time in a Postgres of its own;
`ratio` is the middle one of the rounds'.
"""

import argparse
import json
import subprocess
import sys
import time
from statistics import median

import psycopg

from reconciler.benchmark import NAME, rows
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from tests.bench.filling import report, throwaway
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


def floor(companies: int, steps: int) -> float:
    """Company-steps a second of bare SQL."""
    blueprint = NAMES[:steps]
    with throwaway() as (_, url):
        with OperatorStore.connect(url) as operator:
            seed_batch(operator, rows(companies), name=NAME, blueprint=blueprint, columns=[])
        with psycopg.connect(url, autocommit=True) as connection:
            seconds = lifecycle(connection, blueprint)
            done = connection.execute("SELECT count(*) FROM workflow_states WHERE advanced")
            assert done.fetchone() == (companies * steps,)
    return companies * steps / seconds


def product(companies: int, steps: int) -> float:
    """Company-steps a second of `tracer bench`."""
    given = ("bench", "--companies", str(companies), "--steps", str(steps))
    command = [sys.executable, "-c", "from cli import main; main()", *given]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return float(json.loads(ran.stdout)["company_steps_per_s"])


def measure(companies: int, steps: int, rounds: int) -> dict[str, object]:
    """Both, in turns."""
    pairs = [(floor(companies, steps), product(companies, steps)) for _ in range(rounds)]
    return {
        "companies": companies,
        "steps": steps,
        "floor_per_s": [round(bare) for bare, _ in pairs],
        "tracer_per_s": [round(whole) for _, whole in pairs],
        "ratio": round(median(whole / bare for bare, whole in pairs), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.floor", description=__doc__)
    parser.add_argument("--companies", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    report(measure(given.companies, given.steps, given.rounds))


if __name__ == "__main__":
    main()
