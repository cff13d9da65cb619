"""`tracer priority`: set which batches are claimed first."""

from collections.abc import Sequence
from typing import Annotated

import typer

from cli.confirm import YesUnused, pending, require_running, show, total
from cli.render import AsJson, BatchName, answer
from reconciler.contract.database import Row
from reconciler.contract.states import Status
from reconciler.operator import steering
from reconciler.operator.connect import operator
from reconciler.operator.wording import plural

Priority = Annotated[
    int,
    typer.Argument(
        metavar="N",
        min=steering.LOWEST,
        max=steering.HIGHEST,
        help="The priority: higher ones are claimed first.",
    ),
]
NAMED = 3  # a sentence names at most this many batches


def priority(
    batch: BatchName,
    n: Priority,
    yes: YesUnused = False,  # noqa: ARG001 - see `YesUnused`
    as_json: AsJson = False,
) -> None:
    """Set a batch's priority (default 0): from the next tick on, higher ones are claimed first."""
    with operator() as store:
        found = require_running(store.batch(batch))
        rows, rivals = steering.unfinished(store, found), steering.rivals(store, found)
        if found.priority == n:
            says = f"{batch} has the priority {n} already. Nothing was done."
        else:
            what = f"{found.priority} -> {n}, for {pending(rows)}"
            show(f"Priority of {batch}: {what}", found, rows)
            steering.set_priority(store, found, n)
            says = f"{batch} goes {position(n, rivals)}."
    done = {
        "batch": batch,
        "priority": n,
        "before": found.priority,
        "changed": found.priority != n,
        "rows": total(rows, Status.PENDING),
        "rivals": rivals,
    }
    answer(as_json, done, says)


def position(priority: int, rivals: Sequence[Row]) -> str:
    """The batches that a batch of this priority goes after, beside and before, in words."""
    sides = (
        ("after", [r for r in rivals if r["priority"] > priority]),
        ("beside", [r for r in rivals if r["priority"] == priority]),
        ("before", [r for r in rivals if r["priority"] < priority]),
    )
    parts = [f"{side} {named(batches)}" for side, batches in sides if batches]
    return ", ".join(parts) or "as before: no other running batch shares a step with it"


def named(batches: Sequence[Row]) -> str:
    """The first batches with their priorities, and the number of the others."""
    names = [f"{batch['name']} ({batch['priority']})" for batch in batches[:NAMED]]
    more = len(batches) - NAMED
    return ", ".join(names) + (f" and {plural(more, 'other', 'others')}" if more > 0 else "")
