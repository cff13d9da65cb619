"""`tracer inspect`: how far a batch has come, once or live; and the way of one company."""

import sys
import time
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, TypeAlias

import typer

from cli.completion import batch_names
from cli.inspect.company import show_company
from cli.inspect.live import Screen
from cli.inspect.progress import Overview, headlines, overview
from cli.render import AsJson, document, one_line, out, say
from reconciler.contract.errors import BadInput
from reconciler.contract.states import BatchStatus
from reconciler.operator import views
from reconciler.operator.connect import operator
from reconciler.operator.store import OperatorStore
from reconciler.operator.views import STATEMENTS

# A look is followed by a rest of so many times what it took the database, so that it is at most 1 %
# of a core; details, where that would be longer than the longest rest, are looked at less often.
REST, REST_OF_DETAILS = 100, 200
SHORTEST_S, LONGEST_S = 0.5, 10.0
LINE_S = 1.0  # at least, between two lines in a pipe

Seen: TypeAlias = tuple[dict[str, Any], float]  # a batch's progress, and until the next one
MaybeBatch = Annotated[
    str | None,
    typer.Argument(
        metavar="[BATCH]", help="The batch's name.", show_default=False, autocompletion=batch_names
    ),
]


def inspect(
    batch: MaybeBatch = None,
    watch: Annotated[bool, typer.Option("--watch", help="Until it is done, or Ctrl-C.")] = False,
    company: Annotated[
        str | None,
        typer.Option(help="The timeline of one, by its key: in all batches, or in BATCH."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a batch: progress per step, rate, ETA, failures, what is slow, the last ticks."""
    if watch and company is not None:
        raise BadInput("--watch shows a batch: leave it out, or --company.")
    if company is None and batch is None:
        raise BadInput(
            "Name a batch, or a company with --company. To list the batches", "tracer batches"
        )
    with operator() as store:
        if company is not None:
            show_company(store, store.batch(batch) if batch is not None else None, company, as_json)
        elif batch is not None and watch:
            follow(store, batch, as_json)
        elif batch is not None:
            progress = views.progress(store, store.batch(batch))
            document(progress) if as_json else out.print(overview(progress))


def follow(store: OperatorStore, name: str, as_json: bool) -> None:
    """Show a batch until nothing is left to run, or until Ctrl-C."""
    found = watched(store, name)
    moves = out.is_terminal and not out.is_dumb_terminal and sys.stdout.isatty()
    try:
        draw(found) if moves and not as_json else write(found, as_json)
    except KeyboardInterrupt:
        say("The batch goes on.")


def watched(store: OperatorStore, name: str) -> Iterator[Seen]:
    """The batch as it is, until it has ended, and the seconds until it should be read again.

    Reading it so costs the database 1 % of a core. Its details may be from an earlier time.
    """
    seen, details_at = None, 0.0
    while True:
        started = time.monotonic()
        batch = store.batch(name)
        # What any statement takes on its way is no work of the database.
        way_s = time.monotonic() - started
        over = batch.status != BatchStatus.RUNNING
        before = None if over or started >= details_at else seen
        seen = views.progress(store, batch, before=before)
        took_s = max(0.0, time.monotonic() - started - (STATEMENTS + 1) * way_s)
        if before is None:
            details_at = time.monotonic() + REST_OF_DETAILS * took_s
        yield seen, min(LONGEST_S, max(SHORTEST_S, REST * took_s))
        if over:
            return


def draw(found: Iterator[Seen]) -> None:
    """Draw until the batch has ended, and leave the last picture behind."""
    first = next(found)
    if ended(first[0]):
        out.print(picture(first[0]))
        return
    with Screen(picture(first[0])) as screen:
        for progress, rest_s in chain([first], found):
            screen.draw(picture(progress))
            if not ended(progress):
                screen.rest(rest_s)


def picture(progress: dict[str, Any]) -> Overview:
    """The batch, with a line left for the prompt that comes after."""
    return Overview(progress, spare=1)


def ended(progress: dict[str, Any]) -> bool:
    """Whether nothing of the batch is left to run."""
    return bool(progress["status"] != BatchStatus.RUNNING)


def write(found: Iterator[Seen], as_json: bool) -> None:
    """Write a line for every change, one a second at most: to a file, or to another program."""
    last = None
    for progress, rest_s in found:
        changed = [progress[name] for name in ("steps", "status", "paused", "polling_paused")]
        if changed != last:
            document(progress) if as_json else typer.echo(line(progress))
            sys.stdout.flush()
            last = changed
        if not ended(progress):
            time.sleep(max(LINE_S, rest_s))


def line(progress: dict[str, Any]) -> str:
    """A batch in one line: the time, how far it is, and the rows of each kind over all steps."""
    counts = (
        (name, sum(step[status] for step in progress["steps"] for status in statuses))
        for name, statuses in (
            ("in flight", ("QUEUED", "IN_PROGRESS")),
            ("pending", ("PENDING",)),
            ("failed", ("FAILED",)),
            ("cancelled", ("CANCELLED",)),
        )
    )
    parts = [*headlines(progress), *(f"{name} {count}" for name, count in counts if count)]
    return f"{progress['now'].astimezone():%H:%M:%S}  {one_line('  '.join(parts)).plain}"
