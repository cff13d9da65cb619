"""The operator's word: `tracer retry`, `pause`, `resume`, `priority`, `cancel`.

Each counts first what it will touch, and says so. A retry pays again and a cancel has no way back,
so these two ask; the others are undone by one command more, and do not.
"""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.completion import step_names
from cli.render import BatchName, err, say, table
from reconciler.contract.database import Row
from reconciler.contract.errors import BadInput, WorkFailed, nearest
from reconciler.contract.states import IN_FLIGHT, BatchStatus, Status
from reconciler.operator.connect import operator
from reconciler.operator.steering import HIGHEST, LOWEST, BatchView, Wanted, ended
from reconciler.operator.wording import operand

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Harmless = Annotated[bool, typer.Option("--yes", help="For scripts; this never asks.")]
Priority = Annotated[
    int, typer.Argument(metavar="N", min=LOWEST, max=HIGHEST, help="The higher goes first.")
]
NAMED = 3  # batches that a sentence names


def retry(
    batch: BatchName,
    step: Annotated[
        str | None, typer.Option(help="Only rows of this step.", autocompletion=step_names)
    ] = None,
    error: Annotated[
        str | None, typer.Option(help="Only rows with this text in their error.")
    ] = None,
    company: Annotated[str | None, typer.Option(help="Only that company's, by its key.")] = None,
    yes: Yes = False,
) -> None:
    """Give failed rows all their attempts again."""
    with operator() as store:
        found = store.batch(batch)
        if found.status == BatchStatus.CANCELLED:
            raise ended(found.name, found.status)
        if step is not None and step not in found.blueprint:
            there = f" It has: {', '.join(found.blueprint)}."
            near = nearest(step, found.blueprint) or there
            raise BadInput(f"{batch} has no step {step!r}.{near}")
        wanted = Wanted(step, error, company)
        failed = store.failed(found, wanted)
        if not failed:
            say(f"{batch}: no failed row is like that. Nothing was done.")
            return
        what = plural(total(failed), "failed row", "failed rows")
        confirm(f"Retries {batch}: {what}", found, failed, yes)
        with moving(failed) as told:
            retried = store.retry(found, wanted, told)
    hint = f" The batch is paused: `tracer resume {operand(batch)}`." if found.paused else ""
    say(f"{batch}: {plural(retried, 'row is', 'rows are')} pending again.{hint}")


def pause(batch: BatchName, yes: Harmless = False) -> None:  # noqa: ARG001 - see `Harmless`
    """Claim no more of a batch; what is in flight goes on."""
    back = f"`tracer resume {operand(batch)}`"
    with operator() as store:
        found = running(store.batch(batch))
        if found.paused:
            say(f"{batch} is paused already: {back}. Nothing was done.")
            return
        living = store.living(found)
        show(
            f"Pauses {batch}: {waiting(living)}, {in_flight(living)} in flight go on", found, living
        )
        store.pause(found)
    say(f"{batch} is paused: {back}.")


def resume(batch: BatchName, yes: Harmless = False) -> None:  # noqa: ARG001 - see `Harmless`
    """Go on with a batch that is paused."""
    with operator() as store:
        found = running(store.batch(batch))
        if not found.paused:
            say(f"{batch} is not paused. Nothing was done.")
            return
        living = store.living(found)
        show(f"Resumes {batch}: {waiting(living)}, {in_flight(living)} in flight", found, living)
        store.pause(found, paused=False)
    say(f"{batch} goes on with the next tick.")


def priority(
    batch: BatchName,
    n: Priority,
    yes: Harmless = False,  # noqa: ARG001 - see `Harmless`
) -> None:
    """Let a batch go before those of a lower priority, from the next tick on; 0 is the default."""
    with operator() as store:
        found = running(store.batch(batch))
        if found.priority == n:
            say(f"{batch} has the priority {n} already. Nothing was done.")
            return
        living, rivals = store.living(found), store.rivals(found)
        show(f"Priority of {batch}: {found.priority} -> {n}, for {waiting(living)}", found, living)
        store.set_priority(found, n)
    say(f"{batch} goes {place(n, rivals)}.")


def cancel(batch: BatchName, yes: Yes = False) -> None:
    """End a batch: nothing more of it is spawned, what runs is told to stop, results stay."""
    with operator() as store:
        found = store.batch(batch)
        living = store.living(found)
        if found.status == BatchStatus.FINISHED:
            raise ended(found.name, found.status)
        if found.status == BatchStatus.CANCELLED and not living:
            say(f"{batch} is cancelled already. Nothing was done.")
            return
        what = f"{waiting(living)}, {in_flight(living)} in flight"
        confirm(f"Cancels {batch}: {what}", found, living, yes)
        with moving(living) as told:
            cancelled = store.cancel(found, told)
    calls = " The next tick cancels their calls." if cancelled and total(living, *IN_FLIGHT) else ""
    say(f"{batch}: {plural(cancelled, 'row', 'rows')} cancelled.{calls}")


def running(batch: BatchView) -> BatchView:
    """The batch, which runs.

    Raises:
        BadInput: it has ended.
    """
    if batch.status != BatchStatus.RUNNING:
        raise ended(batch.name, batch.status)
    return batch


def confirm(what: str, batch: BatchView, counts: Sequence[Row], yes: bool) -> None:
    """Say what will be done, and ask; a script says --yes.

    Raises:
        BadInput: nobody is there to ask.
        typer.Abort: the person said no.
    """
    if not yes and not sys.stdin.isatty():
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

        def told(moved: int) -> None:
            nonlocal done
            done = moved
            progress.update(bar, completed=moved)

        try:
            yield told
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


def place(priority: int, rivals: Sequence[Row]) -> str:
    """Which of the other batches it goes before, beside and after."""
    sides = (
        ("after", [r for r in rivals if r["priority"] > priority]),
        ("beside", [r for r in rivals if r["priority"] == priority]),
        ("before", [r for r in rivals if r["priority"] < priority]),
    )
    told = [f"{side} {named(batches)}" for side, batches in sides if batches]
    return ", ".join(told) or "as before: no other batch that runs has a step of it"


def named(batches: Sequence[Row]) -> str:
    """Some of the batches by their name and priority, and how many more there are."""
    names = [f"{batch['name']} ({batch['priority']})" for batch in batches[:NAMED]]
    more = len(batches) - NAMED
    return ", ".join(names) + (f" and {plural(more, 'other', 'others')}" if more > 0 else "")
