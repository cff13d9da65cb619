"""The Modal app, as a container has it: its functions, without a server."""

import asyncio
import importlib
from dataclasses import replace
from threading import Event

import modal
import pytest

from reconciler.contract.errors import Unreachable
from reconciler.contract.results import Company
from reconciler.contract.worker_store import WorkerStore
from tests.world import STEPS, World
from workers import app as module
from workers.steps.step_a import StepA


def test_every_step_is_a_function_of_the_app() -> None:
    for step in STEPS:
        assert isinstance(getattr(module, f"call_{step}"), modal.Function)
    assert module.app.name == "tracer"


@pytest.mark.usefixtures("container")
def test_a_call_runs_the_lifecycle_that_the_local_host_runs(world: World) -> None:
    world.seed(3)
    world.tick()
    asyncio.run(module.call_normalize.local(world.ids()))
    assert world.statuses() == {"COMPLETED": 3}


@pytest.mark.usefixtures("container")
def test_all_calls_of_a_container_share_one_pool(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[WorkerStore] = []
    connect = WorkerStore.connect

    def counted(url: str, max_size: int) -> WorkerStore:
        pools.append(connect(url, max_size))
        return pools[-1]

    async def all_at_once() -> None:
        await asyncio.gather(*(module.call_normalize.local([i]) for i in world.ids()))

    monkeypatch.setattr(WorkerStore, "connect", counted)
    world.seed(10)
    world.tick()
    asyncio.run(all_at_once())
    assert world.statuses() == {"COMPLETED": 10}
    assert len(pools) == 1
    assert pools[0]._pool.max_size == 4


@pytest.mark.usefixtures("container")
def test_a_cancelled_call_writes_what_is_done_and_begins_no_more(world: World) -> None:
    world.seed(3, ["step_a"])
    world.tick()
    working, cancelled = Event(), Event()

    def slow(_: Company) -> StepA:
        working.set()
        cancelled.wait(10)
        return StepA(attribute_count=0)

    async def cancel_in_the_middle() -> None:
        call = module.entry(replace(STEPS["step_a"], function=slow, concurrency=1))
        running = asyncio.ensure_future(call(world.ids()))
        await asyncio.to_thread(working.wait, 10)
        running.cancel()
        await asyncio.sleep(0)  # now it has heard of it
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancel_in_the_middle())
    assert world.statuses() == {"COMPLETED": 1, "PENDING": 2}


@pytest.mark.usefixtures("container")
def test_a_container_that_starts_before_its_database_answers_waits_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its calls wait for the one that connects."""
    connect, tries = WorkerStore.connect, []

    def late(url: str, max_size: int) -> WorkerStore:
        tries.append(url)
        if len(tries) == 1:
            raise Unreachable("not yet")
        return connect(url, max_size)

    async def all_at_once() -> None:
        await asyncio.gather(*(module.call_normalize.local([i]) for i in world.ids()))

    monkeypatch.setattr(WorkerStore, "connect", late)
    world.claimed(8)
    asyncio.run(all_at_once())
    assert world.statuses() == {"COMPLETED": 8}
    assert len(tries) == 2


def test_the_time_out_covers_a_whole_chunk() -> None:
    one_by_one = replace(STEPS["step_a"], concurrency=1)
    assert module.time_out(one_by_one) == 30 * 5 * 10 + 60
    assert module.time_out(STEPS["step_a"]) == 30 * 10 + 60


def test_the_apps_name_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER_MODAL_APP", "tracer-staging")
    assert importlib.reload(module).app.name == "tracer-staging"
    monkeypatch.delenv("TRACER_MODAL_APP")
    importlib.reload(module)
