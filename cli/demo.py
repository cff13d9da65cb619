"""`tracer demo`: run the whole system on this machine, with a small batch."""

import time
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live

from cli.export import result_tables
from cli.inspect.progress import overview
from cli.render import AsJson, document, err, out, table, text
from cli.seed import print_report
from cli.up import stack
from reconciler.contract.settings import load_settings
from reconciler.local.stack import Stack
from reconciler.operator import views
from reconciler.operator.connect import user
from reconciler.operator.export import flat_rows
from reconciler.operator.seeding.file import open_seed_file
from reconciler.operator.seeding.load import load
from reconciler.operator.store import OperatorStore
from reconciler.prefect.runs import read_run

COMPANIES = Path(__file__).parent / "demo_companies.csv"
BLUEPRINT = ["normalize", "step_a", "step_b"]
REFRESH_S = 0.25
SHOWN = 12


def demo(
    companies: Annotated[
        int, typer.Option(min=1, max=60, help="Number of the 60 bundled companies.")
    ] = 60,
    as_json: AsJson = False,
) -> None:
    """Run the whole system on this machine, and take the bundled companies through it."""
    started = time.monotonic()
    with stack(all_here=True) as (running, url, run_id):
        with OperatorStore.connect(url) as store:
            store.who = user()
            name = seed_demo(store, companies)
            progress = show(store, running, name, started, err if as_json else out)
            if not as_json:
                out.print()
                out.print(results(store, name))
        run_url = read_run(load_settings(), run_id).ui_url
        took_s = time.monotonic() - started
        if as_json:
            steps = progress["steps"]
            document({"batch": name, "steps": steps, "run_url": run_url, "seconds": took_s})
            return
        out.print(text(f"Prefect's UI showed the runs at {run_url}"), soft_wrap=True)
        out.print(text(f"{took_s:.0f} s in all. Stopping the stack …"))


def seed_demo(store: OperatorStore, companies: int) -> str:
    """Seed a batch of the bundled companies; returns its name."""
    with open_seed_file(str(COMPANIES), mapping={}, key=None) as source:
        report = load(store, source, "demo", BLUEPRINT, limit=companies)
    print_report(report, wanted="demo")
    return str(report["batch"])


def show(
    store: OperatorStore, running: Stack, name: str, started: float, console: Console
) -> dict[str, Any]:
    """Show the batch's progress until it has ended; returns its last progress."""
    settings = load_settings()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            running.keep_up(settings)
            try:
                progress = views.progress(store, store.batch(name))
            except psycopg.OperationalError:
                continue  # Postgres died: `keep_up` starts it again
            clock = text(
                f"{time.monotonic() - started:.0f} s since the start; Prefect {running.ui_url}"
            )
            live.update(Group(overview(progress, spare=3), clock), refresh=True)
            if progress["status"] != "RUNNING":
                return progress
            time.sleep(REFRESH_S)


def results(store: OperatorStore, name: str) -> RenderableType:
    """A table of the first results."""
    batch = store.batch(name)
    rows = list(islice(flat_rows(store, batch, result_tables(batch)), SHOWN))
    columns = ("normalize.short_name", "normalize.legal_form", "normalize.domain")
    shown = table(
        ["company", "short name", "legal form", "domain"],
        [[r["Company Name"], *(r[c] for c in columns)] for r in rows],
    )
    more = batch.companies - len(rows)
    return Group(shown, text(f"… and {more} more: tracer export {name}" if more > 0 else ""))
