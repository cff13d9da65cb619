"""`tracer inspect`: the progress of a batch, once or live; or the attempts of one company."""

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
from cli.outcome import require_success
from cli.render import AsJson, document, one_line, out, say
from reconciler.contract.errors import BadInput
from reconciler.contract.states import BatchStatus
from reconciler.operator import views
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.store import OperatorStore
from reconciler.operator.views import STATEMENTS

# After each refresh, wait this many times as long as the database needed: at most 1 % of a core.
# Details have a wait of their own: slow ones are refreshed less often.
REST, REST_OF_DETAILS = 100, 200
SHORTEST_S, LONGEST_S = 0.5, 10.0  # limits of the wait
LINE_S = 1.0  # shortest time between two lines in a pipe

# A batch's progress, and the seconds until the next refresh.
Refresh: TypeAlias = tuple[dict[str, Any], float]
MaybeBatch = Annotated[
    str | None,
    typer.Argument(
        metavar="[BATCH]", help="The batch's name.", show_default=False, autocompletion=batch_names
    ),
]


def inspect(
    batch: MaybeBatch = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it until the batch is done, or Ctrl-C.")
    ] = False,
    company: Annotated[
        str | None,
        typer.Option(help="Show the company with this key: in all batches, or in BATCH."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a batch's progress: rows per step, rate, ETA, failures, slow rows, the last ticks."""
    if watch and company is not None:
        raise BadInput("--watch and --company do not go together: leave one out.")
    if company is None and batch is None:
        raise BadInput(
            "Name a batch, or a company with --company. To list the batches", "tracer batches"
        )
    with read_only_store(ViewStore) as store:
        if company is not None:
            show_company(store, store.batch(batch) if batch is not None else None, company, as_json)
        elif batch is not None and watch:
            follow(store, batch, as_json)
        elif batch is not None:
            progress = views.progress(store, store.batch(batch))
            document(progress) if as_json else out.print(overview(progress))


def follow(store: OperatorStore, name: str, as_json: bool) -> None:
    """Show a batch until it has ended, or until Ctrl-C.

    Raises:
        WorkFailed: it has ended, and rows of it have failed, or it was cancelled.
    """
    found = watched(store, name)
    moves = out.is_terminal and not out.is_dumb_terminal and sys.stdout.isatty()
    try:
        last = draw(found) if moves and not as_json else write(found, as_json)
    except KeyboardInterrupt:
        say("The batch goes on.")
        return
    require_success(last)


def watched(store: OperatorStore, name: str) -> Iterator[Refresh]:
    """Refreshes of the batch until it has ended, each with the seconds until the next.

    With these waits they cost the database 1 % of a core. Details may be from an earlier refresh.
    """
    seen, details_at = None, 0.0
    while True:
        started = time.monotonic()
        batch = store.batch(name)
        # The time of a round trip over the network is not work of the database.
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


def draw(found: Iterator[Refresh]) -> dict[str, Any]:
    """Draw each refresh over the last one until the batch has ended; the last picture stays.

    Returns the last progress.
    """
    first = next(found)
    last = first[0]
    if ended(last):
        out.print(picture(last))
        return last
    with Screen(picture(last)) as screen:
        for last, rest_s in chain([first], found):
            screen.draw(picture(last))
            if not ended(last):
                screen.rest(rest_s)
    return last


def picture(progress: dict[str, Any]) -> Overview:
    """The batch, with one line left free for the shell's prompt."""
    return Overview(progress, spare=1)


def ended(progress: dict[str, Any]) -> bool:
    """Whether the batch has ended."""
    return bool(progress["status"] != BatchStatus.RUNNING)


def write(found: Iterator[Refresh], as_json: bool) -> dict[str, Any]:
    """Write a line for every change, at most one a second: for a file, or another program.

    Returns the last progress.
    """
    progress: dict[str, Any] = {}
    last = None
    for progress, rest_s in found:
        changed = [progress[name] for name in ("steps", "status", "paused", "polling_paused")]
        if changed != last:
            document(progress) if as_json else typer.echo(line(progress))
            sys.stdout.flush()
            last = changed
        if not ended(progress):
            time.sleep(max(LINE_S, rest_s))
    return progress


def line(progress: dict[str, Any]) -> str:
    """A batch in one line: the time, its progress, and the rows of each kind over all steps."""
    counts = (
        (name, sum(step[status] for step in progress["steps"] for status in statuses))
        for name, statuses in (
            ("in flight", ("QUEUED", "IN_PROGRESS")),
            ("pending", ("PENDING",)),
            ("not found", ("NOT_FOUND",)),
            ("skipped", ("SKIPPED",)),
            ("failed", ("FAILED",)),
            ("cancelled", ("CANCELLED",)),
        )
    )
    parts = [*headlines(progress), *(f"{name} {count}" for name, count in counts if count)]
    return f"{progress['now'].astimezone():%H:%M:%S}  {one_line('  '.join(parts)).plain}"
