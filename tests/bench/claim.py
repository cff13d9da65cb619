"""What a tick's statements cost as the table grows: one JSON line.

    python -m tests.bench.claim [--rows 10000,1000000,10000000] [--rounds 5]

Milliseconds by Postgres's own account, planning included: the median of the rounds. In each round
1,000 rows are free to claim, 1,000 are COMPLETED and not advanced, and 100 leases are over; ten of
the twenty batches have a backlog. `ratio` is the dearest size to the cheapest.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median
from typing import TypeVar

import psycopg

from reconciler.contract.claimed import Verdict
from reconciler.contract.store import Store
from tests.bench.filling import RESET, Batch, counting, fill, parsed, report, took
from workers.noop import NAMES

T = TypeVar("T")
BATCHES, RUNNING = 20, 10
FREE, FLYING = 1000, 1000
WARM_UP = 12  # psycopg prepares at the fifth run, and Postgres plans anew for five more
CAP = """
UPDATE enrichment_registry r SET max_in_flight = CASE step_name WHEN %s THEN %s + (
    SELECT count(*) FROM workflow_states w
    WHERE w.step_name = r.step_name AND w.status IN ('QUEUED', 'IN_PROGRESS')) ELSE 0 END
"""
EXPIRE = """
UPDATE workflow_states SET lease_expires_at = now() - interval '1 second'
WHERE ctid = ANY(ARRAY(SELECT ctid FROM workflow_states WHERE status IN ('QUEUED', 'IN_PROGRESS')
                       ORDER BY lease_expires_at DESC LIMIT %s))
"""
# As workers leave what was claimed: COMPLETED, not advanced.
LAND = """
UPDATE workflow_states
SET status = 'COMPLETED', started_at = now(), finished_at = now(), lease_expires_at = NULL
WHERE company_id = ANY(%s) AND step_name = %s AND status = 'QUEUED'
"""


def batches(rows: int, rounds: int) -> list[Batch]:
    """Batches of so many rows together, with a backlog of a tenth, or of what the rounds need."""
    backlog = max(FREE * rounds + 10 * WARM_UP, min(rows // 2, max(100_000, rows // 10)))
    pending, in_flight = -(-backlog // RUNNING), FLYING // RUNNING
    done = max(0, rows - backlog - FLYING) // 3 // BATCHES
    running = [
        Batch(f"running-{n}", pending + in_flight + done, pending=pending, in_flight=in_flight)
        for n in range(RUNNING)
    ]
    return running + [Batch(f"done-{n}", max(1, done)) for n in range(BATCHES - RUNNING)]


def one_round(store: Store, eyes: psycopg.Connection, free: int) -> dict[str, float]:
    """Each verb once; what Postgres spent on it."""
    spent: dict[str, float] = {}

    def timed(name: str, verb: Callable[[], T]) -> T:
        eyes.execute(RESET)
        found = verb()
        spent[name] = took(eyes)[0]
        return found

    eyes.execute(CAP, [NAMES[0], free])
    now = store.now()
    assert timed("look", lambda: store.due(now)).pending
    claimed = [i for chunk in timed("claim", lambda: store.claim(now)) for i in chunk.company_ids]
    assert len(claimed) == free
    eyes.execute(LAND, [claimed, NAMES[0]])
    assert timed("advance", lambda: store.advance(now)) == free
    assert not timed("finish", lambda: store.finish(now))
    eyes.execute(EXPIRE, [free // 10])
    later = store.now()
    verdict = Verdict(later, "expired", "worker_silent")
    assert timed("reap", lambda: store.reap(later, lambda _: verdict)) == (free // 10, 0)
    return spent


def measure(sizes: Sequence[int], rounds: int) -> dict[int, dict[str, float]]:
    """The median of each verb per size; the sizes take turns, so that a busy machine is fair."""
    found: dict[int, list[dict[str, float]]] = {rows: [] for rows in sizes}
    with ExitStack() as stack:
        tables = {}
        for rows in sizes:
            _, url = stack.enter_context(counting())
            eyes = stack.enter_context(psycopg.connect(url, autocommit=True))
            fill(eyes, *batches(rows, rounds))
            tables[rows] = stack.enter_context(Store.connect(url, max_size=1)), eyes
        for free in [10] * WARM_UP + [FREE] * rounds:
            for rows, (store, eyes) in tables.items():
                found[rows].append(one_round(store, eyes, free))
    return {rows: middle(of_size[WARM_UP:]) for rows, of_size in found.items()}


def middle(found: list[dict[str, float]]) -> dict[str, float]:
    """The median of each verb."""
    return {verb: round(median(one[verb] for one in found), 2) for verb in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.claim", description=__doc__)
    parser.add_argument("--rows", type=parsed, default="10000,1000000,10000000")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    ms = measure(given.rows, given.rounds)
    ratio = {verb: spread([one[verb] for one in ms.values()]) for verb in ms[given.rows[0]]}
    report({"free": FREE, "ms": ms, "ratio": ratio})


def spread(values: list[float]) -> float:
    """The largest to the smallest."""
    return round(max(values) / min(values), 2)


if __name__ == "__main__":
    main()
