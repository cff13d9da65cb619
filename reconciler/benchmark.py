"""Measures the whole lifecycle on this machine, in a temporary Postgres."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any

from reconciler.contract.errors import WorkFailed
from reconciler.contract.settings import Settings, load_settings
from reconciler.contract.store import Store
from reconciler.local.worker_host import running_host
from reconciler.operator import views
from reconciler.operator.seeding.batch import SeedRow, seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.poll import poll
from reconciler.schema.scratch import scratch_database
from reconciler.schema.steps import Step
from reconciler.spawners.choose import make_spawner
from reconciler.tick import TickReport

NAME = "bench"
OnTick = Callable[[TickReport], None]


def measure(
    package: str,
    steps: Mapping[str, Step],
    companies: int,
    chunk: int,
    in_flight: int,
    poll_s: float,
    on_tick: OnTick,
) -> dict[str, Any]:
    """Take so many `companies` through these steps of `package`; returns the settings and times.

    Times are in seconds (`seed_s`, `seconds`); `company_steps_per_s` is the rate.

    Raises:
        WorkFailed: a row is not COMPLETED at the end.
    """
    blueprint = list(steps)
    with throwaway(package, steps) as (settings, url), OperatorStore.connect(url) as operator:
        for step in blueprint:
            operator.set_step(step, {"chunk_size": chunk, "max_in_flight": in_flight})
        operator.set_polling(poll_s=poll_s, idle_s=max(poll_s, 1.0))
        started = time.perf_counter()
        seed_batch(operator, rows(companies), name=NAME, blueprint=blueprint, columns=[])
        seed_s = time.perf_counter() - started
        with Store.connect(url) as store, running_host(settings, url):
            took_s = run(store, settings, on_tick)
        check(operator, companies, blueprint)
    return {
        "companies": companies,
        "steps": len(blueprint),
        "chunk": chunk,
        "worker_processes": settings.worker_processes,
        "seed_s": round(seed_s, 2),
        "seconds": round(took_s, 2),
        "company_steps_per_s": round(companies * len(blueprint) / took_s),
    }


@contextmanager
def throwaway(package: str, steps: Mapping[str, Step]) -> Iterator[tuple[Settings, str]]:
    """The settings and the URL of a temporary Postgres that has these steps of `package`."""
    with scratch_database(steps) as (home, url):
        settings = {"home": home, "workers": "local", "steps": [package]}
        yield load_settings().model_copy(update=settings), url


def rows(companies: int) -> Iterator[SeedRow]:
    """Rows of companies, as a seeded file would have them."""
    for number in range(companies):
        key = f"company-{number}"
        yield number + 2, key, f"Company {number}", f"{key}.example.com", {"Number": str(number)}


def run(store: Store, settings: Settings, on_tick: OnTick = lambda _: None) -> float:
    """Tick until the batch is done; returns the seconds."""
    started = time.perf_counter()
    poll(store, make_spawner(settings), Event(), lambda _: None, until_done=True, on_tick=on_tick)
    return time.perf_counter() - started


def check(operator: OperatorStore, companies: int, blueprint: Sequence[str]) -> None:
    """Check that every row is COMPLETED.

    Raises:
        WorkFailed: one is not, so the measured time means nothing.
    """
    shown: dict[str, Any] = views.progress(operator, operator.batch(NAME))
    done = {step["step"]: step["COMPLETED"] for step in shown["steps"]}
    if done != dict.fromkeys(blueprint, companies):
        raise WorkFailed(f"Not all was done: {done}.")
