"""One run: an API, a database, a system's programs, and what they took, watched from outside."""

import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from reconciler.local.lifeline import family, read_stat
from reconciler.local.service import HOST, free_port
from tests.bench.peers.measuring import LIMIT_S, database
from tests.bench.peers.programs import TICKS_PER_S, Broken, Call, Program, cpu_s

API = (sys.executable, "-m", "tests.bench.api.server")
TRACER = (sys.executable, "-m", "tests.bench.api.tracer_program")
LOOK_EVERY_S = 0.05
# Rows are few, so a look costs little; what it does cost is taken off.
SEEN = "SELECT count(*) FROM bench_written WHERE company_id > %s"
LAST_AT = """
SELECT count(DISTINCT (company_id, step)), extract(epoch FROM min(at))::float8,
    extract(epoch FROM max(at))::float8
FROM bench_written WHERE company_id > %s
"""
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND application_name <> 'tracer_conductor'
"""


@dataclass(frozen=True)
class Took:
    """What a run took.

    `seconds` are from the first request (where nothing asks, from the first result) to the last
    result that is written, `commit_s` from the commit of what was enqueued. `cpu_ms` is that of
    the system's programs and of Postgres, per company and step. `worker_mb` is the most that a
    worker process has held. `connections` are those of the workers.
    """

    rows: int
    seconds: float
    commit_s: float
    cpu_ms: float
    most_at_once: int
    worker_mb: float
    connections: int

    @property
    def per_s(self) -> float:
        """Company-steps a second."""
        return self.rows / self.seconds


@dataclass(frozen=True)
class Api:
    """The API that runs."""

    url: str

    def counts(self) -> dict[str, Any]:
        """What it has seen since this was last asked."""
        with urllib.request.urlopen(f"{self.url}/counts", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@contextmanager
def api(latency_s: float, log: Path) -> Iterator[Api]:
    """An API in a process of its own."""
    port = free_port((0,))
    call = Call(API, os.environ, log)
    with call.started(str(port), str(latency_s)) as program:
        program.wait_for("ready")
        yield Api(f"http://{HOST}:{port}")


@dataclass(frozen=True)
class Plan:
    """What a run is: the companies that go through the steps after `warm_up` others did."""

    name: str
    companies: int
    latency_s: float
    settings: Mapping[str, Any]
    command: Sequence[str] = TRACER
    warm_up: int = 200
    blueprint: tuple[str, ...] = ("asked",)
    asks: bool = True  # whether the steps ask the API

    def run(self, server: str, postmaster: int, home: Path, **variables: str) -> Took:
        """Run it in a database of its own; `variables` are of the system's environment.

        Raises:
            Broken: a program failed, or not all was done.
        """
        log = home / f"{self.name}.log"
        with api(self.latency_s, log) as asked, database(server, f"bench_{self.name}") as url:
            settings = {**self.settings, "blueprint": self.blueprint, "api": asked.url}
            found = Call.of(self.command, url, settings, log)
            call = Call(found.command, {**found.environment, **variables}, log)
            return self._run(call, url, asked, postmaster)

    def _run(self, call: Call, url: str, asked: Api, postmaster: int) -> Took:
        with psycopg.connect(url, autocommit=True) as observer, ExitStack() as running:
            with call.started("install") as program:
                program.wait()
            worker = running.enter_context(call.started("work"))
            worker.wait_for("ready")
            if self.warm_up:
                self._work(call, observer, worker, 1, self.warm_up)
            observer.execute("CHECKPOINT")
            asked.counts()
            watched = Watched([postmaster, worker.process.pid], observer.info.backend_pid)
            before = watched.cpu_s()
            first = self.warm_up + 1
            committed_at = self._work(call, observer, worker, first, self.warm_up + self.companies)
            used_s = watched.cpu_s() - before
            rows, first_at, last_at = one(observer, LAST_AT, [self.warm_up])
            counts = asked.counts()
            if rows != self.companies * len(self.blueprint):
                raise Broken(f"{rows} results of {self.companies} companies")
            if self.asks and counts["requests"] != self.companies:
                raise Broken(f"{counts['requests']} requests for {self.companies} companies")
            return Took(
                rows=rows,
                seconds=last_at - (counts["first_at"] or first_at),
                commit_s=last_at - committed_at,
                cpu_ms=1000 * used_s / rows,
                most_at_once=counts["most_at_once"],
                worker_mb=max(held_mb(worker.process.pid)),
                connections=one(observer, CONNECTIONS)[0],
            )

    def _work(
        self, call: Call, observer: psycopg.Connection[Any], worker: Program, first: int, last: int
    ) -> float:
        """Enqueue companies and wait until they are through; when the former was committed."""
        wanted = (last - first + 1) * len(self.blueprint)
        with call.started("enqueue", str(first), str(last)) as program:
            program.wait_for("ready")
            program.tell()
            program.wait_for("done")
            committed_at = time.time()
            deadline = time.monotonic() + LIMIT_S
            while one(observer, SEEN, [first - 1])[0] < wanted:
                worker.must_run()
                if time.monotonic() > deadline:
                    raise Broken(f"not done in {LIMIT_S:.0f} s: {worker.last_words()}")
                time.sleep(LOOK_EVERY_S)
        return committed_at


@dataclass(frozen=True)
class Watched:
    """The families of processes whose CPU counts, and the backend in them whose does not."""

    roots: Sequence[int]
    observer: int

    def cpu_s(self) -> float:
        """CPU seconds so far, with those of children that have ended.

        Raises:
            Broken: it cannot be known: this is not Linux.
        """
        used, ours = cpu_s(self.roots), read_stat(self.observer)
        if used is None or ours is None:
            raise Broken("no CPU times: /proc is Linux's")
        return used - sum(map(int, ours[11:13])) / TICKS_PER_S


def one(
    connection: psycopg.Connection[Any], query: str, values: Sequence[Any] = ()
) -> tuple[Any, ...]:
    """The one row that a query has."""
    found: tuple[Any, ...] | None = connection.execute(query.encode(), values).fetchone()
    assert found
    return found


def held_mb(root: int) -> Iterable[float]:
    """The most that each worker process in a family has held: the root, if it has no children."""
    pids = family(root)
    spawned = [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for pid in spawned or [root]:
        status = Path(f"/proc/{pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        yield int(peak.split()[1]) * 1024 / 1e6
