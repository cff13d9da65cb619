"""`tracer cancel`: a batch ends here."""

from cli.confirm import Yes, confirm, in_flight, moving, plural, total, waiting
from cli.render import AsJson, BatchName, answer
from reconciler.contract.states import IN_FLIGHT, BatchStatus
from reconciler.operator import steering
from reconciler.operator.connect import operator


def cancel(batch: BatchName, yes: Yes = False, as_json: AsJson = False) -> None:
    """End a batch: nothing more of it is spawned, what runs is told to stop, results stay."""
    with operator() as store:
        found = store.batch(batch)
        living = steering.unfinished(store, found)
        if found.status == BatchStatus.FINISHED:
            raise steering.ended(found.name, found.status)
        if found.status == BatchStatus.CANCELLED and not living:
            nothing = f"{batch} is cancelled already. Nothing was done."
            answer(as_json, {"batch": batch, "rows": 0, "in_flight": 0}, nothing)
            return
        what = f"{waiting(living)}, {in_flight(living)} in flight"
        confirm(f"Cancels {batch}: {what}", found, living, yes, as_json)
        with moving(living) as show_moved:
            cancelled = steering.cancel(store, found, show_moved)
    flying = total(living, *IN_FLIGHT) if cancelled else 0
    calls = " The next tick cancels their calls." if flying else ""
    answer(
        as_json,
        {"batch": batch, "rows": cancelled, "in_flight": flying},
        f"{batch}: {plural(cancelled, 'row', 'rows')} cancelled.{calls}",
    )
