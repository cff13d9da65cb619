"""The words before and during a verb on a batch: the number of rows, a question, a progress bar.

A retry pays again, a cancel and a delete cannot be undone, so these ask. Pause, resume and priority
can be undone by another command, so they do not ask.
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
from reconciler.operator.wording import plural

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
YesUnused = Annotated[
    bool, typer.Option("--yes", help="Accepted for scripts; this command never asks.")
]


def require_running(batch: BatchView) -> BatchView:
    """The same batch, if it runs.

    Raises:
        BadInput: the batch has ended.
    """
    if batch.status != BatchStatus.RUNNING:
        raise ended(batch.name, batch.status)
    return batch


def confirm(what: str, batch: BatchView, counts: Sequence[Row], yes: bool, as_json: bool) -> None:
    """Say what will be done, and ask; with `yes`, only say it.

    Raises:
        BadInput: stdin is not a terminal, and `yes` is not set.
        typer.Abort: the answer was no.
    """
    _require_terminal(what, yes, as_json)
    show(what, batch, counts)
    if not yes:
        typer.confirm("Go on?", abort=True, err=True)


def ask(what: str, yes: bool, as_json: bool) -> None:
    """`confirm` for what has no rows to show by step.

    Raises:
        BadInput: stdin is not a terminal, and `yes` is not set.
        typer.Abort: the answer was no.
    """
    _require_terminal(what, yes, as_json)
    say(f"{what}.")
    if not yes:
        typer.confirm("Go on?", abort=True, err=True)


def _require_terminal(what: str, yes: bool, as_json: bool) -> None:
    if not yes and (as_json or not sys.stdin.isatty()):
        raise BadInput(f"{what}. Nothing was done: add --yes.")


def show(what: str, batch: BatchView, counts: Sequence[Row]) -> None:
    """Say what will change, with a table of rows per step and status."""
    say(f"{what}.")
    order = {step: number for number, step in enumerate(batch.steps)}
    steps = sorted({row["step"] for row in counts}, key=lambda step: order.get(step, len(order)))
    statuses = [status for status in Status if any(row["status"] == status for row in counts)]
    found = {(row["step"], row["status"]): row["rows"] for row in counts}
    lines = [[step, *(f"{found.get((step, s), 0):,}" for s in statuses)] for step in steps]
    if lines:
        names = [f"#{status.lower().replace('_', ' ')}" for status in statuses]
        err.print(table(["step", *names], lines))


@contextmanager
def moving(
    counts: Sequence[Row], one: str = "row", many: str = "rows"
) -> Iterator[Callable[[int], None]]:
    """Show a bar of the moved rows, if stderr is a terminal; yields what updates it.

    `one` and `many` are what is counted, if not rows.

    Raises:
        WorkFailed: Ctrl-C or a signal ended the block; rows that were moved stay so.
    """
    rows, done = total(counts), 0
    ends = (signal.SIGTERM, signal.SIGHUP)  # these end the block as Ctrl-C does
    before = [signal.signal(number, signal.default_int_handler) for number in ends]
    columns = TextColumn(many), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        bar = progress.add_task("", total=rows)

        def show_moved(moved: int) -> None:
            nonlocal done
            done = moved
            progress.update(bar, completed=moved)

        try:
            yield show_moved
        except KeyboardInterrupt:
            moved = f"{done:,} of {plural(rows, one, many)}"
            raise WorkFailed(
                f"Stopped after {moved}: run the same command again for the rest."
            ) from None
        finally:
            for number, handler in zip(ends, before, strict=True):
                signal.signal(number, handler)


def total(counts: Sequence[Row], *statuses: Status) -> int:
    """The number of rows of all statuses, or of these."""
    return sum(row["rows"] for row in counts if not statuses or row["status"] in statuses)


def pending(counts: Sequence[Row]) -> str:
    """The number of PENDING rows, in words."""
    return f"{plural(total(counts, Status.PENDING), 'row', 'rows')} pending"


def in_flight(counts: Sequence[Row]) -> str:
    """The number of rows in flight, as text."""
    return f"{total(counts, *IN_FLIGHT):,}"
