"""After any one fault, every row that can move has moved within its lease and two polls: measured.

Where a row has no lease yet, its start deadline counts, or the backoff that it was granted.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest

from reconciler.contract.claimed import Chunk, Room
from reconciler.contract.results import Company
from reconciler.contract.sql import tick as queries
from reconciler.contract.sql.claim import CLAIM, CLAIM_TURN
from reconciler.contract.store import Store
from reconciler.poll import poll
from reconciler.spawners.protocol import Answer, Outcome, Refused, Spawned, Spawner, Unknown
from reconciler.tick import tick
from tests.hosts import hosting
from tests.standins.waiting import opened
from tests.system.crash import Death, cut, text_of
from tests.workers.host.test_host import children, spawner
from tests.world import World, doing, wait_until
from workers.steps.normalize import Normalized

POLL_S = 0.2
LEASE_S = 1.5
DEADLINE_S = 1.0
SILENCE_S = 5  # that a conductor's transaction may keep the others waiting
SLACK_S = 1.5  # for a busy machine: ticks and writes take their time too

Key = tuple[int, int]  # company, attempt


class Answering:
    """A spawner with one answer that becomes another."""

    def __init__(self, answers: Sequence[Outcome]) -> None:
        self.answers = list(answers)

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome]:
        answer = self.answers.pop(0) if self.answers else Spawned()
        return [answer for _ in chunks]

    def room(self) -> Room:
        return Room()

    def late_answers(self, wait_for_all: bool = False) -> list[Answer]:  # noqa: ARG002
        return []

    def cancel(self, call_ids: Sequence[str]) -> list[str]:
        return list(call_ids)

    def close(self) -> None: ...


class Dying(Answering):
    """The program ends as it is about to spawn."""

    def spawn(self, _: Sequence[Chunk]) -> list[Outcome]:
        raise Death


@pytest.fixture(autouse=True)
def quick(world: World) -> None:
    world.operator.set_polling(poll_s=POLL_S, idle_s=POLL_S)
    for step in ("normalize", "step_a"):
        limits = {"lease_s": LEASE_S, "start_deadline_s": DEADLINE_S, "backoff_s": 0.2}
        world.operator.set_step(step, {**limits, "backoff_max_s": 0.5})


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> "Report":
    return Report(request.node.name, capsys)


class Report:
    """Measures from a fault until the rows that it hit have moved, and says so in one line."""

    def __init__(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._name = name.removeprefix("test_").replace("_", " ")
        self._capsys = capsys

    def moved(self, world: World, hit: set[Key], status: str, since: float, bound_s: float) -> None:
        """Wait until none of `hit` is in `status` with that attempt; that is within the bound."""
        assert hit, "the fault hit nothing"
        limit_s = bound_s + 2 * POLL_S + SLACK_S
        wait_until(lambda: not hit & rows(world, status), limit_s + 10)
        took_s = time.monotonic() - since
        with self._capsys.disabled():
            sys.stdout.write(
                f"\n{self._name}: {len(hit)} rows moved within {took_s:.2f} s "
                f"(bound {bound_s:.2f} + two polls {2 * POLL_S:.2f} + slack {SLACK_S:.2f})"
            )
        assert took_s <= limit_s


def rows(world: World, status: str) -> set[Key]:
    return {(r["company_id"], r["attempt"]) for r in world.rows("status = %(s)s", s=status)}


@contextmanager
def polling(url: str, spawning: Spawner) -> Iterator[list[str]]:
    """A loop on a thread of its own."""
    stop, lines = Event(), list[str]()
    with Store.connect(url) as store:
        loop = Thread(target=poll, args=(store, spawning, stop, lines.append))
        loop.start()
        try:
            yield lines
        finally:
            stop.set()
            loop.join()


@pytest.mark.proof
@pytest.mark.skipif(sys.platform != "linux", reason="finds the child in /proc")
def test_a_worker_process_is_killed(
    world: World, url: str, tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACER_STEPS", "tests.standins.waiting")
    world.operator.set_step("normalize", {"chunk_size": 50, "start_deadline_s": 60})
    world.seed(50)
    with hosting(tmp_path, url) as host, polling(url, spawner(tmp_path)):
        wait_until(lambda: world.statuses() == {"IN_PROGRESS": 50})
        (child,) = children(host.pid)
        os.kill(child, signal.SIGKILL)
        since = time.monotonic()
        with opened(url):
            report.moved(world, rows(world, "IN_PROGRESS"), "IN_PROGRESS", since, LEASE_S)
            wait_until(lambda: world.statuses() == {"COMPLETED": 50})


def test_a_tick_dies_between_claim_and_spawn(world: World, url: str, report: Report) -> None:
    world.seed(10)
    with pytest.raises(Death):
        tick(world.store, Dying([]), world.store.now())
    since = time.monotonic()
    with polling(url, Answering([])):
        report.moved(world, rows(world, "QUEUED"), "QUEUED", since, DEADLINE_S)


def test_a_spawn_is_refused(world: World, url: str, report: Report) -> None:
    world.seed(10)
    with polling(url, Answering([Refused("no room")])) as lines:
        wait_until(lambda: lines)
        since = time.monotonic()
        granted = seconds_until(world, "SELECT max(available_at) AS at FROM workflow_states")
        report.moved(world, rows(world, "PENDING"), "PENDING", since, granted)


def test_a_spawn_of_unknown_outcome_is_lost(world: World, url: str, report: Report) -> None:
    world.seed(10)
    with polling(url, Answering([Unknown("no answer")])) as lines:
        wait_until(lambda: lines)
        since = time.monotonic()
        report.moved(world, rows(world, "QUEUED"), "QUEUED", since, DEADLINE_S)


def seconds_until(world: World, query: str) -> float:
    at: datetime = world.sql(query)[0]["at"]
    return (at - world.store.now()).total_seconds()


@contextmanager
def cutting(fragment: str, moment: str) -> Iterator[list[float]]:
    """Cut the connection at the first statement with `fragment`; gives the moment of it."""
    wait, cuts = psycopg.Connection.wait, list[float]()

    def cutting_wait(self: Any, generator: Any, *args: Any, **options: Any) -> Any:
        query = (generator.gi_frame.f_locals if generator.gi_frame else {}).get("query", "")
        if cuts or fragment not in text_of(query):
            return wait(self, generator, *args, **options)
        cuts.append(time.monotonic())
        if moment == "after":
            wait(self, generator, *args, **options)
            generator = self.cursor()._execute_gen("SELECT 1")
        cut(self)
        return wait(self, generator, *args, **options)

    psycopg.Connection.wait = cutting_wait  # type: ignore[method-assign]
    try:
        yield cuts
    finally:
        psycopg.Connection.wait = wait  # type: ignore[method-assign]


@pytest.mark.parametrize(("moment", "told"), [("before", 10), ("after", 0)])
def test_a_workers_connection_is_cut_as_it_completes(
    moment: str, told: int, world: World, url: str, report: Report
) -> None:
    """What had landed when its answer was lost is refused to the second try."""
    world.seed(10)
    with polling(url, Answering([])), cutting("SET status = 'COMPLETED'", moment) as cuts:
        wait_until(lambda: world.statuses() == {"QUEUED": 10})
        hit = {(company_id, 1) for company_id in world.ids()}
        assert world.work().completed == told
        report.moved(world, hit, "IN_PROGRESS", cuts[0], LEASE_S)
        assert rows(world, "COMPLETED") == hit


@pytest.mark.proof
def test_every_backend_is_terminated(world: World, url: str, report: Report) -> None:
    """The loop's and the worker's, as the worker is about to write."""
    world.seed(10)
    since = list[float]()

    def function(_: Company) -> Normalized:
        if not since:
            since.append(time.monotonic())
            world.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            world.operator._pool.check()  # who looks on was cut off too
        return Normalized()

    with polling(url, Answering([])) as lines:
        wait_until(lambda: world.statuses() == {"QUEUED": 10})
        hit = {(company_id, 1) for company_id in world.ids()}
        assert world.work(doing(function)).completed == 10
        report.moved(world, hit, "IN_PROGRESS", since[0], LEASE_S)
        wait_until(lambda: any(line.startswith("advanced 10") for line in lines))


@pytest.mark.parametrize("limit_s", [1, pytest.param(SILENCE_S, marks=pytest.mark.proof)])
def test_a_reconciler_goes_silent_within_its_claim(
    world: World, url: str, report: Report, limit_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine sleeps, or its network is gone: the connection stays, and says nothing."""
    limit = queries.SILENCE_LIMIT.replace(f"{SILENCE_S}s", f"{limit_s}s")
    monkeypatch.setattr(queries, "SILENCE_LIMIT", limit)
    world.seed(10)
    with silent(url, CLAIM_TURN), polling(url, Answering([])):
        report.moved(world, rows(world, "PENDING"), "PENDING", time.monotonic(), limit_s)


@pytest.mark.proof
def test_a_reconciler_goes_silent_within_its_reap(world: World, url: str, report: Report) -> None:
    world.claimed(10)
    hit, over = rows(world, "QUEUED"), world.store.now() + timedelta(seconds=DEADLINE_S)
    with silent(url, queries.EXPIRED, now=over, limit=10), polling(url, Answering([])):
        report.moved(world, hit, "QUEUED", time.monotonic(), SILENCE_S)


@contextmanager
def silent(url: str, query: str, **values: object) -> Iterator[None]:
    """A conductor's connection that has sent this within a transaction, and says no more."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute("BEGIN")
        connection.execute(queries.SILENCE_LIMIT.encode())
        connection.execute(query.encode(), values)
        yield


def test_a_loop_that_slept_within_its_claim_goes_on(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection has been ended meanwhile: an outage like any other."""
    world.seed(10)
    slept = list[bool]()
    monkeypatch.setattr(
        queries, "SILENCE_LIMIT", queries.SILENCE_LIMIT.replace(f"{SILENCE_S}s", "100ms")
    )
    execute: Callable[..., Any] = psycopg.Cursor.execute

    def sleeping(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        if query == CLAIM and not slept:
            slept.append(True)
            time.sleep(0.5)
        return execute(self, query, *args, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", sleeping)
    with polling(url, Answering([])) as lines:
        wait_until(lambda: world.statuses() == {"QUEUED": 10})
    assert [line for line in lines if "database" in line][1:] == ["The database is back"]
