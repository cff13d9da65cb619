"""`tracer priority`: which batches go first."""

from collections.abc import Sequence
from typing import Annotated

import typer

from cli.confirm import Harmless, plural, running, show, total, waiting
from cli.render import AsJson, BatchName, answer
from reconciler.contract.database import Row
from reconciler.contract.states import Status
from reconciler.operator import steering
from reconciler.operator.connect import operator

Priority = Annotated[
    int,
    typer.Argument(
        metavar="N", min=steering.LOWEST, max=steering.HIGHEST, help="The higher goes first."
    ),
]
NAMED = 3  # batches that a sentence names


def priority(
    batch: BatchName,
    n: Priority,
    yes: Harmless = False,  # noqa: ARG001 - see `Harmless`
    as_json: AsJson = False,
) -> None:
    """Let a batch go before those of a lower priority, from the next tick on; 0 is the default."""
    with operator() as store:
        found = running(store.batch(batch))
        living, rivals = steering.unfinished(store, found), steering.rivals(store, found)
        if found.priority == n:
            says = f"{batch} has the priority {n} already. Nothing was done."
        else:
            what = f"{found.priority} -> {n}, for {waiting(living)}"
            show(f"Priority of {batch}: {what}", found, living)
            steering.set_priority(store, found, n)
            says = f"{batch} goes {place(n, rivals)}."
    done = {
        "batch": batch,
        "priority": n,
        "before": found.priority,
        "changed": found.priority != n,
        "rows": total(living, Status.PENDING),
        "rivals": rivals,
    }
    answer(as_json, done, says)


def place(priority: int, rivals: Sequence[Row]) -> str:
    """Which of the other batches it goes before, beside and after."""
    sides = (
        ("after", [r for r in rivals if r["priority"] > priority]),
        ("beside", [r for r in rivals if r["priority"] == priority]),
        ("before", [r for r in rivals if r["priority"] < priority]),
    )
    parts = [f"{side} {named(batches)}" for side, batches in sides if batches]
    return ", ".join(parts) or "as before: no other batch that runs has a step of it"


def named(batches: Sequence[Row]) -> str:
    """Some of the batches by their name and priority, and how many more there are."""
    names = [f"{batch['name']} ({batch['priority']})" for batch in batches[:NAMED]]
    more = len(batches) - NAMED
    return ", ".join(names) + (f" and {plural(more, 'other', 'others')}" if more > 0 else "")
