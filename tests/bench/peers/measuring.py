"""One run of one system: a database of its own, programs, and an observer from outside."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from tests.bench.peers.programs import Broken, Call, Program, cpu_s

STEPS = 3
WARM_UP = 100  # companies before those that count: every program has connected and prepared by then
LOOK_EVERY_S = 0.02
LIMIT_S = 600.0
# `at` is when a row was written, `writes` how often. Tracer puts views of its own tables there.
RESULTS = """
CREATE TABLE bench_results (
    company_id bigint, step int, value text, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    writes int NOT NULL DEFAULT 1, PRIMARY KEY (company_id, step)
);
CREATE VIEW bench_written AS SELECT company_id, step, at, writes FROM bench_results
"""
COUNT = "SELECT count(*) FROM bench_results WHERE company_id > %s"
CHECK = """
WITH ours AS (SELECT * FROM bench_written WHERE company_id > %(warm_up)s),
companies AS (
    SELECT company_id, count(*) AS steps, max(at) AS finished,
           array_agg(step ORDER BY at, step) = array_agg(step ORDER BY step) AS in_order
    FROM ours GROUP BY company_id
)
SELECT count(*), sum(steps), bool_and(in_order AND steps = %(steps)s),
       (SELECT sum(writes) FROM ours),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished - %(since)s))
FROM companies
"""


@dataclass(frozen=True)
class Run:
    """What one run took. `seconds` runs from the enqueuing's commit to the last result's being
    seen; `cpu_ms` is that of the system's programs and of Postgres, per company and step."""

    rows: int
    seconds: float
    enqueue_s: float
    median_company_s: float
    written_again: int
    cpu_ms: float | None

    @property
    def per_s(self) -> float:
        """Company-steps a second, enqueuing excluded."""
        return self.rows / self.seconds

    @property
    def per_s_with_enqueuing(self) -> float:
        """Company-steps a second, enqueuing included."""
        return self.rows / (self.seconds + self.enqueue_s)


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """A new database beside the server's own, dropped at the end: its URL."""
    quoted = sql.Identifier(name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(quoted))
        try:
            yield server.replace("/tracer?", f"/{name}?")
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(quoted))


@dataclass(frozen=True)
class Work:
    """What enqueuing and working off took, by the runner's clock; `since` is when the enqueuing was
    committed, by Postgres's."""

    enqueue_s: float
    seconds: float
    since: datetime


@dataclass(frozen=True)
class Stage:
    """A system at work, and who watches it."""

    call: Call
    observer: psycopg.Connection[Any]
    workers: Sequence[Program]

    def work(self, first: int, last: int) -> Work:
        """Enqueue companies, and watch for the last result.

        Raises:
            Broken: a program has ended, or it takes longer than `LIMIT_S`.
        """
        with self.call.started("enqueue", str(first), str(last)) as program:
            program.wait_for("ready")
            begun = time.monotonic()
            program.tell()
            program.wait_for("done")
            committed = time.monotonic()
            since = self.one("SELECT clock_timestamp()")[0]
            while self.one(COUNT, [first - 1])[0] < (last - first + 1) * STEPS:
                for worker in self.workers:
                    worker.must_run()
                if time.monotonic() > committed + LIMIT_S:
                    raise Broken(f"not done in {LIMIT_S:.0f} s: {program.last_words()}")
                time.sleep(LOOK_EVERY_S)
            return Work(committed - begun, time.monotonic() - committed, since)

    def one(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> tuple[Any, ...]:
        """The one row that a query has."""
        found: tuple[Any, ...] | None = self.observer.execute(query.encode(), values).fetchone()
        assert found
        return found


def run(call: Call, url: str, processes: int, companies: int, postmaster: int) -> Run:
    """Install, start `processes` workers, warm up, and measure `companies` of them.

    Raises:
        Broken: a program failed, or the results are not what the work asks for.
    """
    with psycopg.connect(url, autocommit=True) as observer, ExitStack() as running:
        observer.execute(RESULTS)
        with call.started("install") as program:
            program.wait()
        workers = [running.enter_context(call.started("work")) for _ in range(processes)]
        for worker in workers:
            worker.wait_for("ready")
        stage = Stage(call, observer, workers)
        stage.work(1, WARM_UP)
        observer.execute("CHECKPOINT")
        roots = [postmaster, *(worker.process.pid for worker in workers)]
        before = cpu_s(roots)
        took = stage.work(WARM_UP + 1, WARM_UP + companies)
        after = cpu_s(roots)
        used = None if before is None or after is None else after - before
        return checked(stage, took, companies, used)


def checked(stage: Stage, took: Work, companies: int, used_cpu_s: float | None) -> Run:
    """The run, after a look at every row.

    Raises:
        Broken: a result is missing or too many, or a step was done before the one before it.
    """
    values = {"warm_up": WARM_UP, "steps": STEPS, "since": took.since}
    seen, rows, good, writes, median_company_s = stage.one(CHECK, values)
    if (seen, rows, good) != (companies, companies * STEPS, True):
        raise Broken(f"{seen} companies, {rows} results, in order and complete: {good}")
    return Run(
        rows=int(rows),
        seconds=took.seconds,
        enqueue_s=took.enqueue_s,
        median_company_s=float(median_company_s),
        written_again=int(writes) - int(rows),
        cpu_ms=None if used_cpu_s is None else used_cpu_s * 1000 / int(rows),
    )
