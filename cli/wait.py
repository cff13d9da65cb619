"""`tracer wait`: return when a batch has ended, with its outcome as the exit code."""

import time
from math import inf
from typing import Annotated

import psycopg
import typer

from cli.inspect.progress import unapproved
from cli.outcome import require_success
from cli.render import AsJson, BatchName, answer, say
from reconciler.contract.durations import duration
from reconciler.contract.errors import WorkFailed
from reconciler.contract.outage import Outage
from reconciler.contract.states import BatchStatus, Status
from reconciler.operator import views
from reconciler.operator.batch import BatchView
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.store import OperatorStore

# A look at a batch takes 1 ms: the first ones follow each other soon, for a batch that is short.
FIRST_S, LONGEST_S = 0.1, 2.0


def wait(
    batch: BatchName,
    timeout: Annotated[
        str | None, typer.Option(help="Wait at most so long: 30s, 10m, 2h. Default: no limit.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Wait until a batch has ended. Exit code 1 if rows of it failed, or it was cancelled."""
    until = time.monotonic() + duration(timeout) if timeout is not None else None
    with read_only_store(ViewStore) as store:
        found = store.batch(batch)
        if found.paused:
            say(f"{batch} is paused: it ends only after `tracer resume`.")
        progress = views.progress(store, ended(store, found, until), failures=0)
    rows = {status: sum(step[status] for step in progress["steps"]) for status in Status}
    told = ", ".join(f"{count:,} {status}" for status, count in rows.items() if count)
    document = {"batch": batch, "status": progress["status"], "rows": rows}
    rest = f" {unapproved(progress)}." if progress["unapproved"] else ""
    answer(as_json, document, f"{batch} is {progress['status']}: {told}.{rest}")
    require_success(progress)


def ended(store: OperatorStore, batch: BatchView, until: float | None) -> BatchView:
    """The batch when it has ended; a database that is away is waited for.

    Raises:
        WorkFailed: it still runs at `until`, by the monotonic clock.
    """
    outage, wait_s = Outage(say), FIRST_S
    while batch.status == BatchStatus.RUNNING:
        left_s = inf if until is None else until - time.monotonic()
        if left_s <= 0:
            raise WorkFailed(f"Batch {batch.name!r} still runs: the time to wait is over.")
        time.sleep(min(wait_s, left_s))
        try:
            batch = store.batch(batch.name)
        except psycopg.OperationalError as error:
            wait_s = outage.wait(error)
        else:
            outage.over()
            wait_s = min(2 * wait_s, LONGEST_S)
    return batch
