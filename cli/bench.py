"""`tracer bench`: company-steps per second on this machine, with steps that do nothing."""

from typing import Annotated

import typer
from rich.progress import Progress

from cli.render import document, err
from reconciler.benchmark import measure
from reconciler.tick import TickReport
from workers.noop import NAMES
from workers.runtime.loading import load_steps

PACKAGE = "workers.noop"


def bench(
    companies: Annotated[int, typer.Option(min=1, help="Number of companies.")] = 100_000,
    steps: Annotated[int, typer.Option(min=1, max=len(NAMES), help="Steps per company.")] = 3,
    chunk: Annotated[int, typer.Option(min=1, help="Companies per call.")] = 500,
    in_flight: Annotated[int, typer.Option(min=1, help="Most rows of a step in flight.")] = 20_000,
    poll_s: Annotated[float, typer.Option("--poll", min=0.01, help="Seconds between ticks.")] = 0.1,
    as_json: Annotated[  # noqa: ARG001
        bool, typer.Option("--json", help="Changes nothing: the output is always JSON.")
    ] = False,
) -> None:
    """Measure Tracer's own speed on this machine, with steps that do nothing; prints JSON.

    It starts a Postgres of its own, and uses no other database.
    """
    noop = load_steps([PACKAGE])
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        bar = progress.add_task("", total=companies * steps)

        def show(report: TickReport) -> None:
            progress.advance(bar, report.advanced)

        measured = measure(
            PACKAGE,
            {name: noop[name] for name in NAMES[:steps]},
            companies=companies,
            chunk=chunk,
            in_flight=in_flight,
            poll_s=poll_s,
            on_tick=show,
        )
    document(measured)
