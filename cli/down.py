"""`tracer demo`, `up` and `down`: the whole system on this machine."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Group, RenderableType
from rich.live import Live

from cli import seed
from cli.export import flat_rows
from cli.inspect.progress import overview
from cli.render import err, out, say, table, text
from reconciler.contract.errors import BadInput
from reconciler.contract.settings import Settings, load_settings
from reconciler.local.postgres.supervisor import acquire, release
from reconciler.local.postgres.supervisor import stop as stop_postgres
from reconciler.local.stack import Stack, stop_leftovers
from reconciler.operator.connect import user
from reconciler.operator.seeding.file import open_seed_file
from reconciler.operator.store import OperatorStore
from reconciler.prefect.runs import read_run
from reconciler.prefect.schedule import read_schedule, set_every
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import sync_steps
from workers.runtime.loading import load_steps

COMPANIES = Path(__file__).parent / "demo_companies.csv"
BLUEPRINT = ["normalize", "step_a", "step_b"]
REFRESH_S = 0.25
SHOWN = 12


def demo(
    companies: Annotated[int, typer.Option(min=1, max=60, help="How many of the bundled 60.")] = 60,
) -> None:
    """The whole system on this machine, from nothing: a batch goes through, unattended."""
    started = time.monotonic()
    with stack(all_here=True) as (running, url, run_id):
        with OperatorStore.connect(url) as store:
            store.who = user()
            name = seed_demo(store, companies)
            show(store, running, name, started)
            out.print()
            out.print(results(store, name))
        run_url = read_run(load_settings(), run_id).ui_url
        out.print(text(f"Prefect's UI showed the runs at {run_url}"), soft_wrap=True)
        out.print(text(f"{time.monotonic() - started:.0f} s in all. Stopping what was started …"))


def up() -> None:
    """The same stack until Ctrl-C, without a batch; its workers may be Modal's."""
    with stack() as (running, _, _):
        say(f"Prefect's UI: {running.ui_url}")
        say(
            "Seed a batch in another terminal: tracer seed FILE --blueprint normalize,step_a,step_b"
        )
        say("Ctrl-C stops everything.")
        while True:
            tend(running)
            time.sleep(1)


def down() -> None:
    """Stop whatever of the local stack still runs."""
    home = load_settings().home
    stopped = stop_leftovers(home)
    if stop_postgres(home):
        stopped.append("postgres")
    say(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


@contextmanager
def stack(all_here: bool = False) -> Iterator[tuple[Stack, str, str]]:
    """Everything up, in the order of need; everything that was started is stopped at the end."""
    settings = stack_settings(all_here)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, in order
    try:
        with Stack() as running:
            with err.status("Postgres") as status:
                url = settings.database_url or acquire(settings.home)
                upgrade_schema(url)
                for line in ["Postgres", *sync_steps(url, load_steps())]:
                    say(line)
                status.update("Prefect (20 to 40 s the first time)")
                run_id = running.start(settings, url, say)
                os.environ.pop("PREFECT_API_URL", None)  # this stack is meant from here on
                keep_schedule(settings, url)
            yield running, url, run_id
    except KeyboardInterrupt:
        say("Stopping what was started …")
        raise typer.Exit(130) from None
    finally:
        if not settings.database_url:
            release(settings.home)


def tend(running: Stack) -> None:
    """See that all is there: a Postgres that died is started again (1 ms when it lives).

    Raises:
        WorkFailed: a service has ended by itself.
    """
    settings = load_settings()
    if not settings.database_url:
        acquire(settings.home)
    if died := running.check():
        raise running.failure(died[0])


def keep_schedule(settings: Settings, url: str) -> None:
    """Give Prefect the schedule that Postgres remembers: its own database may be a new one."""
    with OperatorStore.connect(url) as store:
        wanted = store.polling()["every_s"]
    if read_schedule(settings).every_s != wanted:
        set_every(settings, wanted)


def stack_settings(all_here: bool) -> Settings:
    """The settings, for a stack whose workers are here, or may be Modal's.

    Raises:
        BadInput: TRACER_WORKERS asks for Modal's where they must be here, or have no database.
    """
    settings = load_settings()
    if settings.workers == "modal" and all_here:
        raise BadInput("This runs everything here: unset TRACER_WORKERS, or set it to local.")
    if settings.workers == "modal" and not settings.database_url:
        raise BadInput(
            "Modal's containers cannot reach a Postgres that is started here: set DATABASE_URL to "
            "one that they can, or TRACER_WORKERS to local."
        )
    return settings


def seed_demo(store: OperatorStore, companies: int) -> str:
    """A batch of the bundled companies; returns its name."""
    with open_seed_file(str(COMPANIES), mapping={}, key=None) as source:
        report = seed.load(store, source, "demo", BLUEPRINT, limit=companies)
    seed.tell(report, wanted="demo")
    return str(report["batch"])


def show(store: OperatorStore, running: Stack, name: str, started: float) -> None:
    """Bars that move until the batch is done."""
    with Live(console=out, auto_refresh=False) as live:
        while True:
            tend(running)
            try:
                progress = store.progress(store.batch(name))
            except psycopg.OperationalError:
                continue  # it died in between: `tend` starts it again
            clock = text(
                f"{time.monotonic() - started:.0f} s since the start; Prefect {running.ui_url}"
            )
            live.update(Group(overview(progress, spare=3), clock), refresh=True)
            if progress["status"] != "RUNNING":
                return
            time.sleep(REFRESH_S)


def results(store: OperatorStore, name: str) -> RenderableType:
    """A first look at what the steps found."""
    batch = store.batch(name)
    rows = [flat for flat, _ in zip(flat_rows(store, batch), range(SHOWN), strict=False)]
    columns = ("normalize.short_name", "normalize.legal_form", "normalize.domain")
    shown = table(
        ["company", "short name", "legal form", "domain"],
        [[r["Company Name"], *(r[c] for c in columns)] for r in rows],
    )
    more = batch.companies - len(rows)
    return Group(shown, text(f"… and {more} more: tracer export {name}" if more > 0 else ""))
