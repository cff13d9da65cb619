"""How long a retry and a cancel of a large batch take, and whom they hold up: one JSON line.

    python -m tests.bench.steer [--rows 1000000] [--rounds 3]

A batch with so many rows FAILED is retried whole; then, all of them PENDING, cancelled. The floor
is one bare UPDATE of the same columns, of as many rows of another batch in the same table: no
attempt is kept, no batch held, no line in the history. The two take turns, each round in a Postgres
of its own; `ratio` is the middle one of the rounds', `count_s` the longest count that is shown
first. In one more round both verbs have ticks and workers beside them, which go on with another
batch and with this one: `beside_ms` is the longest that a whole tick, and a worker's call, took
then, and without the verbs.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from threading import Event, Thread

import psycopg

from reconciler.contract.store import Store
from reconciler.contract.worker_store import WorkerStore
from reconciler.operator import steering
from reconciler.operator.store import OperatorStore
from reconciler.tick import tick
from tests.bench.filling import Batch, fill, report, throwaway
from tests.world import Scripted, work
from workers.noop import NAMES
from workers.runtime.loading import load_steps

LARGE, BARE, OTHER = "large", "bare", "other"
RETRY = """
UPDATE workflow_states
SET status = 'PENDING', forgiven = attempt, available_at = now(), finished_at = NULL,
    error = NULL, error_kind = NULL
WHERE batch_id = (SELECT id FROM batches WHERE name = %s) AND status = 'FAILED'
"""
CANCEL = """
UPDATE workflow_states SET status = 'CANCELLED', finished_at = now()
WHERE batch_id = (SELECT id FROM batches WHERE name = %s) AND status = 'PENDING'
"""
ALONE_S = 3.0  # how long ticks and workers run without the verbs


def timed(act: Callable[[], object], found: list[float]) -> None:
    """Add the seconds that it took."""
    started = time.perf_counter()
    act()
    found.append(time.perf_counter() - started)


def one_round(rows: int) -> dict[str, float]:
    """Seconds of each verb, of its floor, and of what is counted first."""
    counts: list[float] = []
    with ExitStack() as stack:
        _, url = stack.enter_context(throwaway())
        eyes = stack.enter_context(psycopg.connect(url, autocommit=True))
        fill(eyes, *(Batch(name, rows, failed=rows) for name in (BARE, LARGE)))
        operator = stack.enter_context(OperatorStore.connect(url))
        large, took = operator.batch(LARGE), dict[str, list[float]]()
        for verb, floor in (("retry", RETRY), ("cancel", CANCEL)):
            count = steering.failed if verb == "retry" else steering.unfinished
            timed(lambda count=count: count(operator, large), counts)
            act = steering.retry if verb == "retry" else steering.cancel
            both = took[verb], took[f"bare_{verb}"] = [], []
            timed(lambda floor=floor: eyes.execute(floor, [BARE]), both[1])
            timed(lambda act=act: moved(act(operator, large), rows), both[0])
        return {name: found[0] for name, found in took.items()} | {"count": max(counts)}


def moved(found: int, rows: int) -> None:
    """See that all of them were."""
    assert found == rows, f"{found} of {rows}"


@contextmanager
def beside(url: str, longest: dict[str, float]) -> Iterator[None]:
    """Ticks and workers that go on for as long as this lasts; the longest of each, in seconds."""
    over, errors = Event(), list[BaseException]()
    steps = load_steps(["workers.noop"])

    def go_on() -> None:
        try:
            with Store.connect(url) as store, WorkerStore.connect(url) as worker:
                while not over.is_set():
                    spawner = Scripted()
                    note("tick", lambda spawner=spawner: tick(store, spawner, store.now()))
                    for chunk in spawner.asked:
                        step, ids = steps[chunk.step_name], chunk.company_ids
                        note("work", lambda step=step, ids=ids: work(worker, step, ids))
        except BaseException as error:  # noqa: BLE001 - it is raised where the thread is joined
            errors.append(error)

    def note(what: str, act: Callable[[], object]) -> None:
        took: list[float] = []
        timed(act, took)
        longest[what] = max(longest.get(what, 0), took[0])

    thread = Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if errors:
        raise errors[0]


def one_beside(rows: int) -> dict[str, dict[str, float]]:
    """The longest tick and the longest piece of work, in milliseconds, while a verb runs."""
    found: dict[str, dict[str, float]] = {"alone": {}, "retry": {}, "cancel": {}}
    with ExitStack() as stack:
        _, url = stack.enter_context(throwaway())
        eyes = stack.enter_context(psycopg.connect(url, autocommit=True))
        fill(eyes, Batch(LARGE, rows, failed=rows), Batch(OTHER, rows, pending=rows))
        operator = stack.enter_context(OperatorStore.connect(url))
        operator.set_step(NAMES[0], {"max_in_flight": 2000, "chunk_size": 500})
        large = operator.batch(LARGE)
        with beside(url, found["alone"]):
            time.sleep(ALONE_S)
        for verb, act in (("retry", steering.retry), ("cancel", steering.cancel)):
            with beside(url, found[verb]):
                act(operator, large)
    return {verb: {k: round(1000 * s) for k, s in one.items()} for verb, one in found.items()}


def measure(rows: int, rounds: int) -> dict[str, object]:
    """The rounds, and one with ticks and workers beside."""
    found = [one_round(rows) for _ in range(rounds)]
    names = ("retry", "cancel")
    return {
        "rows": rows,
        "seconds": {name: round(median(one[name] for one in found), 2) for name in names},
        "bare_s": {name: round(median(one[f"bare_{name}"] for one in found), 2) for name in names},
        "ratio": {
            name: round(median(one[name] / one[f"bare_{name}"] for one in found), 2)
            for name in names
        },
        "count_s": round(max(one["count"] for one in found), 2),
        "client_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "beside_ms": one_beside(rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.steer", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    report(measure(given.rows, given.rounds))


if __name__ == "__main__":
    main()
