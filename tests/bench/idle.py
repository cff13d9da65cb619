"""What a loop costs that has nothing to do: one JSON line.

    python -m tests.bench.idle [--seconds 60] [--poll 0.5]

Percent of a core that the loop's process and its Postgres backends take, and statements per tick,
in a table of a million rows: with no batch that runs; with five whose rows are all in flight; with
five whose capacity is used up, so that rows wait. Linux only.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from reconciler.contract.settings import Settings
from reconciler.operator.store import OperatorStore
from tests.bench.filling import RESET, Batch, counting, fill, report, took
from workers.noop import NAMES

LOOP = """
import os
from threading import Event
from reconciler.contract.settings import load_settings
from reconciler.contract.store import Store
from reconciler.poll import poll
from reconciler.spawners.choose import make_spawner
with Store.connect(os.environ["DATABASE_URL"]) as store:
    poll(store, make_spawner(load_settings()), Event(), print)
"""
BATCHES, IN_FLIGHT, WAITING = 5, 2000, 10_000  # rows of each batch
WARM_UP_S = 10.0  # imports, connections, and the runs until Postgres has planned for good
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tracer_conductor'"
BEATS = "%UPDATE polling SET ticked_at%"


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, by the scheduler's clock, which has no ticks."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def loop(settings: Settings, url: str) -> Iterator[int]:
    """A loop in a process of its own, past its first ticks: its pid."""
    environment = os.environ | {"DATABASE_URL": url, "TRACER_HOME": str(settings.home)}
    command = [sys.executable, "-c", LOOP]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            time.sleep(WARM_UP_S)
            assert process.poll() is None, "the loop has ended"
            yield process.pid
        finally:
            process.terminate()


def watch(settings: Settings, url: str, seconds: float) -> dict[str, float]:
    """What a loop takes in so many seconds."""
    with psycopg.connect(url, autocommit=True) as eyes, loop(settings, url) as pid:
        backends = [row[0] for row in eyes.execute(BACKENDS).fetchall()]
        eyes.execute(RESET)
        before = cpu_s(pid), sum(map(cpu_s, backends))
        time.sleep(seconds)
        own, theirs = cpu_s(pid) - before[0], sum(map(cpu_s, backends)) - before[1]
        (ms, calls), (_, ticks) = took(eyes), took(eyes, BEATS)
    return {
        "loop_pct": round(100 * own / seconds, 2),
        "backends_pct": round(100 * theirs / seconds, 2),
        "ticks": ticks,
        "statements_per_tick": round(calls / ticks, 2),
        "statements_ms_per_tick": round(ms / ticks, 2),
    }


def cases(rows: int) -> dict[str, list[Batch]]:
    """What is in the table, added from case to case."""
    flying = Batch("", IN_FLIGHT, in_flight=IN_FLIGHT)
    waiting = Batch("", WAITING, pending=WAITING)
    return {
        "no batch": [Batch("done", rows // 3)],
        "all in flight": [replace(flying, name=f"flying-{n}") for n in range(BATCHES)],
        "capacity used up": [replace(waiting, name=f"waiting-{n}") for n in range(BATCHES)],
    }


def measure(given: argparse.Namespace) -> dict[str, object]:
    """The cases, one after another."""
    found: dict[str, object] = {"poll_s": given.poll}
    with counting() as (settings, url), OperatorStore.connect(url) as operator:
        operator.set_polling(poll_s=given.poll, every_s=86_400)
        operator.set_step(NAMES[0], {"max_in_flight": BATCHES * IN_FLIGHT})
        for case, batches in cases(given.rows).items():
            with psycopg.connect(url, autocommit=True) as connection:
                fill(connection, *batches)
            found[case] = watch(settings, url, given.seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--poll", type=float, default=0.5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    report(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
