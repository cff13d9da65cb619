"""`tracer pause` and `tracer resume`: stop and start claiming rows of a batch."""

from collections.abc import Sequence

from cli.confirm import YesUnused, in_flight, pending, require_running, show, total
from cli.render import AsJson, BatchName, answer
from reconciler.contract.database import Row
from reconciler.contract.states import IN_FLIGHT, Status
from reconciler.operator import steering
from reconciler.operator.batch import BatchView
from reconciler.operator.connect import operator
from reconciler.operator.wording import operand, plural


def pause(
    batch: BatchName,
    yes: YesUnused = False,  # noqa: ARG001 - see `YesUnused`
    as_json: AsJson = False,
) -> None:
    """Pause a batch: none of its rows is claimed any more. Rows in flight finish."""
    back = f"`tracer resume {operand(batch)}`"
    with operator() as store:
        found = require_running(store.batch(batch))
        rows = steering.unfinished(store, found)
        if found.paused:
            says = f"{batch} is paused already: {back}. Nothing was done."
        else:
            going = plural(total(rows, *IN_FLIGHT), "in flight goes", "in flight go")
            going_on = f"{pending(rows)}, {going} on"
            show(f"Pauses {batch}: {going_on}", found, rows)
            steering.pause(store, found)
            says = f"{batch} is paused: {back}."
    answer(as_json, outcome(found, rows, True), says)


def resume(
    batch: BatchName,
    yes: YesUnused = False,  # noqa: ARG001 - see `YesUnused`
    as_json: AsJson = False,
) -> None:
    """Resume a paused batch: the next tick claims its rows again."""
    with operator() as store:
        found = require_running(store.batch(batch))
        rows = steering.unfinished(store, found)
        if not found.paused:
            says = f"{batch} is not paused. Nothing was done."
        else:
            waits = f"{pending(rows)}, {in_flight(rows)} in flight"
            show(f"Resumes {batch}: {waits}", found, rows)
            steering.pause(store, found, paused=False)
            says = f"{batch} goes on with the next tick."
    answer(as_json, outcome(found, rows, False), says)


def outcome(batch: BatchView, counts: Sequence[Row], paused: bool) -> Row:
    """The outcome as a JSON document; `rows` is the number of PENDING rows."""
    return {
        "batch": batch.name,
        "paused": paused,
        "changed": batch.paused != paused,
        "rows": total(counts, Status.PENDING),
        "in_flight": total(counts, *IN_FLIGHT),
    }
