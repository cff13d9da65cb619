"""Many workers through PgBouncer at once, on few connections to Postgres; and when it dies."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from threading import Barrier, Event, Thread, local
from urllib.parse import urlsplit

import psycopg
import pytest

from reconciler.contract.claimed import Chunk
from reconciler.contract.results import Company
from reconciler.contract.store import Store
from reconciler.contract.worker_store import WorkerStore
from reconciler.operator.store import OperatorStore
from reconciler.poll import LeaveReason, poll
from reconciler.spawners.protocol import Outcome, Spawned, Unanswered
from tests.system.pooler.pgbouncer import SERVERS, PgBouncer
from tests.world import STEPS, Scripted, World, work
from workers.kit import Step
from workers.runtime import patience
from workers.runtime.calls import WorkReport
from workers.steps.normalize import Normalized

pytestmark = pytest.mark.proof
WORKERS, CHUNK, PATIENCE_S = 200, 5, 180


def normalizing(before: Callable[[Company], object]) -> Step:
    """A step that does `before` and then writes its row."""

    def function(company: Company) -> Normalized:
        before(company)
        return Normalized(short_name=company.key)

    # On a slow machine the last of them comes later than the step's own time-out.
    return replace(STEPS["normalize"], function=function, concurrency=1, timeout_s=2 * PATIENCE_S)


def chunks_of(world: World, size: int) -> list[Chunk]:
    """One tick's claim, in calls of `size` companies."""
    world.operator.set_step("normalize", {"chunk_size": size})
    world.tick()
    return world.spawner.asked


def assert_done_once(world: World, companies: int) -> None:
    assert world.statuses() == {"COMPLETED": companies}
    assert {row["attempt"] for row in world.rows()} == {1}
    (found,) = world.sql("SELECT count(*) AS n FROM results.normalized")
    assert found["n"] == companies


def test_many_ticks_beside_many_workers(url: str, world: World) -> None:
    world.seed(100, ("normalize", "step_a"))
    world.operator.set_step("normalize", {"max_in_flight": 40})
    done = Event()

    def ticking() -> None:
        with Store.connect(url) as store:
            while not done.is_set():
                World(store, world.worker, world.operator).tick()

    def working() -> None:
        with WorkerStore.connect(url) as store:
            while not done.is_set():
                for step in ("normalize", "step_a"):
                    work(store, STEPS[step], ids)
                if world.statuses() == {"COMPLETED": 200}:
                    done.set()

    ids = world.ids()
    with ThreadPoolExecutor(12) as threads:
        loops = [threads.submit(ticking) for _ in range(4)]
        loops += [threads.submit(working) for _ in range(8)]
        wait(loops, PATIENCE_S, return_when="FIRST_EXCEPTION")
        done.set()
    assert [loop.result() for loop in loops] == [None] * 12
    assert {row["attempt"] for row in world.rows()} == {1}


def test_200_workers_at_once_on_20_connections(
    server: str, url: str, bouncer: PgBouncer, world: World
) -> None:
    """All 200 are in the middle of a company at one moment, and every call arrives twice."""
    world.seed(WORKERS * CHUNK)
    calls = chunks_of(world, CHUNK)
    seen: list[dict[str, int]] = []
    started = Barrier(WORKERS, timeout=PATIENCE_S)
    gate = Barrier(WORKERS, lambda: seen.extend(bouncer.show("POOLS")), timeout=PATIENCE_S)
    worked: list[int] = []
    entered = local()

    def meet(company: Company) -> None:
        worked.append(company.id)
        if not hasattr(entered, "gate"):
            entered.gate = gate.wait()

    def calling(store: WorkerStore, number: int) -> list[WorkReport]:
        started.wait()
        twice = (calls[number], calls[number - 1])
        return [work(store, normalizing(meet), call.company_ids) for call in twice]

    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    peak = 0
    with ExitStack() as stack, psycopg.connect(server, autocommit=True) as watch:
        stores = [stack.enter_context(WorkerStore.connect(url)) for _ in calls]
        threads = stack.enter_context(ThreadPoolExecutor(WORKERS))
        loops = [threads.submit(calling, store, n) for n, store in enumerate(stores)]
        while wait(loops, 0.02).not_done:
            (now,) = watch.execute(count, (urlsplit(url).path[1:],)).fetchone() or (0,)
            peak = max(peak, now)
    once = WorkReport(begun=CHUNK, completed=CHUNK)
    assert [loop.result() for loop in loops] == [[once, WorkReport()]] * WORKERS
    (pool,) = [row for row in seen if row["database"] == urlsplit(url).path[1:]]
    assert pool["cl_active"] + pool["cl_waiting"] >= WORKERS
    assert 1 < peak <= SERVERS
    assert sorted(worked) == world.ids()
    assert_done_once(world, WORKERS * CHUNK)


@dataclass(kw_only=True)
class Crew(Scripted):
    """A spawner whose workers are threads with a store each."""

    threads: ThreadPoolExecutor
    url: str
    step: Step

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome | Unanswered]:
        self.calls: list[Future[WorkReport]] = [
            self.threads.submit(self.work, chunk.company_ids) for chunk in chunks
        ]
        return [Spawned() for _ in chunks]

    def work(self, company_ids: list[int]) -> WorkReport:
        with WorkerStore.connect(self.url) as store:
            return work(store, self.step, company_ids)


def test_a_killed_pgbouncer_costs_time_and_nothing_else(
    url: str, bouncer: PgBouncer, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies while four workers are in a company, and is back once the conductor has seen it."""
    monkeypatch.setattr(patience, "RETRY_S", 0.1)
    world.seed(40)
    world.operator.set_step("normalize", {"chunk_size": CHUNK})
    world.operator.set_polling(poll_s=0.1, idle_s=0.1)
    gate = Barrier(4, bouncer.kill, timeout=PATIENCE_S)
    killed, away, worked = Event(), Event(), list[int]()

    def meet(company: Company) -> None:
        worked.append(company.id)
        if not killed.is_set():
            gate.wait()
            killed.set()

    def restart() -> None:
        if away.wait(PATIENCE_S):
            bouncer.start()

    def log(line: str) -> None:
        if "is away" in line:
            away.set()

    restarter = Thread(target=restart)
    restarter.start()
    with ThreadPoolExecutor(4) as threads:
        crew = Crew(threads=threads, url=url, step=normalizing(meet))
        assert poll(world.store, crew, Event(), log, until_done=True).reason is LeaveReason.DONE
    restarter.join()
    assert away.is_set()
    assert [call.result().completed for call in crew.calls] == [CHUNK] * 8
    with OperatorStore.connect(url) as operator:
        after = replace(world, operator=operator)
        assert sorted(worked) == after.ids()
        assert_done_once(after, 40)
