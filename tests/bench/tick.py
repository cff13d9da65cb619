"""A tick against its own statements, run bare: one JSON line.

    python -m tests.bench.tick [--rows 10000] [--rounds 9]

In each round so many leases are over, so many rows are COMPLETED and not advanced, and so many are
free to claim. `tick` is the product's whole tick, with a spawner that takes everything: the policy
judges each lease, chunks are cut, calls are recorded. `bare` runs the same statements on one
connection, with values that are at hand, and only they are timed. The two take turns in one table;
`ratio` is the median of bare to tick, round by round.
"""

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import psycopg

from reconciler.contract.claimed import (
    LIMIT,
    NO_LIMIT,
    Chunk,
    Expired,
    Verdict,
    per_row,
    row_arrays,
    verdict_arrays,
)
from reconciler.contract.sql import claim, dispatch, tick
from reconciler.contract.store import RESOLVE_AFTER_S, Store, claim_values, holder_values
from reconciler.spawners.protocol import Spawned
from reconciler.tick import tick as whole_tick
from tests.bench.claim import CAP, EXPIRE, LAND
from tests.bench.filling import Batch, fill, report, throwaway
from tests.world import Scripted
from workers.noop import NAMES

WARM_UP, FEW = 12, 100  # rounds until Postgres has planned for good, and their rows
LATER = timedelta(hours=1)
CALL = "fc-01HZZZZZZZZZZZZZZZZZZZZZZZ"


class Bare:
    """The tick's statements on one connection, and the seconds that they took."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection, self.took_s = connection, 0.0

    def run(self, statement: str, values: dict[str, Any]) -> list[Any]:
        """One statement, and its rows."""
        query = statement.encode()
        started = time.perf_counter()
        cursor = self._connection.execute(query, values)
        found = cursor.fetchall() if cursor.description else []
        self.took_s += time.perf_counter() - started
        return found

    def tick(self, now: datetime) -> list[int]:
        """All that a tick runs; the ids that it claimed."""
        values = claim_values(now)
        due = {**holder_values(NO_LIMIT), "resolve_after_s": RESOLVE_AFTER_S}
        self.run(tick.DUE, values | due)
        with self._connection.transaction():
            rows = [Expired(*row) for row in self.run(tick.EXPIRED, values)]
            verdicts = [Verdict(now + LATER, "the lease was over", "worker_silent")] * len(rows)
            self.run(tick.REAP, values | verdict_arrays(rows, verdicts))
        self.run(tick.ADVANCE, values)
        chunks = [Chunk(*row) for row in self.run(claim.CLAIM, values)]
        calls = per_row(chunks, [CALL] * len(chunks))
        self.run(dispatch.RECORD_CALLS, row_arrays(chunks) | {"call_ids": calls})
        self.run(tick.ENDED, values)
        return [i for chunk in chunks for i in chunk.company_ids]


def prepare(eyes: psycopg.Connection[Any], rows: int, landed: Sequence[int]) -> None:
    """Have so many rows for each verb: `landed` were claimed by the round before."""
    eyes.execute(LAND, [list(landed), NAMES[0]])
    eyes.execute(CAP, [NAMES[0], 0])  # what the reap gives back is what the claim may take
    eyes.execute(EXPIRE, [rows])


def measure(rows: int, rounds: int) -> dict[str, object]:
    """Both, in turns: the medians in milliseconds, and the median of their ratios."""
    each = 2 * (rounds * rows + WARM_UP * FEW)
    batch = Batch("bench", 2 * each + rows, pending=each, in_flight=each, landed=rows)
    took: dict[str, list[float]] = {"tick": [], "bare": []}
    with ExitStack() as stack:
        _, url = stack.enter_context(throwaway())
        eyes = stack.enter_context(psycopg.connect(url, autocommit=True))
        fill(eyes, batch)
        store = stack.enter_context(Store.connect(url, max_size=1))
        bare, spawner = Bare(eyes), Scripted(Spawned(CALL))
        landed: Sequence[int] = ()
        for size in [FEW] * WARM_UP + [rows] * rounds:
            prepare(eyes, size, landed)
            now, started = store.now(), time.perf_counter()
            did = whole_tick(store, spawner, now)
            took["tick"].append(time.perf_counter() - started)
            assert (did.retried, did.claimed, did.spawned) == (size, size, size)
            taken = [i for chunk in spawner.asked for i in chunk.company_ids]
            spawner.asked.clear()
            prepare(eyes, size, taken)
            bare.took_s = 0.0
            landed = bare.tick(store.now())
            took["bare"].append(bare.took_s)
            assert len(landed) == size
    return {"rows": 3 * rows, "rounds": rounds, **compared(took["tick"], took["bare"])}


def compared(ticks: list[float], bare: list[float]) -> dict[str, float]:
    """The medians, and the median ratio, of what came after the warming up."""
    pairs = list(zip(ticks, bare, strict=True))[WARM_UP:]
    return {
        "tick_ms": round(1000 * median(whole for whole, _ in pairs), 1),
        "bare_ms": round(1000 * median(alone for _, alone in pairs), 1),
        "ratio": round(median(alone / whole for whole, alone in pairs), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tick", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="of each verb and round")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    assert given.rows <= LIMIT, f"a verb takes {LIMIT} rows at a time"
    report(measure(given.rows, given.rounds))


if __name__ == "__main__":
    main()
