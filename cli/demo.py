"""`tracer demo`: run the whole system on this machine, and see that the same is paid for once."""

import os
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psycopg
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live

from cli.demo_figures import Round, ending
from cli.export import result_tables
from cli.inspect.progress import overview
from cli.render import AsJson, document, err, out, say, table, text
from cli.seed import print_report
from cli.up import stack
from reconciler.contract.errors import WorkFailed
from reconciler.contract.settings import load_settings
from reconciler.local.stack import Stack
from reconciler.operator import views
from reconciler.operator.connect import user
from reconciler.operator.export import flat_rows
from reconciler.operator.money.booked import forget, read_booked
from reconciler.operator.seeding.file import open_seed_file
from reconciler.operator.seeding.load import load
from reconciler.operator.seeding.route import read_route
from reconciler.operator.store import OperatorStore
from reconciler.prefect.runs import read_run
from workers.sample.place import URL

if TYPE_CHECKING:
    from workers.sample.provider import SampleProvider

COMPANIES = Path(__file__).parent / "demo_companies.csv"
STEPS = ("workers.steps", "workers.sample.steps")
PROVIDER = "sample"
BLUEPRINT = ["normalize", "sample_headcount", "sample_technologies"]
REFRESH_S = 0.25
BOOKED_WITHIN_S = 60.0  # after a batch's end; the next tick books what is left
SHOWN = 5


def demo(
    companies: Annotated[
        int, typer.Option(min=1, max=60, help="Number of the 60 bundled companies.")
    ] = 60,
    as_json: AsJson = False,
) -> None:
    """Run the whole system on this machine: take the bundled companies through it, twice.

    Two steps buy at a sample provider, which runs here too. The second time, nothing is bought.
    """
    from workers.sample.provider import SampleProvider, serving  # aiohttp takes a command 0.2 s

    started = time.monotonic()
    provider = SampleProvider()
    with serving(provider) as place:
        see_sample(place)
        with stack(all_here=True) as (running, url, run_id):
            with OperatorStore.connect(url) as store:
                store.who = user()
                forget(store, PROVIDER)  # an earlier demo's: each demo is like the last
                shown = Shown(store, running, provider, started, err if as_json else out)
                first, second = (shown.round(companies, again) for again in (False, True))
                tables = results(store, first.batch), ending(first, second)
                steps = views.progress(store, store.batch(first.batch))["steps"]
            run_url = read_run(load_settings(), run_id).ui_url
            took_s = time.monotonic() - started
            if as_json:
                rounds = [first.document(), second.document()]
                told = {"steps": steps, "rounds": rounds, "run_url": run_url, "seconds": took_s}
                document({"batch": first.batch, **told})
                return
            for part in tables:
                out.print()
                out.print(part)
            out.print(text(f"Prefect's UI showed the runs at {run_url}"), soft_wrap=True)
            out.print(text(f"{took_s:.0f} s in all. Stopping the stack …"))


def see_sample(place: str) -> None:
    """Let this program and those that it starts load the sample steps, and find their provider."""
    os.environ[URL] = place
    os.environ["TRACER_STEPS"] = ",".join(dict.fromkeys((*load_settings().steps, *STEPS)))


class Shown:
    """Takes batches through the demo's blueprint, and shows how they go on."""

    def __init__(
        self,
        store: OperatorStore,
        running: Stack,
        provider: "SampleProvider",
        started: float,
        console: Console,
    ) -> None:
        self._store, self._running, self._provider = store, running, provider
        self._started, self._console = started, console

    def round(self, companies: int, again: bool) -> Round:
        """Seed the bundled companies, and wait for their end and for the last booking."""
        counted, booked = self._provider.account(), read_booked(self._store, PROVIDER)
        name = seed_demo(self._store, companies, again)
        self._wait(name)
        deadline = time.monotonic() + BOOKED_WITHIN_S
        while (now := read_booked(self._store, PROVIDER)).left:
            if time.monotonic() > deadline:
                raise WorkFailed(f"{now.left} orders are not booked after the batch's end.")
            self._running.keep_up(load_settings())
            time.sleep(REFRESH_S)
        return Round(name, self._provider.account() - counted, now - booked)

    def _wait(self, name: str) -> None:
        """Show the batch's progress until it has ended."""
        settings = load_settings()
        with Live(console=self._console, auto_refresh=False) as live:
            while True:
                self._running.keep_up(settings)
                try:
                    progress = views.progress(self._store, self._store.batch(name))
                except psycopg.OperationalError:
                    continue  # Postgres died: `keep_up` starts it again
                live.update(Group(overview(progress, spare=3), self._clock()), refresh=True)
                if progress["status"] != "RUNNING":
                    return
                time.sleep(REFRESH_S)

    def _clock(self) -> RenderableType:
        since_s = time.monotonic() - self._started
        return text(f"{since_s:.0f} s since the start; Prefect {self._running.ui_url}")


def seed_demo(store: OperatorStore, companies: int, again: bool) -> str:
    """Seed a batch of the bundled companies; returns its name."""
    with open_seed_file(str(COMPANIES), mapping={}, key=None) as source:
        report = load(store, source, "demo", read_route(BLUEPRINT), limit=companies)
    if again:
        say(f"\nThe same file once more, as batch {report['batch']}:")
    else:
        print_report(report, wanted="demo")
    return str(report["batch"])


def results(store: OperatorStore, name: str) -> RenderableType:
    """A table of the first results."""
    batch = store.batch(name)
    rows: list[dict[str, Any]] = list(islice(flat_rows(store, batch, result_tables(batch)), SHOWN))
    columns = ("normalize.domain", "sample_headcount.employees", "sample_technologies.cms")
    shown = table(
        ["company", "domain", "#employees (made up)", "web site (made up)"],
        [[r["Company Name"], *(r[c] for c in columns)] for r in rows],
    )
    more = batch.companies - len(rows)
    export = f"TRACER_STEPS={','.join(STEPS)} tracer export {name}"
    return Group(shown, text(f"… and {more} more: {export}" if more > 0 else ""))
