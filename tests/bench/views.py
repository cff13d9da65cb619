"""How long an operator waits for a view of a large table: one JSON line.

    python -m tests.bench.views [--rows 10000000]

Twenty batches, one of them half of the table; that one is running and has a thousandth of the rows
FAILED, with 50 texts. Seconds from call to answer: of the first call, on a new connection, and the
median of five more.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import psycopg

from reconciler.operator import views
from reconciler.operator.diagnosis.explain import read_row
from reconciler.operator.store import OperatorStore
from tests.bench.filling import Batch, fill, report, throwaway

BATCHES, STEPS, MORE = 20, 3, 5
LARGE = "large"


def batches(rows: int) -> list[Batch]:
    """The large one first: a tenth of its companies are still at the first step."""
    half = rows // 2
    failed, in_flight = rows // 1000, min(100_000, rows // 100)
    early = half // 20
    large = Batch(
        LARGE,
        (half + (STEPS - 1) * early) // STEPS,
        pending=early - failed - in_flight - 10,
        in_flight=in_flight,
        landed=10,
        failed=failed,
    )
    each = half // (BATCHES - 1) // STEPS
    return [large, *(Batch(f"done-{n}", each) for n in range(BATCHES - 1))]


def timed(look: Callable[[], object]) -> float:
    """Seconds that one look takes."""
    started = time.perf_counter()
    assert look()
    return time.perf_counter() - started


def measure(rows: int) -> dict[str, object]:
    """Each view of the table, and how many rows that had."""
    given = batches(rows)
    with throwaway() as (_, url):
        with psycopg.connect(url, autocommit=True) as connection:
            fill(connection, *given)
        with OperatorStore.connect(url, max_size=1) as operator:
            batch = operator.batch(LARGE)
            companies = [f"{LARGE}-{n}" for n in (1, given[0].companies)]
            shown: dict[str, Callable[[], object]] = {
                "inspect": lambda: views.progress(operator, batch),
                "batches": lambda: views.batches(operator),
                "explain": lambda: [read_row(operator, batch, key) for key in companies],
                "inspect_company": lambda: views.timeline(operator, batch, companies[1]),
            }
            first = {name: timed(view) for name, view in shown.items()}
            again = {name: median(timed(view) for _ in range(MORE)) for name, view in shown.items()}
            check(views.progress(operator, batch, failures=100), given[0])
    return {
        "rows": sum(one.rows for one in given),
        "first_s": {name: round(s, 4) for name, s in first.items()},
        "median_s": {name: round(s, 4) for name, s in again.items()},
    }


def check(shown: dict[str, object], batch: Batch) -> None:
    """See that what is shown is what was written."""
    first, second, _ = shown["steps"]  # type: ignore[misc]
    early = batch.pending + batch.in_flight + batch.failed
    assert (first["PENDING"], first["IN_PROGRESS"]) == (batch.pending, batch.in_flight)
    assert (first["FAILED"], first["COMPLETED"]) == (batch.failed, batch.companies - early)
    assert second["COMPLETED"] == batch.companies - early - batch.landed
    assert sum(one["count"] for one in shown["failures"]) == batch.failed  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.views", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    report(measure(parser.parse_args().rows))


if __name__ == "__main__":
    main()
