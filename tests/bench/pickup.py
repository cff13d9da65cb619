"""How soon a row is picked up while one flow run follows another: one JSON line.

    python -m tests.bench.pickup [--poll 0.5] [--rate 1000] [--seconds 20] [--changes 2]

A pick-up is from COMPLETED of one step to IN_PROGRESS of the next. Flow runs of `reconciler.flow`
in Prefect's engine, a process each, take over from one another against a Prefect server beside
them; a worker host does steps that do nothing. The rate is given by the first step's capacity,
since each tick fills it once. Seconds of all pick-ups, and of those around a change: from the
start of the process of the newer run until `SETTLED` after it has taken over.
"""

import argparse
import time
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import psycopg

from reconciler.benchmark import NAME, rows
from reconciler.local.worker_host import running_host
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from tests.bench.filling import report, throwaway, value
from tests.bench.memory import outcome, prefect_server, start_flow
from workers.noop import NAMES

BLUEPRINT = NAMES[:3]
TICK_S = 0.1  # that a tick takes, about
SETTLED = timedelta(seconds=5)
LIMIT_S = 60.0
GENERATION = "SELECT generation FROM polling"
CLOCK = "SELECT clock_timestamp()"
RATE = """
SELECT count(*) / extract(epoch FROM %(until)s - %(since)s)::float8
FROM workflow_states WHERE finished_at BETWEEN %(since)s AND %(until)s
"""
PICK_UPS = """
SELECT count(*),
    percentile_cont(ARRAY[0.5, 0.95, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM took))
FROM (
    SELECT next.started_at - done.finished_at AS took, done.finished_at
    FROM workflow_states done
    JOIN workflow_states next USING (company_id, batch_id)
    WHERE next.position = done.position + 1 AND next.started_at IS NOT NULL
) AS pick_up
WHERE EXISTS (SELECT FROM unnest(%(since)s::timestamptz[], %(until)s::timestamptz[]) AS span (a, b)
              WHERE finished_at BETWEEN a AND b)
"""


def wait_taken_over(eyes: psycopg.Connection[Any], before: object) -> datetime:
    """The moment when another loop is the newest."""
    started = time.perf_counter()
    while value(eyes, GENERATION) == before:
        assert time.perf_counter() - started < LIMIT_S, "no loop has taken over"
        time.sleep(0.01)
    return clock(eyes)


def clock(eyes: psycopg.Connection[Any]) -> datetime:
    """Postgres's."""
    now = value(eyes, CLOCK)
    assert isinstance(now, datetime)
    return now


def pick_ups(
    eyes: psycopg.Connection[Any], since: list[datetime], until: list[datetime]
) -> dict[str, float]:
    """Of those that were COMPLETED in one of the spans."""
    row = eyes.execute(PICK_UPS, {"since": since, "until": until}).fetchone()
    assert row
    named = zip(("p50_s", "p95_s", "p99_s", "max_s"), row[1], strict=True)
    return {"count": row[0]} | {name: round(float(took), 3) for name, took in named}


def relay(
    given: argparse.Namespace,
    eyes: psycopg.Connection[Any],
    operator: OperatorStore,
    seen: dict[str, str],
) -> tuple[list[datetime], list[datetime]]:
    """Flow runs one after another; when each was started, and when it had taken over."""
    started, taken_over, runs = [], [], []
    for _ in range(1 + given.changes):
        before = value(eyes, GENERATION)
        started.append(clock(eyes))
        runs.append(start_flow(seen))
        taken_over.append(wait_taken_over(eyes, before))
        time.sleep(given.seconds)
    operator.set_polling(paused=True)
    for run in runs:
        outcome(run)
    return started, taken_over


def measure(given: argparse.Namespace) -> dict[str, object]:
    """The relay, and the pick-ups of its rows."""
    first = round(given.rate / len(BLUEPRINT) * (given.poll + TICK_S))
    with ExitStack() as stack:
        settings, url = stack.enter_context(throwaway())
        operator = stack.enter_context(OperatorStore.connect(url))
        eyes = stack.enter_context(psycopg.connect(url, autocommit=True))
        for step in BLUEPRINT:
            capacity = first if step == BLUEPRINT[0] else 10 * first
            operator.set_step(step, {"chunk_size": 50, "max_in_flight": capacity})
        operator.set_polling(poll_s=given.poll, idle_s=given.poll, every_s=86_400)
        companies = int(given.rate * (given.seconds + 20) * (1 + given.changes)) // len(BLUEPRINT)
        seed_batch(operator, rows(companies), name=NAME, blueprint=BLUEPRINT, columns=[])
        seen = stack.enter_context(prefect_server(settings, url))
        stack.enter_context(running_host(settings, url))
        started, taken_over = relay(given, eyes, operator, seen)
        ended = clock(eyes)
        assert operator.batch(NAME).status == "RUNNING", "the batch was too small"
        span = {"since": taken_over[0], "until": ended}
        settled = [moment + SETTLED for moment in taken_over]
        return {
            "poll_s": given.poll,
            "company_steps_per_s": round(float(str(value(eyes, RATE, span)))),
            "all": pick_ups(eyes, [taken_over[0]], [ended]),
            "around_changes": pick_ups(eyes, started[1:], settled[1:]),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pickup", description=__doc__)
    parser.add_argument("--poll", type=float, default=0.5)
    parser.add_argument("--rate", type=float, default=1000.0, help="company-steps a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run, and its start")
    parser.add_argument("--changes", type=int, default=2)
    report(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
