"""What a small batch waits for behind a large one of the same step: one JSON line.

    python -m tests.bench.fair [--large 1000000] [--in-flight 1000] [--chunk 100] [--poll 1.0]

Seconds from the commit of a seeding of 10 companies until the batch is FINISHED, the median of
several: alone, and behind the large batch. Then a batch of a higher priority is seeded (`overtaken`
counts rows of the large one that were claimed before all of its own were), and after it two more
loops tick beside the first (`most_in_flight`, by a connection that counts all the time). The step
does nothing, on a worker host of this machine.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from threading import Event, Thread

import psycopg

from reconciler.benchmark import rows
from reconciler.contract.settings import Settings
from reconciler.contract.store import Store
from reconciler.local.worker_host import running_host
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.poll import poll
from reconciler.spawners.choose import make_spawner
from tests.bench.filling import Batch, fill, report, throwaway, value
from workers.noop import NAMES

STEP, SMALL = NAMES[0], 10
LIMIT_S = 120.0
OVERTAKEN = """
SELECT count(*) FROM workflow_states w JOIN batches b ON b.id = w.batch_id
WHERE b.name = 'large' AND w.queued_at > %(seeded)s AND w.queued_at < (
    SELECT max(w.queued_at) FROM workflow_states w JOIN batches b ON b.id = w.batch_id
    WHERE b.name = 'urgent')
"""
IN_FLIGHT = "SELECT count(*) FROM workflow_states WHERE status IN ('QUEUED', 'IN_PROGRESS')"


def log(_: str) -> None:
    """What ticks say is not needed here."""


@contextmanager
def loops(url: str, settings: Settings, count: int) -> Iterator[None]:
    """So many reconcilers, each a loop with connections of its own, that tick meanwhile."""
    stop = Event()
    with ExitStack() as stack:
        for _ in range(count):
            store = stack.enter_context(Store.connect(url))
            given = (store, make_spawner(settings), stop, log)
            thread = Thread(target=poll, args=given, kwargs={"until_done": count > 1})
            thread.start()
            stack.callback(thread.join)
        stack.callback(stop.set)
        yield


def wait_finished(operator: OperatorStore, name: str) -> float:
    """Seconds until the batch of that name is FINISHED."""
    started = time.perf_counter()
    while operator.batch(name).status != "FINISHED":
        assert time.perf_counter() - started < LIMIT_S, f"{name} is not FINISHED"
        time.sleep(0.01)
    return time.perf_counter() - started


def seed_and_wait(operator: OperatorStore, name: str) -> float:
    """Seed a small batch and see it through; the seconds that took."""
    seed_batch(operator, rows(SMALL), name=name, blueprint=[STEP], columns=[])
    return wait_finished(operator, name)


def most_in_flight(eyes: psycopg.Connection, seconds: float) -> tuple[int, int]:
    """The most rows in flight that were seen, and how often it was looked."""
    ends, seen = time.perf_counter() + seconds, []
    while time.perf_counter() < ends:
        seen.append(int(str(value(eyes, IN_FLIGHT))))
    return max(seen), len(seen)


def overtaken(operator: OperatorStore, eyes: psycopg.Connection, companies: int) -> int:
    """Seed a batch that goes first; how many rows of the large one were claimed before its last."""
    given = {"name": "urgent", "blueprint": [STEP], "columns": [], "priority": 10}
    seed_batch(operator, rows(companies), **given)
    seeded = value(eyes, "SELECT clock_timestamp()")
    wait_finished(operator, "urgent")
    return int(str(value(eyes, OVERTAKEN, {"seeded": seeded})))


def measure(given: argparse.Namespace) -> dict[str, object]:
    """All of it, in one database."""
    with ExitStack() as stack:
        settings, url = stack.enter_context(throwaway())
        operator = stack.enter_context(OperatorStore.connect(url))
        eyes = stack.enter_context(psycopg.connect(url, autocommit=True))
        operator.set_step(STEP, {"chunk_size": given.chunk, "max_in_flight": given.in_flight})
        operator.set_polling(poll_s=given.poll, idle_s=given.poll, every_s=86_400)
        stack.enter_context(running_host(settings, url))
        with loops(url, settings, 1):
            alone = [seed_and_wait(operator, f"alone-{n}") for n in range(given.times)]
        fill(eyes, Batch("large", given.large, steps=1, pending=given.large))
        with loops(url, settings, 1):
            behind = [seed_and_wait(operator, f"behind-{n}") for n in range(given.times)]
            overtook = overtaken(operator, eyes, 3 * given.in_flight)
        with loops(url, settings, 3):
            most, looks = most_in_flight(eyes, given.seconds)
        assert operator.batch("large").status == "RUNNING", "the large batch was too small"
    return {
        "large": given.large,
        "alone_s": round(median(alone), 3),
        "behind_s": round(median(behind), 3),
        "ratio": round(median(behind) / median(alone), 2),
        "overtaken": overtook,
        "max_in_flight": given.in_flight,
        "most_in_flight": most,
        "looks": looks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fair", description=__doc__)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--in-flight", type=int, default=1000)
    parser.add_argument("--chunk", type=int, default=100)
    parser.add_argument("--poll", type=float, default=1.0)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="with three loops")
    report(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
