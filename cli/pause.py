"""`tracer pause` and `tracer resume`: whether more of a batch is claimed."""

from collections.abc import Sequence

from cli.confirm import Harmless, in_flight, running, show, total, waiting
from cli.render import AsJson, BatchName, answer
from reconciler.contract.database import Row
from reconciler.contract.states import IN_FLIGHT, Status
from reconciler.operator import steering
from reconciler.operator.batch import BatchView
from reconciler.operator.connect import operator
from reconciler.operator.wording import operand


def pause(
    batch: BatchName,
    yes: Harmless = False,  # noqa: ARG001 - see `Harmless`
    as_json: AsJson = False,
) -> None:
    """Claim no more of a batch; what is in flight goes on."""
    back = f"`tracer resume {operand(batch)}`"
    with operator() as store:
        found = running(store.batch(batch))
        living = steering.unfinished(store, found)
        if found.paused:
            says = f"{batch} is paused already: {back}. Nothing was done."
        else:
            going_on = f"{waiting(living)}, {in_flight(living)} in flight go on"
            show(f"Pauses {batch}: {going_on}", found, living)
            steering.pause(store, found)
            says = f"{batch} is paused: {back}."
    answer(as_json, outcome(found, living, True), says)


def resume(
    batch: BatchName,
    yes: Harmless = False,  # noqa: ARG001 - see `Harmless`
    as_json: AsJson = False,
) -> None:
    """Go on with a batch that is paused."""
    with operator() as store:
        found = running(store.batch(batch))
        living = steering.unfinished(store, found)
        if not found.paused:
            says = f"{batch} is not paused. Nothing was done."
        else:
            waits = f"{waiting(living)}, {in_flight(living)} in flight"
            show(f"Resumes {batch}: {waits}", found, living)
            steering.pause(store, found, paused=False)
            says = f"{batch} goes on with the next tick."
    answer(as_json, outcome(found, living, False), says)


def outcome(batch: BatchView, living: Sequence[Row], paused: bool) -> Row:
    """What was done, for a program; `rows` are those that wait."""
    return {
        "batch": batch.name,
        "paused": paused,
        "changed": batch.paused != paused,
        "rows": total(living, Status.PENDING),
        "in_flight": total(living, *IN_FLIGHT),
    }
