"""`tracer bench`: how many company-steps a second this machine does, with steps that do nothing."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer
from rich.progress import Progress

from cli.render import document, err, say
from reconciler.contract.errors import WorkFailed
from reconciler.contract.settings import Settings, load_settings
from reconciler.contract.store import Store
from reconciler.local.postgres import supervisor
from reconciler.local.worker_host import running_host
from reconciler.operator import views
from reconciler.operator.seeding.batch import SeedRow, seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.poll import poll
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import sync_steps
from reconciler.spawners.choose import make_spawner
from reconciler.tick import TickReport
from workers.noop import NAMES
from workers.runtime.loading import load_steps

PACKAGE = "workers.noop"
NAME = "bench"


def bench(
    companies: Annotated[int, typer.Option(min=1, help="How many.")] = 100_000,
    steps: Annotated[int, typer.Option(min=1, max=len(NAMES), help="No-op steps for each.")] = 3,
    chunk: Annotated[int, typer.Option(min=1, help="Companies per call.")] = 500,
    in_flight: Annotated[int, typer.Option(min=1, help="Rows of a step in flight.")] = 20_000,
    poll_s: Annotated[float, typer.Option("--poll", min=0.01, help="Seconds.")] = 0.1,
) -> None:
    """Measure the whole lifecycle on this machine, in a Postgres made for it; one JSON line.

    Nothing of an existing database is used or touched.
    """
    blueprint = NAMES[:steps]
    with throwaway() as (settings, url), OperatorStore.connect(url) as operator:
        for step in blueprint:
            operator.set_step(step, {"chunk_size": chunk, "max_in_flight": in_flight})
        operator.set_polling(poll_s=poll_s, idle_s=max(poll_s, 1.0))
        started = time.perf_counter()
        seed_batch(operator, rows(companies), name=NAME, blueprint=blueprint, columns=[])
        seed_s = time.perf_counter() - started
        with Store.connect(url) as store, running_host(settings, url):
            took_s = run(store, settings, companies * steps)
        check(operator, companies, blueprint)
    document(
        {
            "companies": companies,
            "steps": steps,
            "chunk": chunk,
            "worker_processes": settings.worker_processes,
            "seed_s": round(seed_s, 2),
            "seconds": round(took_s, 2),
            "company_steps_per_s": round(companies * steps / took_s),
        }
    )


@contextmanager
def throwaway() -> Iterator[tuple[Settings, str]]:
    """Settings of a home of its own, and a Postgres in it with the no-op steps."""
    home = Path(tempfile.mkdtemp(prefix="tracer-bench-"))
    home.chmod(0o755)  # root's Postgres runs as another user, who must reach it
    settings = load_settings().model_copy(
        update={"home": home, "workers": "local", "steps": [PACKAGE]}
    )
    try:
        url = supervisor.acquire(home)
        upgrade_schema(url)
        sync_steps(url, load_steps([PACKAGE]))
        yield settings, url
    finally:
        supervisor.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def rows(companies: int) -> Iterator[SeedRow]:
    """Companies as a file would have them."""
    for number in range(companies):
        key = f"company-{number}"
        yield number + 2, key, f"Company {number}", f"{key}.example.com", {"Number": str(number)}


def run(store: Store, settings: Settings, company_steps: int) -> float:
    """Tick until all is done; the seconds that took."""
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        bar = progress.add_task("", total=company_steps)

        def show(report: TickReport) -> None:
            progress.advance(bar, report.advanced)

        started = time.perf_counter()
        poll(store, make_spawner(settings), Event(), say, until_done=True, on_tick=show)
        return time.perf_counter() - started


def check(operator: OperatorStore, companies: int, blueprint: list[str]) -> None:
    """See that every result is there.

    Raises:
        WorkFailed: one is missing, and so the time means nothing.
    """
    shown: dict[str, Any] = views.progress(operator, operator.batch(NAME))
    done = {step["step"]: step["COMPLETED"] for step in shown["steps"]}
    if done != dict.fromkeys(blueprint, companies):
        raise WorkFailed(f"Not all was done: {done}.")
