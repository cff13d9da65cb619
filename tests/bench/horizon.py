"""The whole lifecycle beside a snapshot that somebody holds open: one JSON line.

    python -m tests.bench.horizon [--transitions 1000000] [--rounds 3]

As `tracer bench` runs it, by turns, each time in a Postgres of its own: alone, and while another
connection keeps the snapshot of one SELECT, so that no row version since then is removed and no
index entry of one is marked dead. A company-step is 5 transitions: seed, claim, begin, complete,
advance. `verbs` has, for each verb of a tick, its seconds in the last run and the median
milliseconds of the last quarter of its calls.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

import psycopg

from reconciler.benchmark import NAME, check, rows, run
from reconciler.contract.store import Store
from reconciler.local.worker_host import running_host
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from tests.bench.filling import report, throwaway
from workers.noop import NAMES

TRANSITIONS = 5  # of a company-step
VERBS = ("look", "reap", "advance", "claim", "finish")
SETTINGS = {"chunk_size": 500, "max_in_flight": 20_000}  # as in `tracer bench`


class TimedStore(Store):
    """A conductor that keeps how long its verbs took, in seconds."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.took: dict[str, list[float]] = {verb: [] for verb in VERBS}
        for verb in VERBS:
            setattr(self, verb, partial(self._timed, verb, getattr(self, verb)))

    def _timed(self, verb: str, does: Callable[..., Any], *given: Any) -> Any:
        started = time.perf_counter()
        try:
            return does(*given)
        finally:
            self.took[verb].append(time.perf_counter() - started)


@contextmanager
def snapshot(url: str) -> Iterator[None]:
    """An old snapshot, for as long as this lasts."""
    with psycopg.connect(url) as connection:
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.commit()
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM batches")
        yield


@contextmanager
def nothing(_: str) -> Iterator[None]:
    """Nobody holds anything."""
    yield


def lifecycle(
    companies: int, blueprint: list[str], beside: Callable[[str], Any]
) -> tuple[float, dict[str, list[float]]]:
    """Company-steps a second, and what the verbs took."""
    with throwaway() as (settings, url), OperatorStore.connect(url) as operator:
        for step in blueprint:
            operator.set_step(step, SETTINGS)
        operator.set_polling(poll_s=0.1, idle_s=1.0)
        seed_batch(operator, rows(companies), name=NAME, blueprint=blueprint, columns=[])
        with (
            beside(url),
            TimedStore.connect(url) as store,
            running_host(settings, url),
        ):
            took_s = run(store, settings)
        check(operator, companies, blueprint)
    return companies * len(blueprint) / took_s, store.took


def shown(took: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Each verb's seconds in all, and how dear it was towards the end."""
    return {
        verb: {
            "total_s": round(sum(times), 2),
            "last_ms": round(1000 * median(times[-max(1, len(times) // 4) :]), 1),
        }
        for verb, times in took.items()
        if times
    }


def measure(transitions: int, steps: int, rounds: int) -> dict[str, object]:
    """Both runs in turns, and the middle one of the ratios of their throughput."""
    companies = -(-transitions // TRANSITIONS // steps)
    pairs = [
        [lifecycle(companies, NAMES[:steps], beside) for beside in (nothing, snapshot)]
        for _ in range(rounds)
    ]
    alone, beside = zip(*pairs, strict=True)
    return {
        "companies": companies,
        "transitions": companies * steps * TRANSITIONS,
        "alone_per_s": [round(speed) for speed, _ in alone],
        "beside_snapshot_per_s": [round(speed) for speed, _ in beside],
        "ratio": round(median(held / free for (free, _), (held, _) in pairs), 3),
        "verbs": {"alone": shown(alone[-1][1]), "beside_snapshot": shown(beside[-1][1])},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.horizon", description=__doc__)
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    report(measure(given.transitions, given.steps, given.rounds))


if __name__ == "__main__":
    main()
