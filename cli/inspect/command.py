"""`tracer inspect`: how far a batch has come, once or live; and the way of one company."""

import sys
import time
from typing import Annotated, Any

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


class Watch:
    """Looks at one batch, as often as costs the database 1 % of a core."""

    def __init__(self, store: OperatorStore, name: str) -> None:
        self._store, self._name = store, name
        self._seen: dict[str, Any] | None = None
        self._details_at = 0.0
        self.rest_s = SHORTEST_S

    def look(self) -> dict[str, Any]:
        """The batch now; its details may be from an earlier look. Sets `rest_s`, until the next."""
        started = time.monotonic()
        batch = self._store.batch(self._name)
        # What any statement takes on its way is no work of the database.
        way_s = time.monotonic() - started
        over = batch.status != BatchStatus.RUNNING
        before = None if over or started >= self._details_at else self._seen
        self._seen = views.progress(self._store, batch, before=before)
        took_s = max(0.0, time.monotonic() - started - (STATEMENTS + 1) * way_s)
        if before is None:
            self._details_at = time.monotonic() + REST_OF_DETAILS * took_s
        self.rest_s = min(LONGEST_S, max(SHORTEST_S, REST * took_s))
        return self._seen


def follow(store: OperatorStore, name: str, as_json: bool) -> None:
    """Show a batch until nothing is left to run, or until Ctrl-C."""
    watch = Watch(store, name)
    moves = out.is_terminal and not out.is_dumb_terminal and sys.stdout.isatty()
    try:
        draw(watch) if moves and not as_json else write(watch, as_json)
    except KeyboardInterrupt:
        say("The batch goes on.")


def draw(watch: Watch) -> None:
    """Draw until the batch has ended, and leave the last picture behind."""
    progress = watch.look()
    if ended(progress):
        out.print(picture(progress))
        return
    with Screen(picture(progress)) as screen:
        while not ended(progress):
            screen.draw(picture(progress))
            screen.rest(watch.rest_s)
            progress = watch.look()
        screen.draw(picture(progress))


def picture(progress: dict[str, Any]) -> Overview:
    """The batch, with a line left for the prompt that comes after."""
    return Overview(progress, spare=1)


def ended(progress: dict[str, Any]) -> bool:
    """Whether nothing of the batch is left to run."""
    return bool(progress["status"] != BatchStatus.RUNNING)


def write(watch: Watch, as_json: bool) -> None:
    """Write a line for every change, one a second at most: to a file, or to another program."""
    last = None
    while True:
        progress = watch.look()
        changed = [progress[name] for name in ("steps", "status", "paused", "polling_paused")]
        if changed != last:
            document(progress) if as_json else typer.echo(line(progress))
            sys.stdout.flush()
            last = changed
        if ended(progress):
            return
        time.sleep(max(LINE_S, watch.rest_s))


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
    told = [*headlines(progress), *(f"{name} {count}" for name, count in counts if count)]
    return f"{progress['now'].astimezone():%H:%M:%S}  {one_line('  '.join(told)).plain}"
