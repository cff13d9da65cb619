"""What a verb that moves rows says first: how many it touches, and where it costs, a question.

A retry pays again and a cancel has no way back, so these two ask; pause, resume and priority are
undone by one command more, and do not.
"""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.render import err, say, table
from reconciler.contract.database import Row
from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.states import IN_FLIGHT, BatchStatus, Status
from reconciler.operator.batch import BatchView
from reconciler.operator.steering import ended

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Harmless = Annotated[bool, typer.Option("--yes", help="For scripts; this never asks.")]


def running(batch: BatchView) -> BatchView:
    """The batch, which runs.

    Raises:
        BadInput: it has ended.
    """
    if batch.status != BatchStatus.RUNNING:
        raise ended(batch.name, batch.status)
    return batch


def confirm(what: str, batch: BatchView, counts: Sequence[Row], yes: bool, as_json: bool) -> None:
    """Say what will be done, and ask; a script says --yes.

    Raises:
        BadInput: nobody is there to ask.
        typer.Abort: the person said no.
    """
    if not yes and (as_json or not sys.stdin.isatty()):
        raise BadInput(f"{what}. Nothing was done: say --yes.")
    show(what, batch, counts)
    if not yes:
        typer.confirm("Go on?", abort=True, err=True)


def show(what: str, batch: BatchView, counts: Sequence[Row]) -> None:
    """Say what is touched, with the rows per step and status."""
    say(f"{what}.")
    order = {step: number for number, step in enumerate(batch.blueprint)}
    steps = sorted({row["step"] for row in counts}, key=lambda step: order.get(step, len(order)))
    statuses = [status for status in Status if any(row["status"] == status for row in counts)]
    found = {(row["step"], row["status"]): row["rows"] for row in counts}
    lines = [[step, *(f"{found.get((step, s), 0):,}" for s in statuses)] for step in steps]
    if lines:
        names = [f"#{status.lower().replace('_', ' ')}" for status in statuses]
        err.print(table(["step", *names], lines))


@contextmanager
def moving(counts: Sequence[Row]) -> Iterator[Callable[[int], None]]:
    """A bar for the rows that are moved, on a terminal.

    Raises:
        WorkFailed: Ctrl-C ended it, or a signal; what is moved stays so.
    """
    rows, done = total(counts), 0
    ends = (signal.SIGTERM, signal.SIGHUP)  # as Ctrl-C does
    before = [signal.signal(number, signal.default_int_handler) for number in ends]
    columns = TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        bar = progress.add_task("", total=rows)

        def show_moved(moved: int) -> None:
            nonlocal done
            done = moved
            progress.update(bar, completed=moved)

        try:
            yield show_moved
        except KeyboardInterrupt:
            raise WorkFailed(
                f"Stopped after {done:,} of {rows:,} rows: the same command does the rest."
            ) from None
        finally:
            for number, handler in zip(ends, before, strict=True):
                signal.signal(number, handler)


def total(counts: Sequence[Row], *statuses: Status) -> int:
    """The rows of all statuses, or of these."""
    return sum(row["rows"] for row in counts if not statuses or row["status"] in statuses)


def waiting(counts: Sequence[Row]) -> str:
    """How many rows are pending."""
    return f"{plural(total(counts, Status.PENDING), 'row', 'rows')} pending"


def in_flight(counts: Sequence[Row]) -> str:
    """How many rows are in flight."""
    return f"{total(counts, *IN_FLIGHT):,}"


def plural(number: int, one: str, more: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {one if number == 1 else more}"
